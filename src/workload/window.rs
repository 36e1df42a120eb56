//! When the measured window begins and ends.

use super::error::Problem;
use crate::measure::timeline::Phase;
use crate::scenario::file::MeasureConfig;
use crate::units::Nanos;

/// When the window ends: as soon as both soft limits are met, or one of the hard ones.
///
/// `duration` with `min_requests` are soft limits and `max_requests` a hard one; `requests` with
/// `min_duration` are soft limits and `max_duration` a hard one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRule {
    /// Start of the window.
    pub warmup_end: Nanos,
    /// Earliest end, unless a hard limit comes first.
    pub soft_end: Nanos,
    /// Measured requests the window waits for.
    pub soft_requests: u64,
    /// Latest end.
    pub hard_end: Option<Nanos>,
    /// Measured requests after which the window ends.
    pub hard_requests: Option<u64>,
}

impl WindowRule {
    /// The rule of `config` for a window that begins at `warmup_end`.
    pub fn new(config: &MeasureConfig, warmup_end: Nanos) -> Self {
        let later = |nanos: Nanos| warmup_end.saturating_add(nanos);
        match config.requests {
            None => Self {
                warmup_end,
                soft_end: later(config.duration.unwrap_or_default().nanos()),
                soft_requests: config.min_requests.unwrap_or(0),
                hard_end: None,
                hard_requests: config.max_requests,
            },
            Some(requests) => Self {
                warmup_end,
                soft_end: later(config.min_duration.unwrap_or_default().nanos()),
                soft_requests: requests,
                hard_end: config.max_duration.map(|duration| later(duration.nanos())),
                hard_requests: None,
            },
        }
    }

    /// Whether the window is over at `now`, when `measured` requests have come due in it. The request
    /// that comes due at `now` itself is not among them: it is measured if the answer is no.
    pub fn ended(&self, now: Nanos, measured: u64) -> bool {
        (now >= self.soft_end && measured >= self.soft_requests)
            || self.hard_end.is_some_and(|end| now >= end)
            || self.hard_requests.is_some_and(|limit| measured >= limit)
    }

    /// The time at which the window ends if nothing more comes due; `None` while it waits for requests.
    /// A time in the past means that it waits for nothing: it ends when the next request comes due.
    pub fn ends_at(&self, measured: u64) -> Option<Nanos> {
        let soft = (measured >= self.soft_requests).then_some(self.soft_end);
        soft.into_iter().chain(self.hard_end).min()
    }
}

/// What is wrong with `[phases.measure]`, keys relative to it. `finite` is the number of requests of a
/// load that ends by itself.
pub fn check(config: &MeasureConfig, finite: Option<u64>) -> Vec<Problem> {
    let mut problems = Vec::new();
    match (config.duration, config.requests) {
        (Some(_), Some(_)) => problems.push(Problem::new("", "`duration` and `requests` exclude each other")),
        (None, None) => problems.push(Problem::new("", "needs either `duration` or `requests`")),
        (Some(duration), None) => {
            if duration.nanos() == 0 {
                problems.push(Problem::new("duration", "`duration` must be longer than 0s"));
            }
            for (key, set) in
                [("min_duration", config.min_duration.is_some()), ("max_duration", config.max_duration.is_some())]
            {
                if set {
                    problems.push(Problem::new(key, format!("`{key}` goes with `requests`, not with `duration`")));
                }
            }
        }
        (None, Some(_)) => {
            for (key, set) in
                [("min_requests", config.min_requests.is_some()), ("max_requests", config.max_requests.is_some())]
            {
                if set {
                    problems.push(Problem::new(key, format!("`{key}` goes with `duration`, not with `requests`")));
                }
            }
        }
    }
    if let (Some(min), Some(max)) = (config.min_requests, config.max_requests)
        && min > max
    {
        problems
            .push(Problem::new("min_requests", format!("`min_requests` {min} is greater than `max_requests` {max}")));
    }
    if let (Some(min), Some(max)) = (config.min_duration, config.max_duration)
        && min > max
    {
        problems
            .push(Problem::new("min_duration", format!("`min_duration` {min} is greater than `max_duration` {max}")));
    }
    if let Some(size) = finite {
        problems.extend(check_finite(config, size));
    }
    problems
}

/// A single burst has no arrival after its last one that could end a window.
fn check_finite(config: &MeasureConfig, size: u64) -> Option<Problem> {
    if let Some(min) = config.min_requests.filter(|min| *min > size) {
        return Some(Problem::new("min_requests", format!("a single burst of {size} never reaches {min} requests")));
    }
    if let Some(max) = config.max_requests.filter(|max| *max < size) {
        return Some(Problem::new("max_requests", format!("{max} would cut the single burst of {size} requests")));
    }
    if config.requests.is_some() {
        return Some(Problem::new(
            "requests",
            "a single burst is measured for a `duration`: its requests are all due at once",
        ));
    }
    None
}

/// The window of an open loop, known from the schedule alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Start of the window.
    pub warmup_end_ns: Nanos,
    /// End of the window, itself outside.
    pub measure_end_ns: Nanos,
    /// Arrivals before the window: the place of the first measured one.
    pub warmup: u64,
    /// Planned requests: arrivals in the window.
    pub measured: u64,
    /// Arrivals before the window, by class.
    pub warmup_by_class: Vec<u64>,
    /// Planned requests, by class.
    pub measured_by_class: Vec<u64>,
}

impl Window {
    /// Phase of the arrival at `place` of the schedule. It follows from the time except where several arrivals share
    /// the instant at which a limit on requests is reached: then the place decides.
    pub fn phase(&self, place: u64) -> Phase {
        if place < self.warmup {
            Phase::Warmup
        } else if place - self.warmup < self.measured {
            Phase::Measure
        } else {
            Phase::Drain
        }
    }

    /// Length of the window in nanoseconds.
    pub fn duration_ns(&self) -> Nanos {
        self.measure_end_ns - self.warmup_end_ns
    }
}
