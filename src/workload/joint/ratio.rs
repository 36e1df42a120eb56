//! A total number of tokens, split between prompt and answer at a fixed ratio.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JointLengths, Pair, Side};
use crate::workload::error::Problem;
use crate::workload::length::file::{LengthFileError, ReadFile};
use crate::workload::length::{LengthConfig, Lengths};

/// A total that is drawn by any law and split: the answer gets `total / (1 + prefill_to_decode_ratio)`, rounded down but
/// at least 1 token, the prompt the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// Input and output tokens of a request together.
    pub total: LengthConfig,
    /// Input tokens for each output token: 10 makes prompts ten times as long as answers.
    #[schemars(range(min = 0.001, max = 100_000))]
    pub prefill_to_decode_ratio: f64,
}

/// The two parts of a total of at least 2.
fn split(total: u32, ratio: f64) -> Pair {
    // `as` rounds down; the ratio is above 0, so that the answer is never all of it.
    let output = ((f64::from(total) / (1.0 + ratio)) as u32).clamp(1, total.saturating_sub(1).max(1));
    Pair { input: total.saturating_sub(output).max(1), output }
}

impl Ratio {
    pub(super) fn outer_bounds(&self, side: Side) -> (u32, u32) {
        let (low, high) = self.total.bounds();
        let at = |total: u32| split(total, self.prefill_to_decode_ratio).side(side);
        (at(low), at(high))
    }

    /// The law of these settings, which are checked.
    pub(super) fn law(&self, read: ReadFile<'_>) -> Result<SplitTotal, LengthFileError> {
        Ok(SplitTotal { total: self.total.law(read)?, ratio: self.prefill_to_decode_ratio })
    }

    /// What is wrong with the settings: keys relative to `tokens`.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.total.check().into_iter().map(|problem| problem.inside("total")).collect();
        if problems.is_empty() && self.total.bounds().0 < 2 {
            let key = match &self.total {
                LengthConfig::Fixed(_) => "total.value",
                _ => "total.min",
            };
            problems.push(Problem::new(key, "a total needs at least 2 tokens: one of the prompt, one of the answer"));
        }
        let ratio = self.prefill_to_decode_ratio;
        if !(ratio.is_finite() && ratio > 0.0) {
            let message = format!("`prefill_to_decode_ratio` {ratio} is not a number above 0");
            problems.push(Problem::new("prefill_to_decode_ratio", message));
        }
        problems
    }
}

/// A split total, ready to be drawn from.
#[derive(Clone, Debug)]
pub(super) struct SplitTotal {
    total: Arc<dyn Lengths>,
    ratio: f64,
}

impl JointLengths for SplitTotal {
    fn sample(&self, rng: &mut ChaCha12Rng) -> Pair {
        split(self.total.sample(rng), self.ratio)
    }

    fn mean(&self, side: Side) -> f64 {
        let total = self.total.mean();
        let exact = total / (1.0 + self.ratio);
        let (low, high) = self.total.bounds();
        // Rounding down takes half a token from the answer in the mean, unless the total is always the same.
        let output = if low == high { f64::from(split(low, self.ratio).output) } else { (exact - 0.5).max(1.0) };
        match side {
            Side::Input => total - output,
            Side::Output => output,
        }
    }

    fn bounds(&self, side: Side) -> (u32, u32) {
        let (low, high) = self.total.bounds();
        (split(low, self.ratio).side(side), split(high, self.ratio).side(side))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_split_without_a_rest() {
        // 1024 / 11 = 93.09, 8192 / 11 = 744.7, 2 / 11 = 0.18 but at least 1, 100 / 1.5 = 66.7, 2 / 1.001 = 1.998.
        for (total, ratio, input, output) in
            [(1024, 10.0, 931, 93), (8192, 10.0, 7448, 744), (2, 10.0, 1, 1), (100, 0.5, 34, 66), (2, 0.001, 1, 1)]
        {
            assert_eq!(split(total, ratio), Pair { input, output }, "{total} at {ratio}");
        }
    }
}
