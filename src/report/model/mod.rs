//! `report.json`, version 1: the types every reader and writer shares.
//!
//! Absent is absent: no `null`, no NaN. Readers ignore unknown keys and refuse an unknown major.

mod client;
mod judgement;
mod lengths;
mod metric;
mod point;
mod provenance;
mod tokens;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use client::{ClientReport, Connections, Descriptors, Headroom, Ports, Reads, TcpReport, WorkerReport};
pub use judgement::{
    Bound, Errors, Goodput, Interval, JudgedBy, ReasonCount, SloReport, Validity, ValidityReason, ValidityState,
    Verdict,
};
pub use lengths::{LengthComparison, LengthReport, Lengths};
pub use metric::{HistogramReport, MetricReport, Quantiles};
pub use point::{
    AddressReport, Bodies, ClassReport, Clock, ClockSource, DatasetReport, Loop, Outcomes, PhaseReport, Phases,
    PointReport, Rates, SessionsReport, Throughput, WallTime, Window,
};
pub use provenance::{GitState, PlanRef, Provenance, ScenarioRef};
pub use tokens::{Disagreement, InputTokens, OutputSources, TokenAttribution, Tokens};

/// The format word of a report, major version last.
pub const FORMAT: &str = "bench.report/1";

/// The format word of a stored point.
pub const POINT_FORMAT: &str = "bench.point/1";

/// All points of a run plus provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `bench.report/1`.
    #[schemars(regex(pattern = r"^bench\.report/1(\.[0-9]+)?$"))]
    pub format: String,
    /// Whether the plan was carried out.
    pub status: Status,
    /// What the SLOs say, over all points.
    pub verdict: Verdict,
    /// The run.
    pub run_id: String,
    /// Labels of the scenario.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The scenario.
    pub scenario: ScenarioRef,
    /// The plan.
    pub plan: PlanRef,
    /// What produced the numbers.
    #[serde(default)]
    pub provenance: Provenance,
    /// Things a reader should know that are no verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The points in the order of the plan.
    pub points: Vec<PointReport>,
}

/// Whether the plan was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every point of the plan has a report.
    Complete,
    /// Points are missing.
    Failed,
}

/// Something a reader should know that is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Stable word, such as `prompts_seen_before`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// One point as the store holds it while a run goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointFile {
    /// `bench.point/1`.
    pub format: String,
    /// The point.
    pub point: PointReport,
}

/// Why a document is not a report this build can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or a key of the contract is missing or has the wrong type.
    #[error("not a readable report: {0}")]
    Json(#[from] serde_json::Error),
    /// No `format` key.
    #[error("no `format` in the document; a report starts with `\"format\": \"{FORMAT}\"`")]
    NoFormat,
    /// A format this build does not know.
    #[error("format `{found}` is not `{expected}`; a newer `bench` wrote it, or it is another kind of document")]
    UnknownFormat {
        /// The word in the document.
        found: String,
        /// The word this build reads.
        expected: &'static str,
    },
}

impl Report {
    /// Reads `report.json`.
    ///
    /// # Errors
    /// When the document is not JSON, not a report, or of another major version.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ReadError> {
        check_format(bytes, FORMAT)?;
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The bytes of `report.json`: indented, with a final newline; the same report always gives the
    /// same bytes.
    ///
    /// # Errors
    /// Never for values that `bench` produced; JSON keys are all strings.
    pub fn to_vec(&self) -> Result<Vec<u8>, serde_json::Error> {
        pretty(self)
    }

    /// `verdict` as it follows from the points.
    pub fn verdict_of(points: &[PointReport]) -> Verdict {
        Verdict::worst(points.iter().map(|point| point.verdict))
    }

    /// Whether an SLO was missed: observed beyond the target, also when inconclusive (exit code 99).
    pub fn slo_missed(&self) -> bool {
        self.points.iter().any(PointReport::slo_missed)
    }

    /// Whether an SLO is within its target but the sample is too small to say so (99 with `--strict`).
    pub fn slo_inconclusive(&self) -> bool {
        self.points.iter().any(|point| point.slo.iter().any(|slo| slo.verdict == Verdict::Inconclusive))
    }

    /// Whether a point broke its error budget (exit code 100).
    pub fn errors_broken(&self) -> bool {
        self.points.iter().any(|point| point.errors.broken)
    }

    /// The worst validity of any point (exit code 101 when invalid; with `--strict` when suspect).
    pub fn validity(&self) -> ValidityState {
        self.points.iter().map(|point| point.validity.state).max().unwrap_or(ValidityState::Valid)
    }

    /// Whether no request of the plan completed (exit code 69).
    pub fn nothing_measured(&self) -> bool {
        self.points.iter().all(|point| point.outcomes.completed == 0)
    }

    /// Whether a point lost count of its requests (exit code 1 once the report is written).
    pub fn sum_broken(&self) -> bool {
        self.points.iter().any(PointReport::sum_broken)
    }
}

impl PointFile {
    /// The document of a finished point.
    pub fn new(point: PointReport) -> Self {
        Self { format: POINT_FORMAT.to_owned(), point }
    }

    /// Reads a stored point.
    ///
    /// # Errors
    /// When the document is not JSON, not a point, or of another major version.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ReadError> {
        check_format(bytes, POINT_FORMAT)?;
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The bytes of the document, always the same for the same point.
    ///
    /// # Errors
    /// Never for values that `bench` produced; JSON keys are all strings.
    pub fn to_vec(&self) -> Result<Vec<u8>, serde_json::Error> {
        pretty(self)
    }
}

/// The part of a document that says what it is.
#[derive(Deserialize)]
struct Header {
    format: Option<String>,
}

/// Refuses everything but `expected` and its minor versions, before any other key is read, so that a
/// newer file gets one clear sentence.
fn check_format(bytes: &[u8], expected: &'static str) -> Result<(), ReadError> {
    let header: Header = serde_json::from_slice(bytes)?;
    let found = header.format.ok_or(ReadError::NoFormat)?;
    match found.strip_prefix(expected) {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => Ok(()),
        _ => Err(ReadError::UnknownFormat { found, expected }),
    }
}

fn pretty<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
