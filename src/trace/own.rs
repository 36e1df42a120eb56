//! The project's own format, `bench.trace/1`: a head line, then one JSON object a request.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::Bad;
use super::json::{self, ids};
use super::value::{self, MOST_TOKENS};
use super::{Begun, ParseRow, TraceRow};
use crate::units::Nanos;

/// The value of `format` in the head.
pub const FORMAT: &str = "bench.trace/1";

pub(super) const HEAD: &str =
    "{\"format\": \"bench.trace/1\"} first, then {\"t_ns\" or \"t_ms\", \"input_tokens\", \"output_tokens\"} a line";

/// Name of the format without its version.
const FAMILY: &str = "bench.trace/";

/// First line of a trace: what it is, and what holds for all its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceHead {
    /// Always `bench.trace/1`.
    #[schemars(regex(pattern = r"^bench\.trace/1$"))]
    pub format: String,
    /// Requests in the file. A file with another number of them is refused: it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Tokens of a block that `hash_ids` name. Required where a request has `hash_ids`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub block_tokens: Option<u32>,
    /// What the trace was made from: a format, as `bench import` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Every other line of a trace: a request. Either all requests have a time or none; the same goes for lengths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// When it arrives: nanoseconds since the start of the trace, never less than the line above. This or `t_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_ns: Option<Nanos>,
    /// The same in milliseconds; fractions are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub t_ms: Option<f64>,
    /// Tokens of the prompt. 0 is sent as 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub input_tokens: Option<u32>,
    /// Tokens of the answer. 0 is asked for as 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub output_tokens: Option<u32>,
    /// The blocks of `block_tokens` tokens that the prompt consists of, the last one partial: two requests share
    /// the text of the blocks that both begin with. Blocks without an id are text of the request's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_ids: Option<Vec<u64>>,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The model it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What kind of request it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// A line of a trace: the head on the first, a request on every other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TraceLine {
    /// The first line.
    Head(TraceHead),
    /// Every other line.
    Request(TraceRequest),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default)]
    t_ns: Option<&'a RawValue>,
    #[serde(borrow, default)]
    t_ms: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    hash_ids: Option<&'a RawValue>,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    class: Option<String>,
}

struct Own;

pub(super) fn begin(first: &str) -> Result<Begun, Bad> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default)]
        format: Option<String>,
    }

    let Version { format } = json::object(first, HEAD)?;
    match format.as_deref() {
        Some(FORMAT) => {}
        Some(other) if other.starts_with(FAMILY) => {
            return Err(Bad::new("format", other, format!("`{FORMAT}`, the version that this build reads")));
        }
        Some(other) => return Err(Bad::new("format", other, format!("`{FORMAT}`"))),
        None => return Err(Bad::missing("format", format!("`{FORMAT}` in the first line"))),
    }
    let TraceHead { format: _, requests, block_tokens, source: _ } = json::object(first, HEAD)?;
    if let Some(bad) = block_tokens.filter(|tokens| !(1..=MOST_TOKENS).contains(tokens)) {
        return Err(Bad::new("block_tokens", &bad.to_string(), format!("a whole number from 1 to {MOST_TOKENS}")));
    }
    Ok(Begun { block_tokens, requests, ..Begun::after_head(Own) })
}

impl ParseRow for Own {
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad> {
        let Line { t_ns, t_ms, input_tokens, output_tokens, hash_ids, session, model, class } =
            json::object(line, HEAD)?;
        let time = match (t_ns, t_ms) {
            (Some(_), Some(value)) => {
                return Err(Bad::new("t_ms", value.get(), "either `t_ns` or `t_ms`, not both"));
            }
            (Some(value), None) => Some(value::offset("t_ns", value.get(), 1, "nanoseconds")?),
            (None, Some(value)) => Some(value::offset("t_ms", value.get(), 1_000_000, "milliseconds")?),
            (None, None) => None,
        };
        let tokens = |field, value: Option<&RawValue>| value.map(|value| value::tokens(field, value.get())).transpose();
        Ok(TraceRow {
            time,
            input_tokens: tokens("input_tokens", input_tokens)?,
            output_tokens: tokens("output_tokens", output_tokens)?,
            hash_ids: hash_ids.map(ids).transpose()?,
            session,
            model,
            class,
            ..TraceRow::default()
        })
    }
}

/// Writes a trace line by line: the head, then the requests.
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    out: W,
}

impl<W: Write> TraceWriter<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut out: W, head: &TraceHead) -> io::Result<Self> {
        serde_json::to_writer(&mut out, head)?;
        out.write_all(b"\n")?;
        Ok(Self { out })
    }

    /// Writes a request.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row(&mut self, row: &TraceRow) -> io::Result<()> {
        let request = TraceRequest {
            t_ns: row.at_ns,
            t_ms: None,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            hash_ids: row.hash_ids.clone(),
            session: row.session.clone(),
            model: row.model.clone(),
            class: row.class.clone(),
        };
        serde_json::to_writer(&mut self.out, &request)?;
        self.out.write_all(b"\n")
    }

    /// The writer below.
    pub fn into_inner(self) -> W {
        self.out
    }
}
