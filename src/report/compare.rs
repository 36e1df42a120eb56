//! The difference of a run to the one before: point by point, number by number. Says what changed, not
//! whether it matters.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{MetricReport, PointReport, Report};

/// Two reports side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Run id of the older report.
    pub old_run_id: String,
    /// Points that both have, in the order of the newer.
    pub pairs: Vec<Pair>,
    /// Coordinates that only the older has.
    pub only_old: Vec<BTreeMap<String, Value>>,
    /// Coordinates that only the newer has.
    pub only_new: Vec<BTreeMap<String, Value>>,
}

/// The same point in two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Its coordinates.
    pub coordinates: BTreeMap<String, Value>,
    /// Whether the digests agree: the same requests were sent.
    pub same_digest: bool,
    /// Numbers that both have.
    pub deltas: Vec<Delta>,
}

/// A number in two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// What it is: `ttft_ms.p50`, `throughput.output_tokens_per_s`, `goodput.share`, …
    pub name: &'static str,
    /// The older value.
    pub old: f64,
    /// The newer value.
    pub new: f64,
    /// Whether a larger value is better.
    pub larger_is_better: bool,
}

impl Delta {
    /// Change as a share of the older value; absent when that is zero.
    pub fn change(&self) -> Option<f64> {
        (self.old != 0.0).then(|| (self.new - self.old) / self.old)
    }

    /// Whether the newer value is the worse one.
    pub fn is_worse(&self) -> bool {
        if self.larger_is_better { self.new < self.old } else { self.new > self.old }
    }
}

/// Pairs the points of two reports by their coordinates.
pub fn compare(old: &Report, new: &Report) -> Comparison {
    let find = |report: &Report, coordinates: &BTreeMap<String, Value>| {
        report.points.iter().position(|point| point.coordinates == *coordinates)
    };
    let pairs =
        new.points.iter().filter_map(|point| Some(pair(&old.points[find(old, &point.coordinates)?], point))).collect();
    let missing = |from: &Report, other: &Report| {
        let alone = from.points.iter().filter(|point| find(other, &point.coordinates).is_none());
        alone.map(|point| point.coordinates.clone()).collect()
    };
    Comparison { old_run_id: old.run_id.clone(), pairs, only_old: missing(old, new), only_new: missing(new, old) }
}

fn pair(old: &PointReport, new: &PointReport) -> Pair {
    let delta = |&(name, larger_is_better, value): &Compared| {
        Some(Delta { name, old: value(old)?, new: value(new)?, larger_is_better })
    };
    Pair {
        coordinates: new.coordinates.clone(),
        same_digest: old.digest == new.digest,
        deltas: COMPARED.iter().filter_map(delta).collect(),
    }
}

/// A number of a point: its name, whether more of it is better, where it stands.
type Compared = (&'static str, bool, fn(&PointReport) -> Option<f64>);

const COMPARED: [Compared; 10] = [
    ("throughput.requests_per_s", true, |point| point.throughput.requests_per_s),
    ("throughput.output_tokens_per_s", true, |point| point.throughput.output_tokens_per_s),
    ("ttft_ms.p50", false, |point| metric(point, "ttft_ms").map(|metric| metric.quantiles.p50)),
    ("ttft_ms.p99", false, |point| metric(point, "ttft_ms").map(|metric| metric.quantiles.p99)),
    ("tpot_ms.p50", false, |point| metric(point, "tpot_ms").map(|metric| metric.quantiles.p50)),
    ("tpot_ms.p99", false, |point| metric(point, "tpot_ms").map(|metric| metric.quantiles.p99)),
    ("e2e_ms.p50", false, |point| metric(point, "e2e_ms").map(|metric| metric.quantiles.p50)),
    ("e2e_ms.p99", false, |point| metric(point, "e2e_ms").map(|metric| metric.quantiles.p99)),
    ("goodput.share", true, |point| point.goodput.as_ref().map(|goodput| goodput.share)),
    ("errors.share", false, |point| Some(point.errors.share)),
];

fn metric<'a>(point: &'a PointReport, name: &str) -> Option<&'a MetricReport> {
    point.metrics.get(name)
}
