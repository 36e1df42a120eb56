//! Answers of both OpenAI protocols, streamed or whole.

use compact_str::CompactString;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::template::Template;
use super::usage::Ledger;
use super::wire::{Choice, Chunk, Text};
use crate::measure::timeline::{Answer, ContentEvent, ContentKind, Outcome};
use crate::protocol::sse::{self, Framer};
use crate::protocol::verdict::{Verdict, media_type};
use crate::protocol::{BodyEnd, Decoder, message, reason};
use crate::units::Nanos;

/// Most bytes of an answer that is not streamed.
const MAX_BODY_BYTES: usize = sse::MAX_EVENT_BYTES;

/// Finish reasons by which a server says that it gave up (vLLM, SGLang, gateways).
const FAILED_FINISHES: [&str; 2] = ["abort", "error"];

/// What the body is, by the response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No head yet.
    Waiting,
    /// The status says that there is no answer.
    Refused,
    /// Server-sent events.
    Stream,
    /// One JSON document.
    Whole,
    /// Nothing that can be read, or be read on.
    Broken,
}

/// Decoder of one answer.
#[derive(Debug)]
pub(super) struct OpenaiDecoder {
    asked_stream: bool,
    mode: Mode,
    media_type: Option<String>,
    framer: Framer,
    last_read: Nanos,
    body: Vec<u8>,
    reading: Reading,
}

/// What was read out of the answer so far.
#[derive(Debug, Default)]
struct Reading {
    verdict: Verdict,
    template: Template,
    ledger: Ledger,
    events: Vec<ContentEvent>,
    empty_events: u32,
    finish_reason: Option<String>,
    model: Option<String>,
    body_text: Option<Box<str>>,
}

impl OpenaiDecoder {
    /// A decoder for an answer that was asked as a stream, or whole.
    pub(super) fn new(asked_stream: bool) -> Self {
        let verdict = if asked_stream { Verdict::default() } else { Verdict::whole() };
        Self {
            asked_stream,
            mode: Mode::Waiting,
            media_type: None,
            framer: Framer::default(),
            last_read: 0,
            body: Vec::new(),
            reading: Reading { verdict, ..Reading::default() },
        }
    }

    /// Whether the body is compressed, which nobody asked for and nothing here undoes.
    fn is_encoded(&mut self, headers: &HeaderMap) -> bool {
        let Some(coding) = headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity") else { return false };
        let coding = String::from_utf8_lossy(coding.as_bytes()).into_owned();
        self.reading.protocol_error(reason::UNEXPECTED_CONTENT_ENCODING, Some(coding));
        true
    }

    fn whole_data(&mut self, bytes: &[u8]) {
        if self.body.len().saturating_add(bytes.len()) > MAX_BODY_BYTES {
            self.body = Vec::new();
            self.mode = Mode::Broken;
            self.reading.verdict.fail(Outcome::ProtocolError, reason::BODY_TOO_LARGE, None);
            return;
        }
        self.body.extend_from_slice(bytes);
    }

    /// The body of status 200 is complete and is no event stream.
    fn whole_end(&mut self) {
        let body = std::mem::take(&mut self.body);
        let Ok(text) = std::str::from_utf8(&body) else {
            return self.reading.protocol_error(reason::INVALID_UTF8, None);
        };
        let is_json = self.media_type.as_deref().is_none_or(|media| media.contains("json"));
        match serde_json::from_str::<Option<Chunk<'_>>>(text) {
            Ok(Some(chunk)) => self.whole_chunk(text, &chunk),
            Err(error) if is_json => self.reading.protocol_error(reason::MALFORMED_BODY, Some(error.to_string())),
            _ => {
                let line = message::of_body(&body).unwrap_or_default();
                let media = self.media_type.as_deref().unwrap_or("no content type");
                self.reading.protocol_error(reason::UNEXPECTED_CONTENT_TYPE, Some(format!("{media}: {line}")));
            }
        }
    }

    fn whole_chunk(&mut self, text: &str, chunk: &Chunk<'_>) {
        if self.reading.in_band_error(text, chunk, false) {
            return;
        }
        let choices = chunk.choices.as_deref().unwrap_or_default();
        if choices.is_empty() {
            self.reading.protocol_error(reason::MALFORMED_BODY, Some("the answer has no `choices`".to_owned()));
        } else if self.asked_stream {
            self.reading.protocol_error(reason::NOT_STREAMED, None);
        } else {
            self.reading.whole_answer(chunk, choices);
        }
    }
}

impl Decoder for OpenaiDecoder {
    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.reading.verdict.head(status, headers);
        self.media_type = media_type(headers);
        let encoded = !self.reading.verdict.refused() && self.is_encoded(headers);
        self.mode = match self.media_type.as_deref() {
            _ if self.reading.verdict.refused() => Mode::Refused,
            _ if encoded => Mode::Broken,
            Some("text/event-stream") => Mode::Stream,
            None if self.asked_stream => Mode::Stream,
            _ => Mode::Whole,
        };
    }

    fn data(&mut self, bytes: &[u8], at: Nanos) {
        self.last_read = at;
        match self.mode {
            Mode::Stream => {
                let reading = &mut self.reading;
                if let Err(error) = self.framer.feed(bytes, at, |event| reading.event(event, at)) {
                    self.mode = Mode::Broken;
                    self.reading.protocol_error(reason::EVENT_TOO_LARGE, Some(error.to_string()));
                }
            }
            Mode::Refused => self.reading.verdict.error_data(bytes),
            Mode::Whole => self.whole_data(bytes),
            Mode::Waiting | Mode::Broken => {}
        }
    }

    fn finish(&mut self, end: BodyEnd) -> Answer {
        if end == BodyEnd::Complete {
            match self.mode {
                Mode::Stream => {
                    let (reading, at) = (&mut self.reading, self.last_read);
                    self.framer.rest(|event| reading.rest(event, at));
                    if !self.asked_stream {
                        self.reading.protocol_error(reason::STREAMED_UNASKED, None);
                    }
                }
                Mode::Whole => self.whole_end(),
                Mode::Waiting | Mode::Refused | Mode::Broken => {}
            }
        }
        if !self.asked_stream {
            self.reading.events.clear();
        }
        self.reading.answer(end)
    }
}

impl Reading {
    /// One event of a stream, whose last byte came with the read at `at`.
    fn event(&mut self, event: sse::Event<'_>, at: Nanos) {
        if !event.is_error
            && let Some((kind, text)) = self.template.text(event.data)
        {
            self.ledger.uncounted_content();
            return self.push(at, kind, None, CompactString::new(text), event.coalesced);
        }
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            return self.verdict.done();
        }
        if data.is_empty() && !event.is_error {
            return; // a keep-alive
        }
        let Ok(text) = std::str::from_utf8(data) else {
            return self.protocol_error(reason::INVALID_UTF8, None);
        };
        match serde_json::from_str::<Option<Chunk<'_>>>(text) {
            Ok(Some(chunk)) => {
                self.in_band_error(text, &chunk, event.is_error);
                self.chunk(data, &chunk, at, event.coalesced);
            }
            Err(_) | Ok(None) if event.is_error => {
                let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
                if let Some(error) = message::in_band(&value, true) {
                    self.verdict.fail_in_band(error);
                }
            }
            Ok(None) => self.empty_events += 1, // llama.cpp may open with `data: null`
            Err(error) => self.protocol_error(reason::MALFORMED_EVENT, Some(error.to_string())),
        }
    }

    /// What a complete body leaves without its blank line. Half an event is what a cut looks like on a
    /// body that ends with its connection, so it is no event rather than a malformed one.
    fn rest(&mut self, event: sse::Event<'_>, at: Nanos) {
        let data = event.data.trim_ascii();
        if data == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok() {
            self.event(event, at);
        }
    }

    fn chunk(&mut self, data: &[u8], chunk: &Chunk<'_>, at: Nanos, coalesced: bool) {
        let choices = chunk.choices.as_deref().unwrap_or_default();
        let finishes = self.facts(chunk, choices);
        let Some((kind, text, only)) = content_of(choices) else {
            self.empty_events += u32::from(!choices.is_empty());
            self.ledger.event(chunk, false, finishes);
            return;
        };
        let tokens = self.ledger.event(chunk, true, finishes);
        if let Some(only) = only
            && only.is_borrowed()
            && choices.len() == 1
            && tokens.is_none()
            && chunk.usage.is_none()
            && chunk.error.is_none()
            && !finishes
        {
            self.template.learn(data, only.as_str(), kind);
        }
        self.push(at, kind, tokens, text, coalesced);
    }

    /// Model and finish reason; whether a choice ends here.
    fn facts(&mut self, chunk: &Chunk<'_>, choices: &[Choice<'_>]) -> bool {
        if self.model.is_none() && !chunk.model.is_empty() {
            self.model = Some(chunk.model.as_str().to_owned());
        }
        let mut finishes = false;
        for reason in choices.iter().map(|choice| choice.finish_reason.as_str()).filter(|reason| !reason.is_empty()) {
            finishes = true;
            if FAILED_FINISHES.contains(&reason) {
                let detail = format!("finish reason `{reason}`");
                self.verdict.fail(Outcome::ServerError, reason::FINISH_ERROR, Some(detail));
            }
            self.finish_reason = Some(reason.to_owned());
            self.verdict.done();
        }
        finishes
    }

    fn push(&mut self, at: Nanos, kind: ContentKind, tokens: Option<u32>, text: CompactString, coalesced: bool) {
        self.verdict.content();
        // A role event in the same read blurs nothing: only the gap between two content events would.
        let coalesced = coalesced && self.events.last().is_some_and(|previous| previous.at == at);
        self.events.push(ContentEvent { at, kind, tokens, text, coalesced });
    }

    fn whole_answer(&mut self, chunk: &Chunk<'_>, choices: &[Choice<'_>]) {
        self.facts(chunk, choices);
        self.ledger.event(chunk, true, true);
        self.verdict.done();
        if let Some((_, text, _)) = content_of(choices) {
            self.verdict.content();
            self.body_text = Some(text.as_str().into());
        }
    }

    /// Whether the server reported an error here.
    fn in_band_error(&mut self, text: &str, chunk: &Chunk<'_>, named_error: bool) -> bool {
        if chunk.error.is_none() && !named_error && chunk.object.as_str() != "error" {
            return false;
        }
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(error) = message::in_band(&value, named_error) else { return false };
        self.verdict.fail_in_band(error);
        true
    }

    fn protocol_error(&mut self, code: &str, detail: Option<String>) {
        self.verdict.fail(Outcome::ProtocolError, code, detail);
    }

    fn answer(&mut self, end: BodyEnd) -> Answer {
        let (outcome, reason) = self.verdict.settle(end);
        Answer {
            outcome,
            reason,
            events: std::mem::take(&mut self.events),
            body_text: self.body_text.take(),
            empty_events: self.empty_events,
            usage: self.ledger.total(),
            finish_reason: self.finish_reason.take(),
            model: self.model.take(),
            retry_after_s: self.verdict.retry_after_s(),
        }
    }
}

/// All content of an event as one text, and the piece itself if it is the only one. An event is one
/// stamp, so several pieces (reasoning that ends and text that begins, two choices) are one content
/// event, of the kind that stands highest: text, then tool call, then reasoning.
fn content_of<'c>(choices: &'c [Choice<'_>]) -> Option<(ContentKind, CompactString, Option<&'c Text<'c>>)> {
    let mut pieces = choices.iter().flat_map(Choice::pieces);
    let (mut kind, first) = pieces.next()?;
    let Some((second_kind, second)) = pieces.next() else {
        return Some((kind, first.as_str().into(), Some(first)));
    };
    let mut joined = CompactString::from(first.as_str());
    joined.push_str(second.as_str());
    kind = higher(kind, second_kind);
    for (further_kind, further) in pieces {
        joined.push_str(further.as_str());
        kind = higher(kind, further_kind);
    }
    Some((kind, joined, None))
}

fn higher(a: ContentKind, b: ContentKind) -> ContentKind {
    match (a, b) {
        (ContentKind::Text, _) | (_, ContentKind::Text) => ContentKind::Text,
        (ContentKind::ToolCall, _) | (_, ContentKind::ToolCall) => ContentKind::ToolCall,
        (ContentKind::Reasoning, ContentKind::Reasoning) => ContentKind::Reasoning,
    }
}
