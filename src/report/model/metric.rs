//! A distribution as a report holds it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Distribution of a metric over the completed requests. `count` stands beside `outcomes.planned`,
/// so a reader sees how many requests it is silent about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricReport {
    /// `ms`, `tokens` or `tokens/s`: the unit of mean, sd, min, max and quantiles.
    pub unit: String,
    /// Samples.
    #[schemars(range(min = 1))]
    pub count: u64,
    /// Arithmetic mean, exact.
    pub mean: f64,
    /// Sample standard deviation (n − 1), exact; absent for a single sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// Smallest sample, exact.
    pub min: f64,
    /// Largest sample, exact.
    pub max: f64,
    /// Quantiles: each the upper edge of the smallest histogram bucket that holds ⌈q·n⌉ samples.
    pub quantiles: Quantiles,
    /// The whole distribution, mergeable.
    pub histogram: HistogramReport,
}

/// Quantiles in the unit of the metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// 1st percentile.
    pub p1: f64,
    /// 5th percentile.
    pub p5: f64,
    /// 10th percentile.
    pub p10: f64,
    /// 25th percentile.
    pub p25: f64,
    /// Median.
    pub p50: f64,
    /// 75th percentile.
    pub p75: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
}

/// A histogram that any HdrHistogram library reads, with the exact sums beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistogramReport {
    /// Always `hdr-v2-deflate-base64`.
    pub encoding: String,
    /// Unit of the integers inside: `ns`, `tokens` or `microtokens/s`.
    pub unit: String,
    /// Largest relative width of a bucket.
    pub resolution: f64,
    /// Smallest sample, in `unit`.
    pub min: u64,
    /// Largest sample, in `unit`.
    pub max: u64,
    /// Sum of the samples in `unit`, a decimal string because it may exceed a JSON number.
    #[schemars(regex(pattern = r"^[0-9]+$"))]
    pub sum: String,
    /// Sum of the squared samples, a decimal string.
    #[schemars(regex(pattern = r"^[0-9]+$"))]
    pub sum_squares: String,
    /// The HdrHistogram V2 payload, deflated, base64.
    pub data: String,
}
