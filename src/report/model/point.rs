//! What was measured at one point, in all and by traffic class.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    ClientReport, Errors, Goodput, Lengths, MetricReport, SloReport, TokenAttribution, Tokens, Validity, Verdict,
    Warning,
};
use crate::measure::timeline::Outcome;
use crate::measure::validity::OUTCOMES_SUM;
use crate::units::Nanos;

/// What was measured at a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointReport {
    /// Id of the point in its plan.
    pub id: String,
    /// Digest of the point, lower-case hex.
    pub digest: String,
    /// Value of each axis, by key path.
    pub coordinates: BTreeMap<String, Value>,
    /// Open or closed loop.
    #[serde(rename = "loop")]
    pub loop_kind: Loop,
    /// The run that measured it, when this run took it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<String>,
    /// Name of the request records beside the report of the point, where it is not `requests.jsonl.gz`: an
    /// earlier try was killed between its records and its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_file: Option<String>,
    /// The worst verdict of its SLOs.
    #[serde(default)]
    pub verdict: Verdict,
    /// Whether to believe it.
    pub validity: Validity,
    /// The error budget and what used it up.
    #[serde(default)]
    pub errors: Errors,
    /// The clock of the stamps.
    pub clock: Clock,
    /// The measured window.
    pub window: Window,
    /// Whether what was sent hangs on what the server answered; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bodies: Option<Bodies>,
    /// Conversations; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionsReport>,
    /// How the measured requests ended; the others are under `phases`.
    pub outcomes: Outcomes,
    /// Measured requests over the window.
    pub rates: Rates,
    /// What came back inside the window.
    pub throughput: Throughput,
    /// Distributions over completed requests, by name.
    pub metrics: BTreeMap<String, MetricReport>,
    /// Requests that met every deadline; absent without deadlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
    /// Every target of every class.
    pub slo: Vec<SloReport>,
    /// Where the tokens of an event come from, the weakest source of all requests; absent when no
    /// request completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_attribution: Option<TokenAttribution>,
    /// Token counts and their sources.
    #[serde(default)]
    pub tokens: Tokens,
    /// Lengths of the measured requests, beside the laws they were drawn from; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
    /// The same by traffic class.
    pub classes: BTreeMap<String, ClassReport>,
    /// Measured requests by address, of backends with several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressReport>,
    /// The datasets that prompts came from: what they hold and what was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetReport>,
    /// Requests outside the window.
    #[serde(default)]
    pub phases: Phases,
    /// The client about itself.
    pub client: ClientReport,
    /// What the servers said about themselves, by backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server_metrics: BTreeMap<String, Value>,
    /// Things a reader should know that are no verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

impl PointReport {
    /// Whether an SLO was missed: observed beyond the target, also when inconclusive.
    pub fn slo_missed(&self) -> bool {
        self.slo.iter().any(|slo| slo.missed)
    }

    /// Whether the outcomes do not add up to the planned requests.
    pub fn sum_broken(&self) -> bool {
        self.validity.reasons.iter().any(|reason| reason.code == OUTCOMES_SUM)
    }
}

/// What was measured of one traffic class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassReport {
    /// How its measured requests ended.
    pub outcomes: Outcomes,
    /// Measured requests over the window.
    pub rates: Rates,
    /// What came back inside the window.
    pub throughput: Throughput,
    /// Distributions over completed requests, by name.
    pub metrics: BTreeMap<String, MetricReport>,
    /// Requests that met every deadline; absent without deadlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Goodput>,
    /// The targets of the class.
    pub slo: Vec<SloReport>,
    /// Where the tokens of an event come from, the weakest source of all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_attribution: Option<TokenAttribution>,
    /// Token counts and their sources.
    #[serde(default)]
    pub tokens: Tokens,
    /// Lengths of its measured requests, beside the laws they were drawn from; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
}

/// Measured requests to one of the addresses of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressReport {
    /// The backend.
    pub backend: String,
    /// Its address, as the scenario has it; a number tells equal ones apart.
    pub url: String,
    /// How the requests to it ended; `planned` is how many had their turn there.
    pub outcomes: Outcomes,
}

/// What a dataset holds, under the filters of the workload that used it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetReport {
    /// The file, as the scenario spells it.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Rows that could be sent.
    pub used: u64,
    /// Rows that were left out, by reason; none of 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
    /// Mean tokens of the prompts of the rows that could be sent.
    pub mean_prompt_tokens: f64,
    /// Mean tokens of their recorded answers, over those that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_answer_tokens: Option<f64>,
}

/// What request bodies depend on beside the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bodies {
    /// The history of sessions holds what the server answered.
    ServerDependent,
}

/// Sessions, counted by their measured requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsReport {
    /// Sessions whose first request was measured. In an open loop they are what the load's rate is about.
    pub started: u64,
    /// Measured requests of sessions, first ones included.
    pub turns: u64,
    /// Measured requests that did not complete: each ended its session, and what would have come after it was never due.
    pub broken: u64,
}

/// Whether answers can move arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// Arrivals follow a schedule that no answer can move.
    Open,
    /// Users wait for an answer before they ask again.
    Closed,
}

/// The clock of the stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Who takes the stamps.
    pub source: ClockSource,
}

/// Who takes the stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClockSource {
    /// The kernel, as the packet arrives.
    Kernel,
    /// This process, as the read returns.
    User,
    /// This process, as the HTTP client hands the data over.
    HttpClient,
}

/// The measured window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Wall-clock time of its start, RFC 3339 with nanoseconds.
    pub started_at: WallTime,
    /// Its length in seconds.
    pub duration_s: f64,
    /// Its start in nanoseconds since the start of the point, the zero of every stamp.
    pub start_ns: Nanos,
    /// Its end (exclusive), same zero.
    pub end_ns: Nanos,
}

/// A wall-clock time that always prints nine digits of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub jiff::Timestamp);

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.9}", self.0))
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        jiff::Timestamp::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for WallTime {
    fn schema_name() -> Cow<'static, str> {
        "WallTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with nine digits of a second.",
        })
    }
}

/// How requests ended. Every planned request ends in exactly one of the ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcomes {
    /// Requests that came due.
    pub planned: u64,
    /// A proper end, complete framing and content.
    pub completed: u64,
    /// The answer broke off.
    pub truncated: u64,
    /// The server said that it failed.
    pub server_error: u64,
    /// The server said that it has too much to do.
    pub rate_limited: u64,
    /// No end before the request timeout.
    pub timed_out: u64,
    /// No connection.
    pub connect_failed: u64,
    /// Bytes that the protocol does not allow.
    pub protocol_error: u64,
    /// A proper end without content.
    pub empty: u64,
    /// The answer is not what was asked for.
    pub mismatch: u64,
    /// Ended by `bench`.
    pub cancelled: u64,
    /// Due, but never sent.
    pub not_sent: u64,
}

impl Outcomes {
    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        *self.slot(outcome) += 1;
    }

    /// Adds the counts of another part of the traffic.
    pub fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        for outcome in Outcome::ALL {
            *self.slot(outcome) += other.get(outcome);
        }
    }

    /// How many ended that way.
    pub fn get(&self, outcome: Outcome) -> u64 {
        let mut copy = *self;
        *copy.slot(outcome)
    }

    /// How many ended at all; equals `planned` unless `bench` lost count.
    pub fn sum(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.get(*outcome)).sum()
    }

    /// Planned requests that did not complete, those that were lost included.
    pub fn failed(&self) -> u64 {
        self.planned.saturating_sub(self.completed)
    }

    fn slot(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Truncated => &mut self.truncated,
            Outcome::ServerError => &mut self.server_error,
            Outcome::RateLimited => &mut self.rate_limited,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::ConnectFailed => &mut self.connect_failed,
            Outcome::ProtocolError => &mut self.protocol_error,
            Outcome::Empty => &mut self.empty,
            Outcome::Mismatch => &mut self.mismatch,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::NotSent => &mut self.not_sent,
        }
    }
}

/// Measured requests over the length of the window; absent when the window has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Planned requests per second; absent in a closed loop, where answers set the rate. With sessions in an open loop the
    /// later turns that came due are among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_per_s: Option<f64>,
    /// Requests per second that a worker took up and sent or tried to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_per_s: Option<f64>,
    /// Requests per second that completed, whenever that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_per_s: Option<f64>,
}

/// What came back inside the window, of requests that completed, those of the warm-up included.
/// Absent when the window has no length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Throughput {
    /// Completions inside the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<f64>,
    /// Input tokens of requests whose first content arrived inside the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_s: Option<f64>,
    /// Output tokens whose event arrived inside the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_s: Option<f64>,
}

/// Requests outside the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phases {
    /// Before the window.
    pub warmup: PhaseReport,
    /// After it, while measured requests finish.
    pub drain: PhaseReport,
}

/// Requests of an unmeasured phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseReport {
    /// How they ended; `planned` is how many were handed over.
    pub outcomes: Outcomes,
}
