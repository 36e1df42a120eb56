//! Pauses between an answer and the next request of the same user, as a law.

use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::Problem;
use crate::seed::Seed;
use crate::units::{HumanDuration, Nanos};

/// The 99th percentile of the standard normal law.
const Z99: f64 = 2.326_347_874_040_840_8;

/// A law of pauses. Each pause is a function of the user and the turn alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ThinkLaw {
    /// Every pause between two bounds equally often.
    Uniform(UniformThink),
    /// Exponential: many short pauses, a few long ones.
    Exponential(ExponentialThink),
    /// Log-normal, the usual shape of people's reading times.
    Lognormal(LognormalThink),
}

/// Every pause from `min` to `max` equally often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UniformThink {
    /// Shortest pause.
    #[serde(default)]
    pub min: HumanDuration,
    /// Longest pause.
    pub max: HumanDuration,
}

/// Exponential pauses, cut at `max`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExponentialThink {
    /// Mean pause before `max` applies.
    pub mean: HumanDuration,
    /// Longest pause: longer ones are shortened to it.
    pub max: HumanDuration,
}

/// Log-normal pauses given by two numbers, cut at `max`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LognormalThink {
    /// Half of the pauses are at most this long.
    pub median: HumanDuration,
    /// 99 of 100 pauses are at most this long.
    pub p99: HumanDuration,
    /// Longest pause: longer ones are shortened to it.
    pub max: HumanDuration,
}

impl ThinkLaw {
    /// The pause whose draw belongs to `seed`.
    pub fn draw(&self, seed: Seed) -> Nanos {
        let mut rng = seed.rng();
        let (nanos, max) = match self {
            Self::Uniform(law) => return rng.random_range(law.min.nanos()..=law.max.nanos()),
            Self::Exponential(law) => {
                let standard: f64 = Exp1.sample(&mut rng);
                (law.mean.nanos() as f64 * standard, law.max)
            }
            Self::Lognormal(law) => {
                let standard: f64 = StandardNormal.sample(&mut rng);
                (law.median.nanos() as f64 * libm::exp(law.sigma() * standard), law.max)
            }
        };
        // `as` saturates.
        (nanos.round() as Nanos).min(max.nanos())
    }

    /// Mean pause with `max` applied, in seconds; for estimates.
    pub fn mean_s(&self) -> f64 {
        let seconds = |duration: HumanDuration| duration.get().as_secs_f64();
        match self {
            Self::Uniform(law) => f64::midpoint(seconds(law.min), seconds(law.max)),
            // The integral of the tail e^(-x/m) up to the bound.
            Self::Exponential(law) => -seconds(law.mean) * libm::expm1(-seconds(law.max) / seconds(law.mean)),
            Self::Lognormal(law) => {
                let (mu, sigma, max) = (libm::log(seconds(law.median)), law.sigma(), seconds(law.max));
                if sigma == 0.0 {
                    return seconds(law.median).min(max);
                }
                let normal = Normal::standard();
                let bound = (libm::log(max) - mu) / sigma;
                libm::exp(mu + sigma * sigma / 2.0) * normal.cdf(bound - sigma) + max * normal.cdf(-bound)
            }
        }
    }

    /// What is wrong with the settings, keys relative to the law.
    pub fn check(&self) -> Vec<Problem> {
        let above = |key: &str, value: HumanDuration, name: &str, least: HumanDuration| {
            (value < least).then(|| Problem::new(key, format!("`{key}` {value} is shorter than `{name}` {least}")))
        };
        let zero = |key: &str, value: HumanDuration| {
            (value.nanos() == 0).then(|| Problem::new(key, format!("`{key}` must be longer than 0s")))
        };
        match self {
            Self::Uniform(law) => above("max", law.max, "min", law.min).into_iter().collect(),
            Self::Exponential(law) => {
                zero("mean", law.mean).or(above("max", law.max, "mean", law.mean)).into_iter().collect()
            }
            Self::Lognormal(law) => {
                let order = above("p99", law.p99, "median", law.median);
                zero("median", law.median)
                    .or(order)
                    .or(above("max", law.max, "median", law.median))
                    .into_iter()
                    .collect()
            }
        }
    }
}

impl LognormalThink {
    fn sigma(&self) -> f64 {
        libm::log(self.p99.nanos() as f64 / self.median.nanos() as f64) / Z99
    }
}
