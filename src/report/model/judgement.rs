//! SLO verdicts, goodput, error budget and validity as a report holds them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::timeline::Outcome;

/// What an SLO says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No SLO.
    #[default]
    None,
    /// The whole interval is within the target.
    Pass,
    /// The interval reaches to both sides of the target.
    Inconclusive,
    /// The whole interval is beyond the target.
    Fail,
}

impl Verdict {
    /// The worst of several: fail before inconclusive before pass; none without any.
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().max().unwrap_or(Self::None)
    }

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// One target and how it was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloReport {
    /// Name of the metric, or `goodput`.
    pub metric: String,
    /// Traffic class.
    pub class: String,
    /// `p50` … `p99_9`; absent for goodput.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<String>,
    /// The target: milliseconds, for goodput a share.
    pub target: f64,
    /// The quantile over all measured planned requests (pooled metrics: over all samples), or the
    /// share that was goodput. Absent when it falls among requests that did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<f64>,
    /// `unbounded` when the quantile falls among requests that did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_bound: Option<Bound>,
    /// Requests (pooled metrics: samples) that were judged.
    pub judged: u64,
    /// Those within the target, counted exactly.
    pub met: u64,
    /// Share of them that the target asks for.
    pub required_share: f64,
    /// Clopper–Pearson interval of the share that met the target.
    pub interval: Interval,
    /// Whether what was observed is beyond the target, however small the sample.
    pub missed: bool,
    /// Where `met` comes from.
    pub judged_by: JudgedBy,
    /// What the interval says.
    pub verdict: Verdict,
}

/// Where an observation has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Beyond every number: the request never got there.
    Unbounded,
}

/// Where the counts of a judgement come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JudgedBy {
    /// Every request compared with the target: exact.
    Requests,
    /// The stored histogram, to its resolution of 0.1 %: samples in the bucket of the target count
    /// as beyond it. A goodput of several deadlines cannot be told from histograms and is absent.
    Histogram,
}

/// An interval of a share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence level.
    pub level: f64,
}

/// Requests that met every deadline of their class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Goodput {
    /// Their share of the measured planned requests of classes with an SLO.
    pub share: f64,
    /// Their number per second of the window; absent when the window has no length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<f64>,
    /// How many met every deadline.
    pub met: u64,
    /// Measured planned requests of classes with an SLO.
    pub planned: u64,
    /// Deadline of each metric in milliseconds; empty where classes are pooled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deadlines_ms: BTreeMap<String, f64>,
}

/// The error budget and what used it up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Errors {
    /// Share of the measured planned requests that ended in any other way than `completed`.
    pub share: f64,
    /// Largest share allowed.
    pub max_share: f64,
    /// Whether the budget is broken.
    pub broken: bool,
    /// Why requests did not complete, most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonCount>,
}

/// A reason and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonCount {
    /// The outcome.
    pub outcome: Outcome,
    /// Stable word of the reason.
    pub code: String,
    /// How often.
    pub count: u64,
    /// First line of the first detail seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whether the numbers can be believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// The worst of the reasons.
    pub state: ValidityState,
    /// Why it is not `valid`.
    pub reasons: Vec<ValidityReason>,
}

/// Whether the client, not the server, made the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValidityState {
    /// Nothing speaks against the numbers.
    #[default]
    Valid,
    /// Something does; look before you use them.
    Suspect,
    /// They are about the client.
    Invalid,
}

impl ValidityState {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspect => "suspect",
            Self::Invalid => "invalid",
        }
    }
}

/// A limit that was passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidityReason {
    /// Stable word.
    pub code: String,
    /// What this reason alone makes of the point.
    pub state: ValidityState,
    /// A sentence with the numbers.
    pub message: String,
    /// What was observed, in the unit of the limit.
    pub observed: f64,
    /// The limit that was passed.
    pub limit: f64,
}
