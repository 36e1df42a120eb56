//! How many tokens an input or an output has: one file a kind.
//!
//! Draws use `rand_distr`, whose logarithms come from the platform's mathematical library when another
//! crate of the build asks for it. Lengths are whole numbers, so a last-bit difference between two
//! platforms moves a length only when it lies on a rounding edge; the promise "same seed, same lengths"
//! is therefore given per build target.

use std::fmt::Debug;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::Problem;

pub mod exponential;
pub mod file;
pub mod fixed;
pub mod gamma;
pub mod histogram;
pub mod lognormal;
pub mod normal;
mod sums;
pub mod uniform;
pub mod weighted;
pub mod zipf;

use file::{LengthFile, LengthFileError, ReadFile};

/// How many tokens a prompt or an answer has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LengthConfig {
    /// The same number of tokens every time.
    Fixed(fixed::Fixed),
    /// Every number of tokens from `min` to `max` equally often.
    Uniform(uniform::Uniform),
    /// A normal law, redrawn outside its bounds.
    Normal(normal::Normal),
    /// A log-normal law given by its median and 99th percentile.
    Lognormal(lognormal::Lognormal),
    /// A gamma law given by its mean and how far it spreads.
    Gamma(gamma::Gamma),
    /// An exponential law.
    Exponential(exponential::Exponential),
    /// A Zipf law over the lengths between its bounds: the shorter, the more often.
    Zipf(zipf::Zipf),
    /// How often each length was seen, written here or in a file.
    Histogram(histogram::Histogram),
}

/// A law of lengths, ready to be drawn from.
pub trait Lengths: Debug + Send + Sync {
    /// One length, inside [`Lengths::bounds`].
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32;
    /// Mean of the law with its bounds applied, in tokens; for estimates, and beside what was drawn.
    fn mean(&self) -> f64;
    /// Smallest and largest length, both included.
    fn bounds(&self) -> (u32, u32);
}

impl LengthConfig {
    /// The law of these settings, which are checked. `read` gives the file that they name, if any.
    ///
    /// # Errors
    /// A file that cannot be read, or whose content is wrong.
    pub fn law(&self, read: ReadFile<'_>) -> Result<Arc<dyn Lengths>, LengthFileError> {
        Ok(match self {
            Self::Fixed(law) => Arc::new(law.clone()),
            Self::Uniform(law) => Arc::new(law.clone()),
            Self::Normal(law) => Arc::new(law.clone()),
            Self::Lognormal(law) => Arc::new(law.clone()),
            Self::Gamma(law) => Arc::new(law.law()),
            Self::Exponential(law) => Arc::new(law.clone()),
            Self::Zipf(law) => Arc::new(law.law()),
            Self::Histogram(law) => Arc::new(law.law(read)?),
        })
    }

    /// The law of these settings, which are checked; `None` where it needs a file.
    pub fn without_file(&self) -> Option<Arc<dyn Lengths>> {
        if self.file().is_some() { None } else { self.law(&file::none).ok() }
    }

    /// Mean of the law with its bounds applied, in tokens; `None` while only a file knows it.
    pub fn mean(&self) -> Option<f64> {
        self.without_file().map(|law| law.mean())
    }

    /// Bounds that no draw leaves, both included; a file may leave them narrower.
    pub fn bounds(&self) -> (u32, u32) {
        match self {
            Self::Fixed(law) => (law.value, law.value),
            Self::Uniform(law) => (law.min, law.max),
            Self::Normal(law) => (law.min, law.max),
            Self::Lognormal(law) => (law.min, law.max),
            Self::Gamma(law) => (law.min, law.max),
            Self::Exponential(law) => (law.min, law.max),
            Self::Zipf(law) => (law.min, law.max),
            Self::Histogram(law) => law.outer_bounds(),
        }
    }

    /// The file that holds the lengths, if one does.
    pub fn file(&self) -> Option<LengthFile<'_>> {
        match self {
            Self::Histogram(law) => law.file(),
            Self::Fixed(_)
            | Self::Uniform(_)
            | Self::Normal(_)
            | Self::Lognormal(_)
            | Self::Gamma(_)
            | Self::Exponential(_)
            | Self::Zipf(_) => None,
        }
    }

    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        match self {
            Self::Fixed(law) => law.check(),
            Self::Uniform(law) => law.check(),
            Self::Normal(law) => law.check(),
            Self::Lognormal(law) => law.check(),
            Self::Gamma(law) => law.check(),
            Self::Exponential(law) => law.check(),
            Self::Zipf(law) => law.check(),
            Self::Histogram(law) => law.check(),
        }
    }
}

/// The problem of bounds that are the wrong way round or leave room for nothing.
fn check_bounds(min: u32, max: u32) -> Vec<Problem> {
    if min == 0 {
        return vec![Problem::new("min", "a request needs at least 1 token")];
    }
    if min > max {
        return vec![Problem::new("min", format!("`min` {min} is greater than `max` {max}"))];
    }
    Vec::new()
}

/// The problem of a mean that no length between the bounds can be near.
fn check_mean(mean: f64, min: u32, max: u32) -> Vec<Problem> {
    if !(mean.is_finite() && mean >= 1.0) {
        return vec![Problem::new("mean", format!("`mean` {mean} is not a number of at least 1"))];
    }
    if mean < f64::from(min) || mean > f64::from(max) {
        let message = format!(
            "`mean` {mean} is outside `min` {min} … `max` {max}: nearly every length would be moved to a bound"
        );
        return vec![Problem::new("mean", message)];
    }
    Vec::new()
}

/// Rounds to the nearest whole number of tokens inside the bounds.
fn clamp(value: f64, min: u32, max: u32) -> u32 {
    // `as` saturates, and NaN cannot occur: laws are checked.
    (value.round().max(0.0) as u32).clamp(min, max)
}

fn one() -> u32 {
    1
}
