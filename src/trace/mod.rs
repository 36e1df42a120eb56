//! Traces: when requests arrived somewhere, and how long they were. One file a format.
//!
//! A trace is read line by line, packed or not, and kept as a few numbers a request. It is used whole or not
//! at all: one bad row refuses it, because what is left would be another trace.

mod azure;
mod burstgpt;
mod error;
mod json;
mod metron;
mod mooncake;
mod offsets;
mod own;
mod stats;
mod table;
mod unpack;
mod value;

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::TraceError;
pub use own::{FORMAT, TraceHead, TraceLine, TraceRequest, TraceWriter};
pub use stats::{Lengths, TraceStats};

use crate::units::Nanos;
use error::Bad;
use unpack::{Damaged, Hashing, Lines};
use value::Time;

/// Format of a trace file. Packing (gzip, zstd or none) is told from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TraceFormat {
    /// The project's own, as `bench import` writes it: JSON lines under a head with `"format": "bench.trace/1"`.
    Bench,
    /// Azure LLM inference traces of 2023 and 2024: CSV with `TIMESTAMP,ContextTokens,GeneratedTokens`.
    Azure,
    /// Mooncake: JSON lines with `timestamp` (ms), `input_length`, `output_length` and `hash_ids`.
    Mooncake,
    /// BurstGPT: CSV with `Timestamp` (s), `Request tokens` and `Response tokens`.
    Burstgpt,
    /// Metron: CSV with `arrival_time` (a date), or `num_prefill_tokens,num_decode_tokens`, or all three.
    Metron,
    /// Arrival times alone: a number of seconds a line, or of the unit in a first line (`offset_s`, `offset_ms`,
    /// `offset_us`, `offset_ns`).
    Offsets,
}

impl TraceFormat {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Bench, Self::Azure, Self::Mooncake, Self::Burstgpt, Self::Metron, Self::Offsets];

    /// Its name in scenarios and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Azure => "azure",
            Self::Mooncake => "mooncake",
            Self::Burstgpt => "burstgpt",
            Self::Metron => "metron",
            Self::Offsets => "offsets",
        }
    }

    /// Its name in a sentence.
    fn title(self) -> &'static str {
        match self {
            Self::Bench => "a `bench.trace/1` file",
            Self::Azure => "an Azure trace",
            Self::Mooncake => "a Mooncake trace",
            Self::Burstgpt => "a BurstGPT trace",
            Self::Metron => "a Metron file",
            Self::Offsets => "a list of offsets",
        }
    }

    /// What the first line looks like.
    fn head(self) -> &'static str {
        match self {
            Self::Bench => own::HEAD,
            Self::Azure => azure::HEAD,
            Self::Mooncake => mooncake::HEAD,
            Self::Burstgpt => burstgpt::HEAD,
            Self::Metron => metron::HEAD,
            Self::Offsets => offsets::HEAD,
        }
    }

    /// What to know of a file of this format that lacks something.
    fn lacks(self) -> &'static str {
        match self {
            Self::Bench => "may leave it out",
            Self::Metron => "has only the columns that its first line names",
            Self::Offsets => "has arrival times alone",
            Self::Azure | Self::Mooncake | Self::Burstgpt => "has no place for it",
        }
    }

    /// The format that `first`, the first line with text, belongs to.
    fn detect(first: &str) -> Option<Self> {
        if first.trim_start().starts_with('{') {
            #[derive(Deserialize)]
            struct Keys {
                #[serde(default)]
                format: Option<serde::de::IgnoredAny>,
                #[serde(default)]
                timestamp: Option<serde::de::IgnoredAny>,
                #[serde(default)]
                input_length: Option<serde::de::IgnoredAny>,
            }
            let keys: Keys = serde_json::from_str(first).ok()?;
            return match keys {
                Keys { format: Some(_), .. } => Some(Self::Bench),
                Keys { timestamp: Some(_), .. } | Keys { input_length: Some(_), .. } => Some(Self::Mooncake),
                Keys { .. } => None,
            };
        }
        if offsets::knows(first) {
            return Some(Self::Offsets);
        }
        let table = table::Table::new(first);
        let any = |names: &[&str]| names.iter().any(|name| table.find(name).is_some());
        if any(&["TIMESTAMP", "ContextTokens", "GeneratedTokens"]) {
            Some(Self::Azure)
        } else if any(&["Request tokens", "Response tokens"]) {
            Some(Self::Burstgpt)
        } else {
            metron::knows(&table).then_some(Self::Metron)
        }
    }

    fn begin(self, first: &str) -> Result<Begun, Bad> {
        match self {
            Self::Bench => own::begin(first),
            Self::Azure => azure::begin(first),
            Self::Mooncake => Ok(mooncake::begin()),
            Self::Burstgpt => burstgpt::begin(first),
            Self::Metron => metron::begin(first),
            Self::Offsets => offsets::begin(first),
        }
    }
}

/// Reads the rows of one format.
trait ParseRow {
    /// The row of a line.
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad>;
}

/// A format that has seen the first line.
struct Begun {
    parser: Box<dyn ParseRow>,
    /// Whether that line is a row itself.
    first_is_row: bool,
    block_tokens: Option<u32>,
    requests: Option<u64>,
}

impl Begun {
    fn after_head(parser: impl ParseRow + 'static) -> Self {
        Self { parser: Box::new(parser), first_is_row: false, block_tokens: None, requests: None }
    }

    fn at_first_row(parser: impl ParseRow + 'static) -> Self {
        Self { first_is_row: true, ..Self::after_head(parser) }
    }
}

/// A request of a trace, as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceRow {
    /// As the format says it; `at_ns` follows from it.
    time: Option<Time>,
    /// When it arrives, nanoseconds since the start of the trace.
    pub at_ns: Option<Nanos>,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Tokens of the answer.
    pub output_tokens: Option<u32>,
    /// Blocks that the prompt consists of.
    pub hash_ids: Option<Vec<u64>>,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// The model it asked for.
    pub model: Option<String>,
    /// What kind of request it was.
    pub class: Option<String>,
}

impl TraceRow {
    /// A request of these lengths, without a time.
    pub fn of_lengths(input_tokens: u32, output_tokens: u32) -> Self {
        Self { input_tokens: Some(input_tokens), output_tokens: Some(output_tokens), ..Self::default() }
    }
}

/// How a file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceSource {
    /// The path as the user spells it, for messages.
    pub path: String,
    /// The digest it is pinned to.
    pub sha256: Option<String>,
    /// Its format; `None`: told from its first line.
    pub format: Option<TraceFormat>,
    /// Tokens of a block; `None`: as the file says, 512 for Mooncake.
    pub block_tokens: Option<u32>,
}

/// What is known of a file once it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceKind {
    /// Its format.
    pub format: TraceFormat,
    /// Tokens of a block that `hash_ids` name.
    pub block_tokens: Option<u32>,
    /// Requests.
    pub rows: u64,
}

/// Reads a trace and hands its rows to `visit` one by one. What `visit` was given is worth nothing when this
/// fails: the bad row may be the last one.
///
/// # Errors
/// What is wrong with the file; an error of `visit` as [`TraceError::Io`].
pub fn read(
    source: &TraceSource,
    file: impl Read,
    visit: &mut dyn FnMut(&TraceRow) -> io::Result<()>,
) -> Result<TraceKind, TraceError> {
    let path = source.path.as_str();
    let io_error = |error: io::Error| TraceError::Io { path: path.to_owned(), source: error };
    let mut lines = Lines::new(Hashing::new(file, source.sha256.is_some())).map_err(|error| broken(path, 0, error))?;
    let outcome = read_lines(source, &mut lines, visit);
    // A file that is not the pinned one is reported as such, whatever else is wrong with it.
    if let Some(expected) = &source.sha256
        && !matches!(outcome, Err(TraceError::Io { .. }))
    {
        let found = lines.into_file().map_err(io_error)?.digest();
        if found != *expected {
            return Err(TraceError::Pin { path: path.to_owned(), expected: expected.clone(), found });
        }
    }
    outcome
}

/// What an error of a reader means.
fn broken(path: &str, line: u64, error: io::Error) -> TraceError {
    let damaged = error.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>());
    match damaged {
        Some(Damaged { packing, why }) => TraceError::Cut { path: path.to_owned(), packing, line, why: why.clone() },
        None => TraceError::Io { path: path.to_owned(), source: error },
    }
}

fn read_lines(
    source: &TraceSource,
    lines: &mut Lines<impl Read>,
    visit: &mut dyn FnMut(&TraceRow) -> io::Result<()>,
) -> Result<TraceKind, TraceError> {
    let path = source.path.as_str();
    let first = loop {
        let line = lines.next().map_err(|error| broken(path, 0, error))?;
        let Some(line) = line else {
            return Err(TraceError::Unknown { path: path.to_owned(), why: "the file is empty".to_owned() });
        };
        match utf8(line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => break text.to_owned(),
            Err(bad) => return Err(bad.of_head(path, lines.number())),
        }
    };
    let format = match source.format.or_else(|| TraceFormat::detect(&first)) {
        Some(format) => format,
        None => {
            let Bad { value, .. } = Bad::new("", &first, "");
            return Err(TraceError::Unknown { path: path.to_owned(), why: format!("it begins with {value}") });
        }
    };
    let head_line = lines.number();
    let Begun { mut parser, first_is_row, block_tokens, requests } =
        format.begin(&first).map_err(|bad| bad.of_head(path, head_line))?;
    let block_tokens = source.block_tokens.or(block_tokens);
    let mut checks = Checks { block_tokens, rows: 0, bad: 0, first_bad: None, zero: None, has: None, latest: None };
    if first_is_row {
        checks.take(head_line, parser.parse(&first), visit).map_err(|error| broken(path, head_line, error))?;
    }
    loop {
        let read = lines.number();
        let Some(line) = lines.next().map_err(|error| broken(path, read, error))? else { break };
        let row = match utf8(line) {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => parser.parse(text),
            Err(bad) => Err(bad),
        };
        checks.take(read + 1, row, visit).map_err(|error| broken(path, read + 1, error))?;
    }
    checks.finish(path, requests)?;
    Ok(TraceKind { format, block_tokens, rows: checks.rows })
}

fn utf8(line: &[u8]) -> Result<&str, Bad> {
    std::str::from_utf8(line).map_err(|error| {
        let valid = String::from_utf8_lossy(&line[..error.valid_up_to()]).into_owned();
        Bad::new("", &valid, format!("UTF-8 (byte {} is not)", error.valid_up_to() + 1))
    })
}

/// What one row cannot know by itself.
struct Checks {
    block_tokens: Option<u32>,
    rows: u64,
    bad: u64,
    first_bad: Option<(u64, Bad)>,
    /// The first instant: where a trace of dates begins.
    zero: Option<i128>,
    /// Whether rows have a time, and lengths.
    has: Option<(bool, bool)>,
    latest: Option<(Nanos, u64)>,
}

impl Checks {
    fn take(
        &mut self,
        line: u64,
        row: Result<TraceRow, Bad>,
        visit: &mut dyn FnMut(&TraceRow) -> io::Result<()>,
    ) -> io::Result<()> {
        self.rows += 1;
        match row.and_then(|row| self.check(line, row)) {
            // After a bad row the rest is only checked.
            Ok(row) if self.bad == 0 => visit(&row),
            Ok(_) => Ok(()),
            Err(bad) => {
                self.bad += 1;
                self.first_bad.get_or_insert((line, bad));
                Ok(())
            }
        }
    }

    fn check(&mut self, line: u64, mut row: TraceRow) -> Result<TraceRow, Bad> {
        match (row.input_tokens, row.output_tokens) {
            (Some(_), None) => return Err(Bad::missing("output_tokens", "both lengths or none")),
            (None, Some(_)) => return Err(Bad::missing("input_tokens", "both lengths or none")),
            (None, None) if row.time.is_none() => {
                return Err(Bad::missing("", "a time (`t_ns` or `t_ms`), lengths, or both"));
            }
            _ => {}
        }
        let (time, lengths) = *self.has.get_or_insert((row.time.is_some(), row.input_tokens.is_some()));
        let first = |had| if had { "as the rows above have" } else { "none, as the rows above have none" };
        if row.time.is_some() != time {
            return Err(Bad::missing("t_ns", format!("a time in each row or in none: {}", first(time))));
        }
        if row.input_tokens.is_some() != lengths {
            return Err(Bad::missing("input_tokens", format!("lengths in each row or in none: {}", first(lengths))));
        }
        if let Some(ids) = &row.hash_ids {
            self.check_blocks(ids, row.input_tokens)?;
        }
        if let Some(time) = row.time {
            row.at_ns = Some(self.check_order(line, time)?);
        }
        Ok(row)
    }

    fn check_order(&mut self, line: u64, time: Time) -> Result<Nanos, Bad> {
        let offset = match time {
            Time::Offset(ns) => ns,
            Time::Instant(ns) => ns - *self.zero.get_or_insert(ns),
        };
        let (latest, latest_line) = self.latest.unwrap_or((0, line));
        let seconds = |ns: i128| format!("{:.9} s after the start", ns as f64 / 1e9);
        let at = Nanos::try_from(offset).ok().filter(|at| *at >= latest).ok_or_else(|| Bad {
            field: "time".to_owned(),
            value: seconds(offset),
            expected: format!(
                "not earlier than line {latest_line} ({}); sort the file by time",
                seconds(i128::from(latest))
            ),
        })?;
        self.latest = Some((at, line));
        Ok(at)
    }

    fn check_blocks(&self, ids: &[u64], input_tokens: Option<u32>) -> Result<(), Bad> {
        let value = if ids.len() == 1 { "1 id".to_owned() } else { format!("{} ids", ids.len()) };
        let bad = |expected: String| Err(Bad { field: "hash_ids".to_owned(), value, expected });
        let Some(block_tokens) = self.block_tokens else {
            return bad("`block_tokens` in the head where a request has ids".to_owned());
        };
        let Some(input_tokens) = input_tokens else { return bad("lengths where a request has ids".to_owned()) };
        let blocks = input_tokens.div_ceil(block_tokens);
        if ids.len() > blocks as usize {
            return bad(format!("at most {blocks} for {input_tokens} tokens in blocks of {block_tokens}"));
        }
        Ok(())
    }

    fn finish(&mut self, path: &str, promised: Option<u64>) -> Result<(), TraceError> {
        let path = path.to_owned();
        if let Some((line, Bad { field, value, expected })) = self.first_bad.take() {
            return Err(TraceError::Rows { path, line, field, value, expected, more: self.bad - 1 });
        }
        match promised {
            Some(expected) if expected != self.rows => Err(TraceError::Count { path, expected, found: self.rows }),
            _ if self.rows == 0 => Err(TraceError::Empty { path }),
            _ => Ok(()),
        }
    }
}

/// A trace as it is kept: 8 bytes for a time, 8 for two lengths, 8 for a block id, 4 for a model and a class.
#[derive(Debug)]
pub struct Trace {
    path: String,
    kind: TraceKind,
    times: Vec<Nanos>,
    lengths: Vec<(u32, u32)>,
    /// Where the ids of a row end in `ids`.
    id_ends: Vec<usize>,
    ids: Vec<u64>,
    models: Names,
    classes: Names,
}

/// A name a row, of few different ones; nothing where no row has one.
#[derive(Debug, Default)]
struct Names {
    /// Position in `known`, from 1; 0 or beyond the end: none.
    rows: Vec<u32>,
    known: Vec<Box<str>>,
    places: HashMap<Box<str>, u32>,
}

impl Names {
    fn push(&mut self, row: usize, name: Option<&str>) {
        let Some(name) = name else { return };
        let place = self.places.get(name).copied().unwrap_or_else(|| {
            self.known.push(name.into());
            let place = self.known.len() as u32;
            self.places.insert(name.into(), place);
            place
        });
        self.rows.resize(row, 0);
        self.rows.push(place);
    }

    fn of(&self, row: usize) -> Option<&str> {
        let place = self.rows.get(row)?.checked_sub(1)?;
        Some(&self.known[place as usize])
    }
}

impl Trace {
    /// Reads the file that `source` names. `blocks`: whether its block ids are kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(source: &TraceSource, file: impl Read, blocks: bool) -> Result<Self, TraceError> {
        let (mut times, mut lengths) = (Vec::new(), Vec::new());
        let (mut id_ends, mut ids) = (Vec::new(), Vec::new());
        let (mut models, mut classes) = (Names::default(), Names::default());
        let mut number = 0;
        let kind = read(source, file, &mut |row| {
            models.push(number, row.model.as_deref());
            classes.push(number, row.class.as_deref());
            number += 1;
            times.extend(row.at_ns);
            lengths.extend(row.input_tokens.zip(row.output_tokens));
            if blocks {
                ids.extend_from_slice(row.hash_ids.as_deref().unwrap_or_default());
                id_ends.push(ids.len());
            }
            Ok(())
        })?;
        times.shrink_to_fit();
        lengths.shrink_to_fit();
        ids.shrink_to_fit();
        if ids.is_empty() {
            id_ends.clear();
        }
        id_ends.shrink_to_fit();
        Ok(Self { path: source.path.clone(), kind, times, lengths, id_ends, ids, models, classes })
    }

    /// The path as the user spells it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the file is.
    pub fn kind(&self) -> TraceKind {
        self.kind
    }

    /// Requests, at least 1.
    pub fn rows(&self) -> usize {
        self.kind.rows as usize
    }

    /// When the requests arrive, in order; nanoseconds since the start of the trace.
    ///
    /// # Errors
    /// When the trace has lengths alone.
    pub fn times(&self) -> Result<&[Nanos], TraceError> {
        if self.times.is_empty() { Err(self.lacks("arrival times")) } else { Ok(&self.times) }
    }

    /// Tokens of prompt and answer of each request, as the trace has them: 0 is possible.
    ///
    /// # Errors
    /// When the trace has arrival times alone.
    pub fn lengths(&self) -> Result<&[(u32, u32)], TraceError> {
        if self.lengths.is_empty() { Err(self.lacks("lengths")) } else { Ok(&self.lengths) }
    }

    /// Block ids of row `row`; none when the trace has none or they were not kept.
    pub fn hash_ids(&self, row: usize) -> &[u64] {
        let Some(end) = self.id_ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { self.id_ends[row - 1] };
        &self.ids[start..*end]
    }

    /// The model that row `row` asked for.
    pub fn model(&self, row: usize) -> Option<&str> {
        self.models.of(row)
    }

    /// What kind of request row `row` was.
    pub fn class(&self, row: usize) -> Option<&str> {
        self.classes.of(row)
    }

    /// The models that rows asked for, in the order of their first.
    pub(crate) fn models(&self) -> &[Box<str>] {
        &self.models.known
    }

    /// The kinds of rows, in the order of their first.
    pub(crate) fn classes(&self) -> &[Box<str>] {
        &self.classes.known
    }

    /// Rows with a time in `[from, to)`.
    ///
    /// # Errors
    /// When the trace has lengths alone.
    pub fn window(&self, from: Nanos, to: Option<Nanos>) -> Result<Range<usize>, TraceError> {
        let times = self.times()?;
        let first = times.partition_point(|at| *at < from);
        let end = to.map_or(times.len(), |to| times.partition_point(|at| *at < to));
        Ok(first..end.max(first))
    }

    fn lacks(&self, what: &'static str) -> TraceError {
        TraceError::Lacks { path: self.path.clone(), format: self.kind.format, what }
    }
}
