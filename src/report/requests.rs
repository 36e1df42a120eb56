//! `requests.jsonl.gz`: one object a measured request, in gzip members that each stand alone.
//!
//! A file that was cut, by a kill or a full disk, is readable up to its last whole member.

use std::io::{self, BufRead, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::TokenAttribution;
use crate::measure::timeline::{ConnectionUse, ContentKind, Outcome, Reason, RequestId, Stamps};
use crate::units::Nanos;

/// Everything about one measured request. Each metric of a report follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestRecord {
    /// Who it is, whatever worker sent it and whenever it left.
    pub id: RequestId,
    /// Traffic class.
    pub class: String,
    /// The one way it ended.
    pub outcome: Outcome,
    /// Why, unless completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Whether the answer was asked as a stream.
    pub streamed: bool,
    /// Stamps in nanoseconds since the start of the point; what could not be stamped is absent.
    pub stamps_ns: StampsRecord,
    /// Content events; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsRecord>,
    /// Deltas without content.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub empty_events: u32,
    /// Tokens asked and counted.
    pub tokens: TokensRecord,
    /// Connection opened for it or kept from an earlier request.
    pub connection: ConnectionUse,
    /// Which of the addresses of its backend it went to, from 0; absent where that is the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub address: u32,
    /// `stop`, `length`, … as the server said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// The model the server says answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Seconds of a `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// Stamps in nanoseconds since the start of the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StampsRecord {
    /// When the request was due.
    pub intended: Nanos,
    /// When a worker took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched: Option<Nanos>,
    /// When `max_in_flight` admitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Nanos>,
    /// When a connection was begun for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_start: Option<Nanos>,
    /// When that connection stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Nanos>,
    /// When its TLS handshake ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Nanos>,
    /// When the socket accepted the first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Nanos>,
    /// When the response head arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Nanos>,
    /// When the last byte arrived, or the request was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Nanos>,
}

impl From<Stamps> for StampsRecord {
    fn from(stamps: Stamps) -> Self {
        let Stamps { intended, dispatched, slot, connect_start, connected, tls, sent, headers, end } = stamps;
        Self { intended, dispatched, slot, connect_start, connected, tls, sent, headers, end }
    }
}

/// Content events, compact: one stamp, then gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsRecord {
    /// Stamp of the first event.
    pub first_ns: Nanos,
    /// Gap from each event to the next.
    pub gaps_ns: Vec<Nanos>,
    /// Tokens of each event; absent when each has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// Where those tokens come from.
    pub attribution: TokenAttribution,
    /// What the events carry, in runs.
    pub kinds: Vec<KindRun>,
    /// Positions of events whose stamp is that of a coalesced read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blurred: Vec<u32>,
}

/// Consecutive events that carry the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindRun {
    /// What they carry.
    pub kind: ContentKind,
    /// How many.
    pub count: u32,
}

impl EventsRecord {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.gaps_ns.len() + 1
    }

    /// Never: a record without events has no `EventsRecord`.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Stamp of each event.
    pub fn stamps(&self) -> impl Iterator<Item = Nanos> {
        let later = self.gaps_ns.iter().scan(self.first_ns, |at, gap| {
            *at += gap;
            Some(*at)
        });
        std::iter::once(self.first_ns).chain(later)
    }

    /// Tokens of the event at `position`.
    pub fn tokens_at(&self, position: usize) -> u32 {
        self.tokens.get(position).copied().unwrap_or(1)
    }

    /// Stamp of the last event.
    pub fn last_ns(&self) -> Nanos {
        self.first_ns + self.gaps_ns.iter().sum::<Nanos>()
    }

    /// Stamp of the first event that is not reasoning.
    pub fn first_answer_ns(&self) -> Option<Nanos> {
        let mut position = 0;
        for run in &self.kinds {
            if run.kind != ContentKind::Reasoning {
                return self.stamps().nth(position);
            }
            position += usize::try_from(run.count).ok()?;
        }
        None
    }
}

/// Tokens asked and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokensRecord {
    /// Prompt tokens asked of the workload.
    pub input_asked: u64,
    /// Prompt tokens the tokenizer counted in the text that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_counted: Option<u64>,
    /// Prompt tokens the server counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_usage: Option<u64>,
    /// Prompt tokens the server says it had cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_cached: Option<u64>,
    /// Output tokens asked of the server (`max_tokens`).
    pub output_asked: u64,
    /// Output tokens by the best source; absent when nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// That source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_source: Option<OutputSource>,
    /// Output tokens the tokenizer counted in the whole text, without special tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_counted: Option<u64>,
}

/// Where an output count comes from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputSource {
    /// The server's usage.
    Usage,
    /// The tokenizer on the whole text.
    Tokenizer,
    /// The tokens of the events.
    Events,
}

/// How much goes into one gzip member.
#[derive(Clone, Copy, Debug)]
pub struct MemberLimits {
    /// Records.
    pub records: usize,
    /// Bytes before compression.
    pub bytes: usize,
}

impl Default for MemberLimits {
    fn default() -> Self {
        Self { records: 1000, bytes: 1 << 20 }
    }
}

/// Bytes that are compressed at a stretch: a fraction of a tenth of a millisecond.
const STRETCH_BYTES: usize = 4 << 10;

/// Writes records as they come. Memory is one member, whatever the length of the file.
#[derive(Debug)]
pub struct RequestsWriter<W: Write> {
    out: W,
    limits: MemberLimits,
    between: fn(),
    member: Vec<u8>,
    records: usize,
}

impl<W: Write> RequestsWriter<W> {
    /// A file with the default size of members.
    pub fn new(out: W) -> Self {
        Self::with_limits(out, MemberLimits::default())
    }

    /// A file with members of another size.
    pub fn with_limits(out: W, limits: MemberLimits) -> Self {
        Self { out, limits, between: || (), member: Vec::new(), records: 0 }
    }

    /// Calls `between` again and again while a member is compressed, which takes some milliseconds.
    pub fn pausing(self, between: fn()) -> Self {
        Self { between, ..self }
    }

    /// Adds one line.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&mut self, record: &RequestRecord) -> io::Result<()> {
        serde_json::to_writer(&mut self.member, record)?;
        self.member.push(b'\n');
        self.records += 1;
        if self.records >= self.limits.records || self.member.len() >= self.limits.bytes {
            self.end_member()?;
        }
        Ok(())
    }

    /// Ends the member that is being filled, so that everything written so far is readable.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn end_member(&mut self) -> io::Result<()> {
        if self.records == 0 {
            return Ok(());
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(self.member.len() / 4), Compression::fast());
        for stretch in self.member.chunks(STRETCH_BYTES) {
            encoder.write_all(stretch)?;
            (self.between)();
        }
        self.out.write_all(&encoder.finish()?)?;
        self.out.flush()?;
        self.member.clear();
        self.records = 0;
        Ok(())
    }

    /// Ends the file and hands `out` back.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_member()?;
        Ok(self.out)
    }
}

/// Reads records of whole members. What follows the last whole member is left out; [`Self::cut`] then
/// says so.
#[derive(Debug)]
pub struct RequestsReader<R: BufRead> {
    input: Option<R>,
    member: Vec<u8>,
    position: usize,
    cut: bool,
}

/// Why a record cannot be read although its member is whole.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read request records: {0}")]
    Io(#[from] io::Error),
    /// A line is not a record.
    #[error("not a request record: {0}")]
    Json(#[from] serde_json::Error),
}

impl<R: BufRead> RequestsReader<R> {
    /// Reads from the start of a file.
    pub fn new(input: R) -> Self {
        Self { input: Some(input), member: Vec::new(), position: 0, cut: false }
    }

    /// Whether the file ended inside a member. Known once the iterator has ended.
    pub const fn cut(&self) -> bool {
        self.cut
    }

    /// Fills `member`; false at the end of the file or at the first member that is not whole.
    fn next_member(&mut self) -> Result<bool, RecordError> {
        let Some(mut input) = self.input.take() else { return Ok(false) };
        if input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.member.clear();
        self.position = 0;
        let mut decoder = GzDecoder::new(input);
        match decoder.read_to_end(&mut self.member) {
            Ok(_) => {
                self.input = Some(decoder.into_inner());
                Ok(true)
            }
            Err(error) if is_damage(&error) => {
                self.member.clear();
                self.cut = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn next_record(&mut self) -> Result<Option<RequestRecord>, RecordError> {
        while self.position >= self.member.len() {
            if !self.next_member()? {
                return Ok(None);
            }
        }
        let rest = &self.member[self.position..];
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.position += end + 1;
        Ok(Some(serde_json::from_slice(&rest[..end])?))
    }
}

impl<R: BufRead> Iterator for RequestsReader<R> {
    type Item = Result<RequestRecord, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// Whether the bytes, not the device, are the problem.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64) -> RequestRecord {
        RequestRecord {
            id: RequestId::Open { index },
            class: "base".to_owned(),
            outcome: Outcome::Completed,
            reason: None,
            streamed: true,
            stamps_ns: StampsRecord { intended: index * 1000, end: Some(index * 1000 + 500), ..Default::default() },
            events: Some(EventsRecord {
                first_ns: index * 1000 + 100,
                gaps_ns: vec![10, 20],
                tokens: vec![1, 2, 3],
                attribution: TokenAttribution::Server,
                kinds: vec![
                    KindRun { kind: ContentKind::Reasoning, count: 2 },
                    KindRun { kind: ContentKind::Text, count: 1 },
                ],
                blurred: Vec::new(),
            }),
            empty_events: 0,
            tokens: TokensRecord { input_asked: 5, output_asked: 6, ..Default::default() },
            connection: ConnectionUse::Reused,
            address: 0,
            finish_reason: Some("stop".to_owned()),
            model: None,
            retry_after_s: None,
        }
    }

    fn file(count: u64, records: usize) -> Vec<u8> {
        let mut writer = RequestsWriter::with_limits(Vec::new(), MemberLimits { records, bytes: 1 << 20 });
        (0..count).for_each(|index| writer.write(&record(index)).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = file(10, 3);
        let mut reader = RequestsReader::new(bytes.as_slice());
        let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(read, (0..10).map(record).collect::<Vec<_>>());
        assert!(!reader.cut());
    }

    #[test]
    fn any_gzip_tool_reads_the_file() {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(file(7, 2).as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 7);
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn a_cut_at_any_byte_keeps_the_whole_members() {
        let (whole, first) = (file(9, 3), file(3, 3).len());
        for length in 0..whole.len() {
            let mut reader = RequestsReader::new(&whole[..length]);
            let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
            assert_eq!(read.len() % 3, 0, "cut at {length}");
            assert_eq!(read.is_empty(), length < first, "cut at {length}");
            assert_eq!(read, (0..read.len() as u64).map(record).collect::<Vec<_>>());
            let at_boundary = length == 0 || file(read.len() as u64, 3).len() == length;
            assert_eq!(reader.cut(), !at_boundary, "cut at {length}");
        }
    }

    #[test]
    fn members_end_by_bytes_too() {
        let mut writer = RequestsWriter::with_limits(Vec::new(), MemberLimits { records: 1000, bytes: 1 });
        writer.write(&record(0)).unwrap();
        assert_eq!(RequestsReader::new(writer.out.as_slice()).count(), 1);
    }

    #[test]
    fn stamps_of_events_come_back_from_the_gaps() {
        let record = record(1);
        let events = record.events.unwrap();
        assert_eq!(events.stamps().collect::<Vec<_>>(), [1100, 1110, 1130]);
        assert_eq!((events.len(), events.last_ns(), events.first_answer_ns()), (3, 1130, Some(1130)));
    }
}
