//! Pairs of a trace, each as often as the trace has it.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JointLengths, Pair, Side};
use crate::seed::Seed;
use crate::trace::{Trace, TraceError, TraceFormat, TraceSource};
use crate::workload::error::Problem;
use crate::workload::length::file::LengthFile;
use crate::workload::permutation::Permutation;
use crate::workload::prompt::pick;

/// Lengths of a trace, row by row, as Metron uses its length traces: both lengths times a factor, cut to whole
/// tokens; what they have together above `max_total_tokens` is taken from both in proportion, rounded up; at
/// least 1 token each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceLengths {
    /// The file, relative to the scenario; packed with gzip or zstd, or not.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its SHA-256; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Its format; absent: told from its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TraceFormat>,
    /// What the tokens of prompts are multiplied by.
    #[serde(default = "as_recorded")]
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub input_scale: f64,
    /// What the tokens of answers are multiplied by.
    #[serde(default = "as_recorded")]
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub output_scale: f64,
    /// Most tokens that a prompt and its answer have together, after scaling; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 20_000_000))]
    pub max_total_tokens: Option<u32>,
    /// In which order the rows are taken.
    #[serde(default)]
    pub order: RowsOrder,
    /// What follows the last row.
    pub at_end: RowsEnd,
}

/// In which order the rows of a trace are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowsOrder {
    /// Shuffled by the seed, each row once before one comes again.
    #[default]
    Shuffled,
    /// As the file has them.
    File,
}

/// What follows the last row of a trace of lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowsEnd {
    /// Nothing: a window that needs more requests than the trace has rows is an error. Requests after the window
    /// begin again.
    Stop,
    /// The rows again, in the same order.
    Cycle,
}

fn as_recorded() -> f64 {
    1.0
}

/// Largest number of tokens of any length.
const MOST: u32 = 10_000_000;

impl TraceLengths {
    pub(crate) fn source(&self) -> TraceSource {
        TraceSource { path: self.path.clone(), sha256: self.sha256.clone(), format: self.format, block_tokens: None }
    }

    pub(super) fn file(&self) -> LengthFile<'_> {
        LengthFile { path: &self.path, sha256: self.sha256.as_deref() }
    }

    pub(super) fn outer_bounds(&self) -> (u32, u32) {
        (1, self.max_total_tokens.map_or(MOST, |total| total.saturating_sub(1).clamp(1, MOST)))
    }

    /// What is wrong with the settings: keys relative to `tokens`.
    pub(super) fn check(&self) -> Vec<Problem> {
        let scales = [("input_scale", self.input_scale), ("output_scale", self.output_scale)];
        let bad = scales.into_iter().filter(|(_, scale)| !(scale.is_finite() && *scale > 0.0));
        bad.map(|(key, scale)| Problem::new(key, format!("`{key}` {scale} is not a number above 0"))).collect()
    }

    /// A row of the trace as it is sent.
    fn pair(&self, (input, output): (u32, u32)) -> Pair {
        // `as` cuts the fraction off, as Metron does, and saturates.
        let scale = |tokens: u32, by: f64| (f64::from(tokens) * by) as u32;
        let (input, output) = (scale(input, self.input_scale), scale(output, self.output_scale));
        let total = u64::from(input) + u64::from(output);
        let excess = self.max_total_tokens.map_or(0, |most| total.saturating_sub(u64::from(most)));
        // Rounded up in whole numbers: no last bit of a quotient decides.
        let less = |tokens: u32| if excess == 0 { 0 } else { (excess * u64::from(tokens)).div_ceil(total) };
        let left = |tokens: u32| (u64::from(tokens) - less(tokens)).clamp(1, u64::from(MOST)) as u32;
        Pair { input: left(input), output: left(output) }
    }

    /// The lengths of `trace`.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn law(&self, trace: &Arc<Trace>) -> Result<TracePairs, TraceError> {
        trace.lengths()?;
        let rows = trace.rows() as f64;
        let (mut sums, mut least, mut most) = ((0.0, 0.0), (u32::MAX, u32::MAX), (0, 0));
        for pair in trace.lengths()?.iter().map(|lengths| self.pair(*lengths)) {
            sums = (sums.0 + f64::from(pair.input), sums.1 + f64::from(pair.output));
            least = (least.0.min(pair.input), least.1.min(pair.output));
            most = (most.0.max(pair.input), most.1.max(pair.output));
        }
        let means = (sums.0 / rows, sums.1 / rows);
        Ok(TracePairs { config: self.clone(), trace: Arc::clone(trace), means, least, most })
    }
}

/// Rows of a trace, ready to be taken.
#[derive(Clone, Debug)]
pub(crate) struct TracePairs {
    config: TraceLengths,
    trace: Arc<Trace>,
    means: (f64, f64),
    least: (u32, u32),
    most: (u32, u32),
}

impl TracePairs {
    fn row(&self, row: u64) -> Pair {
        let lengths = self.trace.lengths().expect("checked when the law was made");
        self.config.pair(lengths[row as usize])
    }
}

fn of<T>((input, output): (T, T), side: Side) -> T {
    match side {
        Side::Input => input,
        Side::Output => output,
    }
}

impl JointLengths for TracePairs {
    fn sample(&self, rng: &mut ChaCha12Rng) -> Pair {
        self.row(u64::from(pick(rng, self.trace.rows())))
    }

    fn at(&self, number: u64, order: Seed, _: &mut ChaCha12Rng) -> Pair {
        let rows = self.trace.rows() as u64;
        self.row(match self.config.order {
            RowsOrder::File => number % rows,
            RowsOrder::Shuffled => Permutation::new(rows, order).at(number),
        })
    }

    fn mean(&self, side: Side) -> f64 {
        of(self.means, side)
    }

    fn bounds(&self, side: Side) -> (u32, u32) {
        (of(self.least, side), of(self.most, side))
    }

    fn rows(&self) -> Option<u64> {
        (self.config.at_end == RowsEnd::Stop).then_some(self.trace.rows() as u64)
    }
}
