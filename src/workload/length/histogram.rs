//! Lengths as often as they were seen.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::{Columns, Format, LengthFile, LengthFileError, ReadFile, read_rows};
use super::weighted::Weighted;
use super::{Lengths, Problem, check_bounds, one};

/// Largest number of tokens of any length.
const MOST: u32 = 10_000_000;

/// Lengths as often as they were seen: bins written here, or a CSV file that counts them. Inside a bin every length is
/// equally likely; lengths outside `min` … `max` are moved to the nearest bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// The bins; none with `path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<Bin>,
    /// A CSV file with the columns `value` and `count`, relative to the scenario; not with `bins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub path: Option<String>,
    /// SHA-256 of the file; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Smallest number of tokens.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
}

/// Lengths that share a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// Smallest number of tokens of the bin.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub from: u32,
    /// Largest number of tokens, itself in the bin. Absent: the bin is `from` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub to: Option<u32>,
    /// How often the bin is drawn, relative to the other bins.
    #[schemars(range(min = 0))]
    pub weight: f64,
}

fn most() -> u32 {
    MOST
}

impl Bin {
    fn last(&self) -> u32 {
        self.to.unwrap_or(self.from)
    }
}

impl Histogram {
    /// Bounds that no draw leaves.
    pub(super) fn outer_bounds(&self) -> (u32, u32) {
        let clamp = |tokens: u32| tokens.max(self.min).min(self.max);
        let drawn = || self.bins.iter().filter(|bin| bin.weight > 0.0);
        match (drawn().map(|bin| bin.from).min(), drawn().map(Bin::last).max()) {
            (Some(low), Some(high)) => (clamp(low), clamp(high)),
            _ => (self.min, self.max),
        }
    }

    pub(super) fn file(&self) -> Option<LengthFile<'_>> {
        let path = self.path.as_deref()?;
        Some(LengthFile { path, sha256: self.sha256.as_deref() })
    }

    /// The law of these settings, which are checked.
    pub(super) fn law(&self, read: ReadFile<'_>) -> Result<HistogramLengths, LengthFileError> {
        let bins = match &self.path {
            Some(path) => {
                let rows = read_rows(path, read, Format::Csv, Columns { lengths: &["value"], weight: Some("count") })?;
                Weighted::new(rows.into_iter().map(|row| ((row.lengths[0], row.lengths[0]), row.weight)))
            }
            None => Weighted::new(self.bins.iter().map(|bin| ((bin.from, bin.last()), bin.weight))),
        };
        Ok(HistogramLengths { bins, min: self.min, max: self.max })
    }

    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = check_bounds(self.min, self.max);
        match (self.bins.is_empty(), &self.path) {
            (false, Some(_)) => problems.push(Problem::new("path", "`bins` and `path` exclude each other")),
            (true, None) => problems.push(Problem::new("", "a histogram needs `bins`, or the `path` of a file")),
            (true, Some(_)) => {}
            (false, None) => {
                for (index, bin) in self.bins.iter().enumerate() {
                    if bin.from == 0 || bin.last() < bin.from {
                        let message = format!("bin {} goes from {} to {}", index + 1, bin.from, bin.last());
                        problems.push(Problem::new(format!("bins.{index}.from"), message));
                    }
                    if !(bin.weight.is_finite() && bin.weight >= 0.0) {
                        let message =
                            format!("the weight {} of bin {} is not a number of at least 0", bin.weight, index + 1);
                        problems.push(Problem::new(format!("bins.{index}.weight"), message));
                    }
                }
                if self.bins.iter().all(|bin| bin.weight <= 0.0) {
                    problems.push(Problem::new("bins", "at least one bin needs a `weight` above 0"));
                }
            }
        }
        problems
    }
}

/// A histogram, ready to be drawn from.
#[derive(Clone, Debug)]
pub(super) struct HistogramLengths {
    bins: Weighted<(u32, u32)>,
    min: u32,
    max: u32,
}

impl HistogramLengths {
    fn clamp(&self, tokens: u32) -> u32 {
        tokens.max(self.min).min(self.max)
    }

    /// Mean of a bin after the bounds apply.
    fn mean_of(&self, (from, to): (u32, u32)) -> f64 {
        let (low, high) = (self.clamp(from), self.clamp(to));
        // Lengths below and above sit on the bounds, those between are spread evenly.
        let below = f64::from(self.min.saturating_sub(from).min(to - from + 1));
        let above = f64::from(to.saturating_sub(self.max).min(to - from + 1));
        let inside = f64::from(to - from + 1) - below - above;
        let sum = below * f64::from(self.min)
            + above * f64::from(self.max)
            + if inside > 0.0 { inside * f64::midpoint(f64::from(low), f64::from(high)) } else { 0.0 };
        sum / f64::from(to - from + 1)
    }
}

impl Lengths for HistogramLengths {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        let (from, to) = *self.bins.draw(rng);
        self.clamp(if from == to { from } else { rng.random_range(from..=to) })
    }

    fn mean(&self) -> f64 {
        self.bins.mean(|bin| self.mean_of(*bin))
    }

    fn bounds(&self) -> (u32, u32) {
        let low = self.bins.entries().iter().map(|(from, _)| self.clamp(*from)).min();
        let high = self.bins.entries().iter().map(|(_, to)| self.clamp(*to)).max();
        (low.unwrap_or(self.min), high.unwrap_or(self.max))
    }
}
