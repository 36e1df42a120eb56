//! A rate that changes with time: stages over any process that has a rate.
//!
//! One non-homogeneous process by a change of time: the base process runs at rate 1 in *operational time*, the
//! expected number of arrivals so far, and each of its gaps is carried to the clock by the inverse of that expectation.
//! So a staged Poisson load is a non-homogeneous Poisson process, and the gaps of a staged gamma or Weibull load keep
//! their law on that scale. Inverses are closed forms, but for a sine, which is solved by Newton's method inside a
//! bracket to less than a nanosecond. All of it uses `libm`, which has the same bits on every platform.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1, Gamma as GammaLaw};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::weibull::UnitWeibull;
use super::{Arrivals, Problem};
use crate::units::{HumanDuration, NANOS_PER_SEC, Nanos};

/// A part of a load during which the rate follows one rule. It begins at the rate at which the stage before it ended,
/// the first one at `rate_per_s`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StageConfig {
    /// The rate changes by the same amount each second.
    Linear(Linear),
    /// The rate changes by the same factor each second.
    Exponential(Exponential),
    /// The rate jumps and stays.
    Step(Step),
    /// The rate stays what it is.
    Hold(Hold),
    /// The rate swings to a peak and back, as over a day.
    Sine(Sine),
}

/// A straight ramp of the rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Arrivals per second at the end of the stage.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub to_per_s: f64,
    /// Length of the stage.
    pub duration: HumanDuration,
}

/// A ramp that multiplies the rate by the same factor each second. Neither end can be 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// Arrivals per second at the end of the stage.
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub to_per_s: f64,
    /// Length of the stage.
    pub duration: HumanDuration,
}

/// A jump of the rate, which then stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Arrivals per second from the beginning of the stage to its end; 0 is a pause.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub to_per_s: f64,
    /// Length of the stage.
    pub duration: HumanDuration,
}

/// The rate at which the stage before ended, for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Length of the stage.
    pub duration: HumanDuration,
}

/// A wave: from the rate at the beginning of the stage to `to_per_s` after half a period and back, along a sine. A day
/// is `{ kind = "sine", to_per_s = 20, duration = "24h" }`; a peak below the rate at the beginning is a dip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sine {
    /// Arrivals per second half a period after the beginning of the stage.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub to_per_s: f64,
    /// Length of one wave; absent: the stage is one wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<HumanDuration>,
    /// Length of the stage.
    pub duration: HumanDuration,
}

/// What comes after the last stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AfterStages {
    /// The last rate stays.
    #[default]
    Hold,
    /// The stages again, from `rate_per_s` on.
    Repeat,
}

impl AfterStages {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

impl StageConfig {
    fn duration(&self) -> HumanDuration {
        match self {
            Self::Linear(stage) => stage.duration,
            Self::Exponential(stage) => stage.duration,
            Self::Step(stage) => stage.duration,
            Self::Hold(stage) => stage.duration,
            Self::Sine(stage) => stage.duration,
        }
    }

    /// The shape of the stage that begins at `rate`.
    fn shape(&self, rate: f64) -> Shape {
        match self {
            Self::Linear(stage) => Shape::Linear { from: rate, to: stage.to_per_s },
            Self::Exponential(stage) => Shape::Exponential { from: rate, to: stage.to_per_s },
            Self::Step(stage) => Shape::Flat(stage.to_per_s),
            Self::Hold(_) => Shape::Flat(rate),
            Self::Sine(stage) => {
                let period_s = seconds(stage.period.unwrap_or(stage.duration).nanos());
                Shape::Sine { from: rate, to: stage.to_per_s, period_s }
            }
        }
    }
}

/// What is wrong with stages that begin at `rate_per_s`, keys relative to `[load]`.
pub(super) fn check(rate_per_s: f64, stages: &[StageConfig], after: AfterStages) -> Vec<Problem> {
    let mut problems = Vec::new();
    if stages.is_empty() {
        if after == AfterStages::Repeat {
            problems.push(Problem::new("after_stages", "there are no `stages` that could be repeated"));
        }
        return problems;
    }
    let (mut rate, mut expected) = (rate_per_s, 0.0);
    for (index, stage) in stages.iter().enumerate() {
        let key = |setting: &str| format!("stages.{index}.{setting}");
        if stage.duration().nanos() == 0 {
            problems.push(Problem::new(key("duration"), "a stage must be longer than 0s"));
        }
        let to = match stage {
            StageConfig::Linear(Linear { to_per_s, .. })
            | StageConfig::Exponential(Exponential { to_per_s, .. })
            | StageConfig::Step(Step { to_per_s, .. })
            | StageConfig::Sine(Sine { to_per_s, .. }) => *to_per_s,
            StageConfig::Hold(_) => rate,
        };
        if !(to.is_finite() && to >= 0.0) {
            problems.push(Problem::new(key("to_per_s"), format!("`to_per_s` {to} is not a number of at least 0")));
            return problems;
        }
        if matches!(stage, StageConfig::Exponential(_)) && (rate <= 0.0 || to <= 0.0) {
            let message = "an exponential ramp has a rate above 0 at both ends; a linear one can begin or end at 0";
            problems.push(Problem::new(key("to_per_s"), message));
            return problems;
        }
        if matches!(stage, StageConfig::Sine(Sine { period: Some(period), .. }) if period.nanos() == 0) {
            problems.push(Problem::new(key("period"), "a wave must be longer than 0s"));
            return problems;
        }
        let shape = stage.shape(rate);
        let length_s = seconds(stage.duration().nanos());
        expected += shape.mass(length_s, 0.0, length_s);
        rate = shape.rate(length_s, length_s);
    }
    let last = format!("stages.{}", stages.len() - 1);
    match after {
        AfterStages::Hold if rate <= 0.0 => problems.push(Problem::new(
            last,
            "the rate is 0 after the last stage, and load has to go on while the last requests finish: end above 0, or \
             set `after_stages = \"repeat\"`",
        )),
        AfterStages::Repeat if problems.is_empty() && expected <= 0.0 => {
            problems.push(Problem::new(last, "no stage has a rate above 0, so no request would ever come"));
        }
        _ => {}
    }
    problems
}

/// How the rate runs within a stage; rates per second, times in seconds from the beginning of the stage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Flat(f64),
    Linear { from: f64, to: f64 },
    Exponential { from: f64, to: f64 },
    Sine { from: f64, to: f64, period_s: f64 },
}

impl Shape {
    fn rate(self, length_s: f64, at: f64) -> f64 {
        match self {
            Self::Flat(rate) => rate,
            Self::Linear { from, to } => from + (to - from) * (at / length_s),
            Self::Exponential { from, to } => from * libm::exp(growth(from, to, length_s) * at),
            Self::Sine { from, to, period_s } => {
                let middle = (from + to) / 2.0;
                // Never below 0 by rounding.
                (middle - (to - from) / 2.0 * libm::cos(turns(at, period_s))).max(0.0)
            }
        }
    }

    /// Expected arrivals from `at` on for `span` seconds.
    fn mass(self, length_s: f64, at: f64, span: f64) -> f64 {
        match self {
            Self::Flat(rate) => rate * span,
            Self::Linear { .. } => (self.rate(length_s, at) + self.rate(length_s, at + span)) / 2.0 * span,
            Self::Exponential { from, to } => {
                let growth = growth(from, to, length_s);
                let rate = self.rate(length_s, at);
                if growth == 0.0 { rate * span } else { rate * libm::expm1(growth * span) / growth }
            }
            Self::Sine { from, to, period_s } => {
                // The difference of two sines as a product: nothing cancels when the span is short.
                let (half_swing, half_span) = ((to - from) / 2.0, span / 2.0);
                let wave = 2.0 * libm::cos(turns(at + half_span, period_s)) * libm::sin(turns(half_span, period_s));
                (from + to) / 2.0 * span - half_swing * wave / turns(1.0, period_s)
            }
        }
    }

    /// The span from `at` on in which `mass` arrivals are expected; no more than are left of the stage.
    fn reach(self, length_s: f64, at: f64, mass: f64) -> f64 {
        let left = length_s - at;
        let span = match self {
            Self::Flat(rate) => mass / rate,
            Self::Linear { from, to } => {
                let slope = (to - from) / length_s;
                let rate = self.rate(length_s, at);
                // The form of the quadratic solution that does not cancel.
                2.0 * mass / (rate + (rate * rate + 2.0 * slope * mass).max(0.0).sqrt())
            }
            Self::Exponential { from, to } => {
                let growth = growth(from, to, length_s);
                let rate = self.rate(length_s, at);
                if growth == 0.0 { mass / rate } else { libm::log1p(growth * mass / rate) / growth }
            }
            Self::Sine { .. } => self.solve(length_s, at, mass),
        };
        // A gap of nothing at a rate of nothing.
        if span.is_nan() { 0.0 } else { span.clamp(0.0, left.max(0.0)) }
    }

    /// Newton's method inside a bracket, to a tenth of a nanosecond. A step that leaves the bracket or is not half as
    /// long as the one before halves the bracket instead: waves send Newton's method to and fro.
    fn solve(self, length_s: f64, at: f64, mass: f64) -> f64 {
        const CLOSE_S: f64 = 1e-10;
        let (mut low, mut high) = (0.0, length_s - at);
        let mut span = (mass / self.rate(length_s, at)).min(high);
        let mut step = high;
        while high - low > CLOSE_S {
            let excess = self.mass(length_s, at, span) - mass;
            if excess > 0.0 {
                high = span;
            } else {
                low = span;
            }
            let newton = span - excess / self.rate(length_s, at + span);
            let inside = newton > low && newton < high && (newton - span).abs() < step / 2.0;
            let next = if inside { newton } else { low + (high - low) / 2.0 };
            step = (next - span).abs();
            span = next;
            if step < CLOSE_S {
                break;
            }
        }
        span
    }
}

fn turns(at: f64, period_s: f64) -> f64 {
    std::f64::consts::TAU * (at / period_s)
}

fn growth(from: f64, to: f64, length_s: f64) -> f64 {
    libm::log(to / from) / length_s
}

fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / NANOS_PER_SEC as f64
}

/// `at` and a span in seconds after it, to the nearest nanosecond; `None` beyond what the clock can hold.
fn later(at: Nanos, span_s: f64) -> Option<Nanos> {
    // `as` saturates.
    at.checked_add((span_s * NANOS_PER_SEC as f64).round() as Nanos)
}

/// The rate of a staged load over the time of a point. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RateCurve(Arc<Curve>);

#[derive(Debug)]
struct Curve {
    /// Until here the rate is `first`: warm-up.
    start: Nanos,
    first: f64,
    pieces: Vec<Piece>,
    /// Length and expected arrivals of all stages together.
    length: Nanos,
    mass: f64,
    after: AfterStages,
    last: f64,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// From the beginning of the first stage.
    start: Nanos,
    length: Nanos,
    shape: Shape,
}

impl Piece {
    fn end(&self) -> Nanos {
        self.start + self.length
    }

    /// Expected arrivals between two times that lie in the piece.
    fn mass(&self, from: Nanos, to: Nanos) -> f64 {
        self.shape.mass(seconds(self.length), seconds(from - self.start), seconds(to - from))
    }
}

impl RateCurve {
    /// The curve of checked stages that begin at `start`.
    pub(super) fn new(rate_per_s: f64, stages: &[StageConfig], after: AfterStages, start: Nanos) -> Self {
        let (mut rate, mut at, mut mass) = (rate_per_s, 0_u64, 0.0);
        let pieces = stages.iter().map(|stage| {
            let length_s = seconds(stage.duration().nanos());
            let piece = Piece { start: at, length: stage.duration().nanos(), shape: stage.shape(rate) };
            at = at.saturating_add(piece.length);
            mass += piece.shape.mass(length_s, 0.0, length_s);
            rate = piece.shape.rate(length_s, length_s);
            piece
        });
        let pieces = pieces.collect();
        Self(Arc::new(Curve { start, first: rate_per_s, pieces, length: at, mass, after, last: rate }))
    }

    /// The time after `from` by which `mass` more arrivals are expected; `None` beyond what the clock can hold.
    pub(crate) fn advance(&self, from: Nanos, mass: f64) -> Option<Nanos> {
        let curve = &*self.0;
        let (mut at, mut left) = (from, mass);
        if at < curve.start {
            let warmup = curve.first * seconds(curve.start - at);
            if left <= warmup {
                return later(at, left / curve.first);
            }
            (at, left) = (curve.start, left - warmup);
        }
        let since = at - curve.start;
        let (mut cycle, mut within) = match curve.after {
            AfterStages::Repeat => (at - since % curve.length, since % curve.length),
            AfterStages::Hold => (curve.start, since.min(curve.length)),
        };
        loop {
            let first = curve.pieces.partition_point(|piece| piece.end() <= within);
            for piece in &curve.pieces[first..] {
                let here = piece.mass(within, piece.end());
                if left <= here {
                    let span = piece.shape.reach(seconds(piece.length), seconds(within - piece.start), left);
                    return later(cycle.checked_add(within)?, span);
                }
                (within, left) = (piece.end(), left - here);
            }
            match curve.after {
                AfterStages::Hold => return later(at.max(curve.start.checked_add(curve.length)?), left / curve.last),
                AfterStages::Repeat => {
                    // Whole rounds at once: a gap may be longer than all stages.
                    let rounds = (left / curve.mass).floor();
                    left = (left - rounds * curve.mass).max(0.0);
                    cycle = cycle.checked_add(curve.length.checked_mul((rounds as u64).checked_add(1)?)?)?;
                    within = 0;
                }
            }
        }
    }

    /// Expected arrivals from `from` to `to`.
    pub(crate) fn expected(&self, from: Nanos, to: Nanos) -> f64 {
        (self.until(to) - self.until(from)).max(0.0)
    }

    /// Expected arrivals before `to`.
    fn until(&self, to: Nanos) -> f64 {
        let curve = &*self.0;
        let warmup = curve.first * seconds(to.min(curve.start));
        let since = to.saturating_sub(curve.start);
        let (rounds, within, beyond) = match curve.after {
            AfterStages::Repeat => (since / curve.length, since % curve.length, 0),
            AfterStages::Hold => (0, since.min(curve.length), since.saturating_sub(curve.length)),
        };
        let begun = curve.pieces.iter().filter(|piece| piece.start < within);
        let inside: f64 = begun.map(|piece| piece.mass(piece.start, within.min(piece.end()))).sum();
        warmup + rounds as f64 * curve.mass + inside + curve.last * seconds(beyond)
    }

    /// The largest rate of all.
    pub(crate) fn peak_per_s(&self) -> f64 {
        let ends = |piece: &Piece| match piece.shape {
            Shape::Flat(rate) => rate,
            Shape::Linear { from, to } | Shape::Exponential { from, to } | Shape::Sine { from, to, .. } => from.max(to),
        };
        self.0.pieces.iter().map(ends).fold(self.0.first, f64::max)
    }
}

/// Gaps of a process whose rate is 1 in operational time.
#[derive(Clone, Debug)]
pub(crate) enum UnitGaps {
    /// All the same.
    Even,
    /// Exponential.
    Exponential,
    /// Gamma with mean 1.
    Gamma(GammaLaw<f64>),
    /// Weibull with mean 1.
    Weibull(UnitWeibull),
}

/// A process under a rate that changes.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(super) gaps: UnitGaps,
    pub(super) curve: RateCurve,
}

impl Arrivals for Staged {
    fn next_at(&self, index: u64, previous: Nanos, rng: &mut ChaCha12Rng) -> Option<Nanos> {
        let gap = match &self.gaps {
            // From the beginning each time: no rounding adds up.
            UnitGaps::Even => return self.curve.advance(0, index as f64),
            UnitGaps::Exponential => Exp1.sample(rng),
            UnitGaps::Gamma(law) => law.sample(rng),
            UnitGaps::Weibull(law) => law.sample(rng),
        };
        self.curve.advance(previous, gap)
    }
}
