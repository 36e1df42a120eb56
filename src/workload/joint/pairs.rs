//! Pairs of input and output tokens.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JointLengths, Pair, Side};
use crate::workload::error::Problem;
use crate::workload::length::file::{Columns, Format, LengthFile, LengthFileError, ReadFile, read_rows};
use crate::workload::length::weighted::Weighted;

/// Largest number of tokens of any length.
const MOST: u32 = 10_000_000;

/// Pairs of input and output tokens, each drawn as often as its weight says: written here, or in a CSV file with the
/// columns `input_tokens`, `output_tokens` and, if wanted, `weight` (or JSON lines with these keys). Lengths above the
/// bounds are moved to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// The pairs; none with `path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PairConfig>,
    /// A `.csv` or `.jsonl` file of pairs, relative to the scenario; not with `pairs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub path: Option<String>,
    /// SHA-256 of the file; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Most tokens of a prompt.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_input_tokens: u32,
    /// Most tokens asked of an answer.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_output_tokens: u32,
}

/// A pair of lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairConfig {
    /// Tokens of the prompt.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub input_tokens: u32,
    /// Tokens asked of the answer.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub output_tokens: u32,
    /// How often the pair is drawn, relative to the other pairs.
    #[serde(default = "once")]
    #[schemars(range(min = 0))]
    pub weight: f64,
}

fn most() -> u32 {
    MOST
}

fn once() -> f64 {
    1.0
}

impl Pairs {
    fn clamp(&self, input: u32, output: u32) -> Pair {
        Pair { input: input.min(self.max_input_tokens), output: output.min(self.max_output_tokens) }
    }

    pub(super) fn outer_bounds(&self, side: Side) -> (u32, u32) {
        let pairs = self.pairs.iter().filter(|pair| pair.weight > 0.0);
        let lengths: Vec<u32> =
            pairs.map(|pair| self.clamp(pair.input_tokens, pair.output_tokens).side(side)).collect();
        let most = self.clamp(MOST, MOST).side(side);
        (lengths.iter().copied().min().unwrap_or(1), lengths.iter().copied().max().unwrap_or(most))
    }

    pub(super) fn file(&self) -> Option<LengthFile<'_>> {
        let path = self.path.as_deref()?;
        Some(LengthFile { path, sha256: self.sha256.as_deref() })
    }

    /// The law of these settings, which are checked.
    pub(super) fn law(&self, read: ReadFile<'_>) -> Result<PairLengths, LengthFileError> {
        let pairs = match &self.path {
            Some(path) => {
                let columns = Columns { lengths: &["input_tokens", "output_tokens"], weight: Some("weight") };
                let rows = read_rows(path, read, Format::of(path), columns)?;
                Weighted::new(rows.into_iter().map(|row| (self.clamp(row.lengths[0], row.lengths[1]), row.weight)))
            }
            None => Weighted::new(
                self.pairs.iter().map(|pair| (self.clamp(pair.input_tokens, pair.output_tokens), pair.weight)),
            ),
        };
        Ok(PairLengths { pairs })
    }

    /// What is wrong with the settings: keys relative to `tokens`.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match (self.pairs.is_empty(), &self.path) {
            (false, Some(_)) => problems.push(Problem::new("path", "`pairs` and `path` exclude each other")),
            (true, None) => problems.push(Problem::new("", "needs `pairs`, or the `path` of a file of them")),
            (true, Some(_)) => {}
            (false, None) => {
                for (index, pair) in self.pairs.iter().enumerate() {
                    if pair.input_tokens == 0 || pair.output_tokens == 0 {
                        let message = format!("pair {} has a length of 0; a request needs at least 1 token", index + 1);
                        problems.push(Problem::new(format!("pairs.{index}"), message));
                    }
                    if !(pair.weight.is_finite() && pair.weight >= 0.0) {
                        let message =
                            format!("the weight {} of pair {} is not a number of at least 0", pair.weight, index + 1);
                        problems.push(Problem::new(format!("pairs.{index}.weight"), message));
                    }
                }
                if self.pairs.iter().all(|pair| pair.weight <= 0.0) {
                    problems.push(Problem::new("pairs", "at least one pair needs a `weight` above 0"));
                }
            }
        }
        problems
    }
}

/// Pairs, ready to be drawn from.
#[derive(Clone, Debug)]
pub(super) struct PairLengths {
    pairs: Weighted<Pair>,
}

impl JointLengths for PairLengths {
    fn sample(&self, rng: &mut ChaCha12Rng) -> Pair {
        *self.pairs.draw(rng)
    }

    fn mean(&self, side: Side) -> f64 {
        self.pairs.mean(|pair| f64::from(pair.side(side)))
    }

    fn bounds(&self, side: Side) -> (u32, u32) {
        let lengths = || self.pairs.entries().iter().map(|pair| pair.side(side));
        (lengths().min().unwrap_or(1), lengths().max().unwrap_or(1))
    }
}
