//! The shared end of a point: which requests are measured, and when the last of them has ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::LoopPlan;
use crate::measure::timeline::Phase;
use crate::units::Nanos;
use crate::workload::{self, WindowRule};

const OPEN_ENDED: u64 = u64::MAX;

/// Phase bookkeeping that the workers share. Touched once when a request comes due in a closed loop
/// and once when a measured request ends.
#[derive(Debug)]
pub(super) struct Window {
    start: Nanos,
    kind: Kind,
    /// End of the window, once it is known.
    end: AtomicU64,
    /// Measured requests that came due (closed loop) or are in the schedule (open loop).
    planned: AtomicU64,
    done: AtomicU64,
    /// Latest intended time of a measured request of a closed loop.
    last_due: AtomicU64,
    /// Fires when the end of the window is known.
    closed: CancellationToken,
    /// Fires when it is known and every measured request has ended.
    ended: CancellationToken,
    /// Whether the end of the window has passed: until then, turns of sessions may still come due in it.
    over: AtomicBool,
}

/// How a request finds its phase.
#[derive(Debug)]
enum Kind {
    /// By its place in the schedule.
    Open(workload::Window),
    /// By when it comes due.
    Closed(WindowRule),
}

impl Window {
    pub(super) fn new(plan: &LoopPlan) -> Self {
        let (start, kind, end, planned) = match plan {
            LoopPlan::Open { window, .. } => {
                (window.warmup_end_ns, Kind::Open(window.clone()), window.measure_end_ns, window.measured)
            }
            LoopPlan::Closed(plan) => (plan.rule.warmup_end, Kind::Closed(plan.rule), OPEN_ENDED, 0),
        };
        Self {
            start,
            kind,
            end: AtomicU64::new(end),
            planned: AtomicU64::new(planned),
            done: AtomicU64::new(0),
            last_due: AtomicU64::new(start),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
            over: AtomicBool::new(false),
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

    /// Phase of an open-loop arrival: a function of its place in the schedule alone.
    pub(super) fn phase(&self, place: u64) -> Phase {
        match &self.kind {
            Kind::Open(window) => window.phase(place),
            Kind::Closed(_) => Phase::Measure,
        }
    }

    /// Phase of a request that comes due at `at` because an answer has ended: of a closed loop, or a later turn of a
    /// session. Counts it when it is measured.
    pub(super) fn come_due(&self, at: Nanos) -> Phase {
        if at < self.start {
            return Phase::Warmup;
        }
        if at >= self.end.load(Ordering::Acquire) {
            return Phase::Drain;
        }
        let Kind::Closed(rule) = &self.kind else {
            self.planned.fetch_add(1, Ordering::AcqRel);
            return Phase::Measure;
        };
        let counted = self.planned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |planned| {
            (!rule.ended(at, planned)).then_some(planned + 1)
        });
        match counted {
            Ok(_) => {
                self.last_due.fetch_max(at, Ordering::AcqRel);
                Phase::Measure
            }
            Err(planned) => {
                // The window ended when its time was up, unless it was still waiting for requests.
                let last = self.last_due.load(Ordering::Acquire);
                self.close(rule.ends_at(planned).filter(|end| *end > last).unwrap_or(at).min(at));
                Phase::Drain
            }
        }
    }

    /// A time at which a closed-loop window may end has come: it does, if it waits for nothing more.
    pub(super) fn pass(&self, at: Nanos) {
        if let Kind::Closed(rule) = &self.kind
            && rule.ended(at, self.planned())
        {
            self.close(at);
        }
    }

    /// Every user of a closed loop has left for good: nothing more comes due in the window.
    pub(super) fn all_left(&self, at: Nanos) {
        if matches!(self.kind, Kind::Closed(_)) && self.end().is_none() {
            self.close(at.max(self.start + 1));
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

    /// The end of the window has passed.
    pub(super) fn over(&self) {
        self.over.store(true, Ordering::Release);
        self.check();
    }

    /// Notices that nothing measured is left.
    fn check(&self) {
        let complete = match self.kind {
            Kind::Open(_) => self.over.load(Ordering::Acquire),
            Kind::Closed(_) => self.end().is_some(),
        };
        if complete && self.done.load(Ordering::Acquire) >= self.planned() {
            self.ended.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::file::MeasureConfig;
    use crate::units::HumanDuration;
    use crate::workload::ClosedLoop;

    const MS: Nanos = 1_000_000;

    fn closed(config: &MeasureConfig) -> Window {
        let rule = WindowRule::new(config, 100 * MS);
        Window::new(&LoopPlan::Closed(ClosedLoop { users: 1, ramp_ns: 0, think_time_ns: 0, rule, shape: None }))
    }

    fn none() -> MeasureConfig {
        MeasureConfig { duration: None, ..MeasureConfig::default() }
    }

    fn phases<const N: usize>(window: &Window, at: [Nanos; N]) -> [Phase; N] {
        at.map(|at| window.come_due(at * MS))
    }

    #[test]
    fn a_duration_window_ends_at_its_length() {
        let window = closed(&MeasureConfig { duration: Some(HumanDuration::from_millis(50)), ..none() });
        assert_eq!(phases(&window, [99, 100, 149]), [Phase::Warmup, Phase::Measure, Phase::Measure]);
        assert_eq!(window.end(), None);
        assert_eq!(phases(&window, [151]), [Phase::Drain]);
        // The window is 100 … 150 ms, not until the request at 151 ms that showed its end.
        assert_eq!((window.end(), window.planned()), (Some(150 * MS), 2));
    }

    #[test]
    fn a_duration_window_ends_by_time_when_everybody_waits() {
        let window = closed(&MeasureConfig { duration: Some(HumanDuration::from_millis(50)), ..none() });
        assert_eq!(phases(&window, [100]), [Phase::Measure]);
        window.pass(150 * MS);
        assert_eq!((window.end(), window.planned()), (Some(150 * MS), 1));
    }

    #[test]
    fn a_request_window_holds_exactly_its_count() {
        let window = closed(&MeasureConfig { requests: Some(2), ..none() });
        window.pass(100 * MS);
        assert_eq!(window.end(), None, "it waits for its requests");
        let expected = [Phase::Measure, Phase::Measure, Phase::Drain, Phase::Drain];
        assert_eq!(phases(&window, [100, 110, 130, 131]), expected);
        assert_eq!((window.end(), window.planned()), (Some(130 * MS), 2));
        assert!(!window.all_ended());
        window.measured_ended();
        window.measured_ended();
        assert!(window.all_ended());
    }

    #[test]
    fn bounds_stretch_and_cut() {
        let length = Some(HumanDuration::from_millis(10));
        let stretched = closed(&MeasureConfig { duration: length, min_requests: Some(3), ..none() });
        stretched.pass(110 * MS);
        let expected = [Phase::Measure, Phase::Measure, Phase::Measure, Phase::Drain];
        assert_eq!(phases(&stretched, [100, 150, 200, 260]), expected);
        assert_eq!(stretched.end(), Some(260 * MS));
        let max_duration = Some(HumanDuration::from_millis(20));
        let cut = closed(&MeasureConfig { requests: Some(100), max_duration, ..none() });
        assert_eq!(phases(&cut, [119, 125]), [Phase::Measure, Phase::Drain]);
        assert_eq!(cut.end(), Some(120 * MS));
    }
}
