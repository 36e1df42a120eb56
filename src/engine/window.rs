//! The shared end of a point: which requests are measured, and when the last of them has ended.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::{ClosedPlan, LoopPlan, WindowRule};
use crate::measure::timeline::Phase;
use crate::units::Nanos;

const OPEN_ENDED: u64 = u64::MAX;

/// Phase bookkeeping that the workers share. Touched once when a request comes due in a closed loop
/// and once when a measured request ends.
#[derive(Debug)]
pub(super) struct Window {
    start: Nanos,
    rule: Option<WindowRule>,
    /// End of the window, once it is known.
    end: AtomicU64,
    /// Measured requests that came due (closed loop) or are in the schedule (open loop).
    planned: AtomicU64,
    done: AtomicU64,
    /// Fires when the end of the window is known.
    closed: CancellationToken,
    /// Fires when it is known and every measured request has ended.
    ended: CancellationToken,
}

impl Window {
    pub(super) fn new(plan: &LoopPlan) -> Self {
        let (start, rule, end, planned) = match plan {
            LoopPlan::Open { warmup_end, measure_end, measured, .. } => (*warmup_end, None, *measure_end, *measured),
            LoopPlan::Closed(ClosedPlan { warmup_end, until, .. }) => (*warmup_end, Some(*until), OPEN_ENDED, 0),
        };
        Self {
            start,
            rule,
            end: AtomicU64::new(end),
            planned: AtomicU64::new(planned),
            done: AtomicU64::new(0),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn start(&self) -> Nanos {
        self.start
    }

    /// End of the window, if it is known yet.
    pub(super) fn end(&self) -> Option<Nanos> {
        let end = self.end.load(Ordering::Acquire);
        (end != OPEN_ENDED).then_some(end)
    }

    pub(super) fn planned(&self) -> u64 {
        self.planned.load(Ordering::Acquire)
    }

    /// Waits until the end of the window is known.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits until every measured request has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(super) fn all_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Phase of an open-loop arrival: a function of its time alone.
    pub(super) fn phase_at(&self, at: Nanos) -> Phase {
        if at < self.start {
            Phase::Warmup
        } else if at < self.end.load(Ordering::Acquire) {
            Phase::Measure
        } else {
            Phase::Drain
        }
    }

    /// Phase of a closed-loop request that comes due at `at`; counts it when it is measured.
    pub(super) fn come_due(&self, at: Nanos) -> Phase {
        if at < self.start {
            return Phase::Warmup;
        }
        let Some(rule) = self.rule else { return self.phase_at(at) };
        if at >= self.end.load(Ordering::Acquire) {
            return Phase::Drain;
        }
        let elapsed = at - self.start;
        let mut ended_at = None;
        let counted = self.planned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |planned| {
            ended_at = rule.ends(planned, elapsed).map(|length| self.start + length);
            if ended_at.is_none() { Some(planned + 1) } else { None }
        });
        if counted.is_ok() {
            return Phase::Measure;
        }
        self.close(ended_at.unwrap_or(at));
        Phase::Drain
    }

    /// When the closed-loop window ends whatever comes due, if a time bounds it.
    pub(super) fn latest_end(&self) -> Option<Nanos> {
        match self.rule? {
            WindowRule::Duration { length, min_requests: None, .. } => Some(self.start + length),
            WindowRule::Duration { .. } => None,
            WindowRule::Requests { max_length, .. } => max_length.map(|length| self.start + length),
        }
    }

    /// Ends the window at `at` unless it has ended before.
    pub(super) fn close(&self, at: Nanos) {
        let _ = self.end.fetch_update(Ordering::AcqRel, Ordering::Acquire, |end| (at < end).then_some(at));
        self.closed.cancel();
        self.check();
    }

    pub(super) fn measured_ended(&self) {
        self.done.fetch_add(1, Ordering::AcqRel);
        self.check();
    }

    /// Notices that nothing measured is left. In an open loop the planned requests are known from the
    /// start, so this can only be true after the last of them.
    pub(super) fn check(&self) {
        if self.end().is_some() && self.done.load(Ordering::Acquire) >= self.planned() {
            self.ended.cancel();
        }
    }
}

impl WindowRule {
    /// Length of the window if a request that comes due `elapsed` after its start, with `planned`
    /// measured before it, is outside; none if it is inside.
    fn ends(self, planned: u64, elapsed: Nanos) -> Option<Nanos> {
        match self {
            Self::Duration { length, max_requests, min_requests } => {
                if max_requests.is_some_and(|max| planned >= max) {
                    return Some(elapsed);
                }
                let short = min_requests.is_some_and(|min| planned < min);
                // A window stretched for `min_requests` ends with the first request beyond both.
                (elapsed >= length && !short).then_some(if min_requests.is_some() { elapsed } else { length })
            }
            Self::Requests { count, min_length, max_length } => {
                if let Some(max) = max_length.filter(|max| elapsed >= *max) {
                    return Some(max);
                }
                (planned >= count && min_length.is_none_or(|min| elapsed >= min)).then_some(elapsed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(until: WindowRule) -> Window {
        Window::new(&LoopPlan::Closed(ClosedPlan { users: 1, ramp: 0, think: 0, warmup_end: 100, until }))
    }

    #[test]
    fn a_duration_window_ends_at_its_length() {
        let window = closed(WindowRule::Duration { length: 50, max_requests: None, min_requests: None });
        assert_eq!(window.come_due(99), Phase::Warmup);
        assert_eq!(window.come_due(100), Phase::Measure);
        assert_eq!(window.come_due(149), Phase::Measure);
        assert_eq!(window.end(), None);
        assert_eq!(window.come_due(151), Phase::Drain);
        // The window is 100 … 150, not until the request at 151 that showed its end.
        assert_eq!(window.end(), Some(150));
        assert_eq!(window.planned(), 2);
        assert_eq!(window.come_due(120), Phase::Measure, "a late worker's request from inside still counts");
    }

    #[test]
    fn a_request_window_holds_exactly_its_count() {
        let window = closed(WindowRule::Requests { count: 2, min_length: None, max_length: None });
        let phases: Vec<_> = [100, 110, 130, 131].into_iter().map(|at| window.come_due(at)).collect();
        assert_eq!(phases, [Phase::Measure, Phase::Measure, Phase::Drain, Phase::Drain]);
        assert_eq!((window.end(), window.planned()), (Some(130), 2));
        assert!(!window.all_ended());
        window.measured_ended();
        window.measured_ended();
        assert!(window.all_ended());
    }

    #[test]
    fn bounds_stretch_and_cut() {
        let stretched = closed(WindowRule::Duration { length: 10, max_requests: None, min_requests: Some(3) });
        let phases: Vec<_> = [100, 150, 200, 260].into_iter().map(|at| stretched.come_due(at)).collect();
        assert_eq!(phases, [Phase::Measure, Phase::Measure, Phase::Measure, Phase::Drain]);
        assert_eq!(stretched.end(), Some(260));
        let cut = closed(WindowRule::Requests { count: 100, min_length: None, max_length: Some(20) });
        assert_eq!(cut.come_due(119), Phase::Measure);
        assert_eq!(cut.come_due(125), Phase::Drain);
        assert_eq!((cut.end(), cut.latest_end()), (Some(120), Some(120)));
    }
}
