//! Input and output lengths that belong together: one file a kind.

use std::fmt::Debug;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::length::file::{LengthFile, LengthFileError, ReadFile};
use crate::seed::Seed;
use crate::trace::Trace;

pub mod pairs;
pub mod ratio;
pub mod trace;

/// Tokens of a prompt and of its answer, drawn together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum JointConfig {
    /// Pairs of input and output tokens, written here or in a file.
    Pairs(pairs::Pairs),
    /// A total that is split at a fixed ratio.
    Ratio(ratio::Ratio),
    /// Rows of a trace, scaled and bounded.
    Trace(trace::TraceLengths),
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Tokens of the prompt.
    pub input: u32,
    /// Tokens asked of the answer.
    pub output: u32,
}

/// Which length of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of the prompt.
    Input,
    /// That of the answer.
    Output,
}

impl Pair {
    /// The length on one side.
    pub fn side(self, side: Side) -> u32 {
        match side {
            Side::Input => self.input,
            Side::Output => self.output,
        }
    }
}

/// A law of pairs, ready to be drawn from.
pub trait JointLengths: Debug + Send + Sync {
    /// One pair, inside [`JointLengths::bounds`].
    fn sample(&self, rng: &mut ChaCha12Rng) -> Pair;
    /// The pair of request `number` where rows are dealt out in an order; else a draw. `order` is the node of the order.
    fn at(&self, _number: u64, _order: Seed, rng: &mut ChaCha12Rng) -> Pair {
        self.sample(rng)
    }
    /// Rows after which there are no more; `None`: never.
    fn rows(&self) -> Option<u64> {
        None
    }
    /// Mean of one side, in tokens.
    fn mean(&self, side: Side) -> f64;
    /// Smallest and largest length of one side, both included.
    fn bounds(&self, side: Side) -> (u32, u32);
}

impl JointConfig {
    /// The law of these settings, which are checked. `read` gives the file that they name, if any.
    ///
    /// # Errors
    /// A file that cannot be read, or whose content is wrong.
    pub fn law(&self, read: ReadFile<'_>) -> Result<Arc<dyn JointLengths>, LengthFileError> {
        Ok(match self {
            Self::Pairs(law) => Arc::new(law.law(read)?),
            Self::Ratio(law) => Arc::new(law.law(read)?),
            Self::Trace(law) => {
                let bytes = read(&law.path)?;
                Arc::new(law.law(&Arc::new(Trace::read(&law.source(), bytes.as_slice(), false)?))?)
            }
        })
    }

    /// Mean of one side, in tokens; `None` while only a file knows it.
    pub fn mean(&self, side: Side) -> Option<f64> {
        if self.file().is_some() {
            return None;
        }
        self.law(&super::length::file::none).ok().map(|law| law.mean(side))
    }

    /// Bounds that no draw of one side leaves, both included; a file may leave them narrower.
    pub fn bounds(&self, side: Side) -> (u32, u32) {
        match self {
            Self::Pairs(law) => law.outer_bounds(side),
            Self::Ratio(law) => law.outer_bounds(side),
            Self::Trace(law) => law.outer_bounds(),
        }
    }

    /// The file that holds the lengths, and the keys below the workload to the table that names it.
    pub fn file(&self) -> Option<(&'static str, LengthFile<'_>)> {
        match self {
            Self::Pairs(law) => law.file().map(|file| ("tokens", file)),
            Self::Ratio(law) => law.total.file().map(|file| ("tokens.total", file)),
            Self::Trace(law) => Some(("tokens", law.file())),
        }
    }

    /// What is wrong with the settings: keys relative to `tokens`.
    pub fn check(&self) -> Vec<Problem> {
        match self {
            Self::Pairs(law) => law.check(),
            Self::Ratio(law) => law.check(),
            Self::Trace(law) => law.check(),
        }
    }
}
