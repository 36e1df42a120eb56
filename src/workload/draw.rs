//! The lengths of a class's requests, each a pure function of who the request is.

use std::sync::Arc;

use super::joint::{JointLengths, Side};
use super::length::Lengths;
use super::prompt::Who;
use crate::seed::Seed;

/// Draws one of the two lengths of each request of a class.
#[derive(Clone, Debug)]
pub(crate) enum LengthDraw {
    /// By a law of its own.
    Alone { law: Arc<dyn Lengths>, seed: Seed },
    /// One side of a pair; the other side draws from the same seed.
    Joint { law: Arc<dyn JointLengths>, seed: Seed, side: Side },
}

impl LengthDraw {
    /// The length of one request.
    pub(crate) fn draw(&self, who: &Who) -> u32 {
        match self {
            Self::Alone { law, seed } => law.sample(&mut who.seed(*seed).rng()),
            Self::Joint { law, seed, side } => {
                law.at(who.number, seed.child("order"), &mut who.seed(*seed).rng()).side(*side)
            }
        }
    }

    /// Rows after which there are no more; `None`: never.
    pub(crate) fn rows(&self) -> Option<u64> {
        match self {
            Self::Alone { .. } => None,
            Self::Joint { law, .. } => law.rows(),
        }
    }

    /// Mean of the law, in tokens.
    pub(crate) fn mean(&self) -> f64 {
        match self {
            Self::Alone { law, .. } => law.mean(),
            Self::Joint { law, side, .. } => law.mean(*side),
        }
    }

    /// Smallest and largest length, both included.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        match self {
            Self::Alone { law, .. } => law.bounds(),
            Self::Joint { law, side, .. } => law.bounds(*side),
        }
    }
}
