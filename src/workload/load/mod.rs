//! When requests arrive: one file a kind.
//!
//! Open loops (`constant`, `poisson`, `gamma`, `weibull`, `burst`, `trace`) have a schedule of absolute times that no
//! answer can move. The closed loop (`users`) sends a user's next request after the previous answer.
//!
//! Gaps are rounded to whole nanoseconds before they are summed, so the sum is exact on every machine.
//! The draws behind them (`rand_distr`) use the logarithms and exponentials of the platform's
//! mathematical library when another crate of the build asks for it (`num-traits/std`, which `statrs` does): in the
//! tail and the rejections of the ziggurat (`ln`, `exp`), the rejections of a gamma law (`ln`) and its power below shape 1
//! (`pow`). So a gap may differ by a nanosecond between two build targets, and "same seed, same times" is promised per
//! target (`provenance.bench.target`). What is computed here uses `libm`, with the same bits everywhere.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::stages::{AfterStages, RateCurve, StageConfig, UnitGaps};
use super::error::Problem;
use crate::units::{NANOS_PER_SEC, Nanos};

pub mod burst;
pub mod classes;
pub mod constant;
pub mod gamma;
pub mod poisson;
pub mod stages;
pub mod think;
pub mod trace;
pub mod users;
pub mod weibull;

/// When requests arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LoadConfig {
    /// Open loop: one arrival every `1 / rate_per_s`.
    Constant(constant::Constant),
    /// Open loop: a Poisson process, as many independent users make it.
    Poisson(poisson::Poisson),
    /// Open loop: gaps drawn from a gamma law, burstier or smoother than Poisson.
    Gamma(gamma::Gamma),
    /// Open loop: gaps drawn from a Weibull law.
    Weibull(weibull::Weibull),
    /// Open loop: a number of requests at the same instant, once or repeatedly.
    Burst(burst::Burst),
    /// Open loop: the arrival times of a trace.
    Trace(trace::TraceLoad),
    /// Closed loop: users who each wait for an answer before they ask again.
    Users(users::Users),
    /// Every traffic class has a load of its own.
    Classes(classes::Classes),
}

/// How an arrival finds its traffic class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Each arrival draws its class by weight: the classes of a Poisson load are Poisson themselves.
    #[default]
    Draw,
    /// Exact shares: largest remainder in shuffled blocks.
    Exact,
}

/// A bound on the requests in flight at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxInFlight {
    /// Largest number of requests in flight: over all classes in `[load]`, of the class in a load of its own.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub limit: u32,
    /// What happens to a request that is due while the bound is reached.
    #[serde(default)]
    pub when_full: WhenFull,
}

/// What happens to a request that is due while `max_in_flight` is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// It waits; the wait is part of its latency and reported as `slot_wait_ms`.
    #[default]
    Wait,
    /// It is not sent and counted as `not_sent`.
    Drop,
}

/// Where the arrivals of an open loop come from.
pub(crate) trait Arrivals {
    /// Time of arrival `index`, given the time of the one before it (0 for the first); `None` when
    /// there are no more. Draws come from `rng` alone, a stream of the arrivals' own.
    fn next_at(&self, index: u64, previous: Nanos, rng: &mut ChaCha12Rng) -> Option<Nanos>;
}

/// An open loop's arrival process, ready to draw from.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Constant(constant::Evenly),
    Poisson(poisson::Exponential),
    Gamma(gamma::GammaGaps),
    Weibull(weibull::WeibullGaps),
    Burst(burst::Bursts),
    Staged(stages::Staged),
    Trace(trace::Replay),
}

impl Arrivals for Process {
    fn next_at(&self, index: u64, previous: Nanos, rng: &mut ChaCha12Rng) -> Option<Nanos> {
        match self {
            Self::Constant(process) => process.next_at(index, previous, rng),
            Self::Poisson(process) => process.next_at(index, previous, rng),
            Self::Gamma(process) => process.next_at(index, previous, rng),
            Self::Weibull(process) => process.next_at(index, previous, rng),
            Self::Burst(process) => process.next_at(index, previous, rng),
            Self::Staged(process) => process.next_at(index, previous, rng),
            Self::Trace(process) => process.next_at(index, previous, rng),
        }
    }
}

impl Default for LoadConfig {
    /// What a scenario without `[load]` has.
    fn default() -> Self {
        Self::Classes(classes::Classes::default())
    }
}

impl LoadConfig {
    /// The arrival process, with warm-up ending at `warmup_end`; `None` for a closed loop, and for a trace,
    /// whose file a library reads.
    pub(crate) fn process(&self, warmup_end: Nanos) -> Option<Process> {
        if let Some(curve) = self.curve(warmup_end) {
            let gaps = match self {
                Self::Constant(_) => UnitGaps::Even,
                Self::Gamma(config) => UnitGaps::Gamma(gamma::unit_law(config)),
                Self::Weibull(config) => UnitGaps::Weibull(weibull::UnitWeibull::new(config.cv)),
                Self::Poisson(_) | Self::Burst(_) | Self::Trace(_) | Self::Users(_) | Self::Classes(_) => {
                    UnitGaps::Exponential
                }
            };
            return Some(Process::Staged(stages::Staged { gaps, curve }));
        }
        Some(match self {
            Self::Constant(config) => Process::Constant(constant::Evenly::new(config)),
            Self::Poisson(config) => Process::Poisson(poisson::Exponential::new(config)),
            Self::Gamma(config) => Process::Gamma(gamma::GammaGaps::new(config)),
            Self::Weibull(config) => Process::Weibull(weibull::WeibullGaps::new(config)),
            Self::Burst(config) => Process::Burst(burst::Bursts::new(config, warmup_end)),
            Self::Trace(_) | Self::Users(_) | Self::Classes(_) => return None,
        })
    }

    /// The rate over time of a load with stages, which begin at `warmup_end`.
    pub(crate) fn curve(&self, warmup_end: Nanos) -> Option<RateCurve> {
        let (stages, after) = self.stages();
        let rate = self.rate_per_s().filter(|_| !stages.is_empty())?;
        Some(RateCurve::new(rate, stages, after, warmup_end))
    }

    /// Arrivals per second of a load that has a rate; with stages, before the first of them.
    pub fn rate_per_s(&self) -> Option<f64> {
        match self {
            Self::Constant(config) => Some(config.rate()),
            Self::Poisson(config) => Some(config.rate_per_s),
            Self::Gamma(config) => Some(config.rate_per_s),
            Self::Weibull(config) => Some(config.rate_per_s),
            Self::Burst(_) | Self::Trace(_) | Self::Users(_) | Self::Classes(_) => None,
        }
    }

    /// The largest rate of a load that has one.
    pub fn peak_rate_per_s(&self) -> Option<f64> {
        self.curve(0).map(|curve| curve.peak_per_s()).or(self.rate_per_s())
    }

    fn stages(&self) -> (&[StageConfig], AfterStages) {
        match self {
            Self::Constant(config) => (&config.stages, config.after_stages),
            Self::Poisson(config) => (&config.stages, config.after_stages),
            Self::Gamma(config) => (&config.stages, config.after_stages),
            Self::Weibull(config) => (&config.stages, config.after_stages),
            Self::Burst(_) | Self::Trace(_) | Self::Users(_) | Self::Classes(_) => (&[], AfterStages::Hold),
        }
    }

    /// How an arrival finds its class.
    pub fn split(&self) -> Split {
        match self {
            Self::Constant(config) => config.split,
            Self::Poisson(config) => config.split,
            Self::Gamma(config) => config.split,
            Self::Weibull(config) => config.split,
            Self::Burst(config) => config.split,
            Self::Trace(config) => config.split,
            Self::Users(config) => config.split,
            Self::Classes(_) => Split::default(),
        }
    }

    /// The bound on the requests in flight, if there is one.
    pub fn max_in_flight(&self) -> Option<&MaxInFlight> {
        match self {
            Self::Constant(config) => config.max_in_flight.as_ref(),
            Self::Poisson(config) => config.max_in_flight.as_ref(),
            Self::Gamma(config) => config.max_in_flight.as_ref(),
            Self::Weibull(config) => config.max_in_flight.as_ref(),
            Self::Burst(config) => config.max_in_flight.as_ref(),
            Self::Trace(config) => config.max_in_flight.as_ref(),
            Self::Users(config) => config.max_in_flight.as_ref(),
            Self::Classes(config) => config.max_in_flight.as_ref(),
        }
    }

    /// Requests of a schedule that ends by itself: a single burst.
    pub fn finite_size(&self) -> Option<u64> {
        match self {
            Self::Burst(burst::Burst { size, every: None, .. }) => Some(u64::from(*size)),
            _ => None,
        }
    }

    /// What is wrong with the settings, keys relative to `[load]`.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = match self {
            Self::Constant(config) => config.check(),
            Self::Poisson(config) => check_rate(config.rate_per_s),
            Self::Gamma(config) => check_law(config.rate_per_s, config.cv),
            Self::Weibull(config) => check_law(config.rate_per_s, config.cv),
            Self::Burst(config) => config.check(),
            Self::Trace(config) => config.check(),
            Self::Users(config) => config.check(),
            Self::Classes(_) => Vec::new(),
        };
        if let Some(rate) = self.rate_per_s().filter(|_| problems.is_empty()) {
            let (stages, after) = self.stages();
            problems.extend(stages::check(rate, stages, after));
        }
        problems
    }
}

fn check_law(rate_per_s: f64, cv: f64) -> Vec<Problem> {
    let mut problems = check_rate(rate_per_s);
    if !(cv.is_finite() && cv > 0.0) {
        problems.push(Problem::new("cv", format!("`cv` {cv} is not a number above 0")));
    }
    problems
}

fn check_rate(rate_per_s: f64) -> Vec<Problem> {
    if rate_per_s.is_finite() && rate_per_s > 0.0 {
        return Vec::new();
    }
    vec![Problem::new("rate_per_s", format!("`rate_per_s` {rate_per_s} is not a number above 0"))]
}

/// Nanoseconds from one arrival to the next at this rate.
fn mean_gap(rate_per_s: f64) -> f64 {
    NANOS_PER_SEC as f64 / rate_per_s
}

/// `previous` plus a drawn gap, rounded first; `None` beyond what the clock can hold.
fn after(previous: Nanos, gap: f64) -> Option<Nanos> {
    // `as` saturates at the ends of the range.
    previous.checked_add(gap.round() as Nanos)
}
