//! A protocol of one's own: llama.cpp's native `POST /completion`.
//!
//! Run it with `cargo run --example custom_protocol`: it makes a request body and decodes a recorded answer
//! that arrives in awkward pieces. A protocol is two traits and no IO: [`Protocol`] says what goes out,
//! [`Decoder`] reads what comes back. The framing of server-sent events ([`Framer`]) and the rules by which
//! an answer counts as completed ([`Verdict`]) are shared with the built-in protocols.

#![allow(clippy::print_stdout)]

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_bench::measure::timeline::{Answer, ContentEvent, ContentKind, Outcome, Usage};
use llm_bench::protocol::sse::Framer;
use llm_bench::protocol::verdict::Verdict;
use llm_bench::protocol::{Ask, BodyEnd, Decoder, Prompt, Protocol, message, reason};
use serde::Deserialize;
use serde_json::{Value, json};

/// llama.cpp's own completion route, always streamed.
#[derive(Debug, Default)]
pub(crate) struct LlamaNative;

impl Protocol for LlamaNative {
    fn name(&self) -> &'static str {
        "llama-native"
    }

    fn path(&self) -> &'static str {
        "/completion"
    }

    fn streams(&self) -> bool {
        true
    }

    fn body(&self, ask: &Ask<'_>) -> Bytes {
        let prompt = match ask.prompt {
            Prompt::Text(text) => text.to_string(),
            Prompt::Messages(messages) => {
                messages.iter().map(|message| &*message.content).collect::<Vec<_>>().join("\n")
            }
        };
        // One model a server, so `ask.model` has no place here. Keys of `json!` are sorted: same ask, same bytes.
        Bytes::from(json!({ "prompt": prompt, "n_predict": ask.max_tokens, "stream": true }).to_string())
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(LlamaNativeDecoder::default())
    }
}

/// One event of the stream; the last one has `stop: true` and the counts.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    content: String,
    #[serde(default)]
    tokens: Vec<u32>,
    #[serde(default)]
    stop: bool,
    stop_type: Option<String>,
    model: Option<String>,
    tokens_predicted: Option<u64>,
    tokens_evaluated: Option<u64>,
}

#[derive(Debug, Default)]
struct LlamaNativeDecoder {
    framer: Framer,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    verdict: Verdict,
    events: Vec<ContentEvent>,
    empty_events: u32,
    last: Option<Event>,
}

impl State {
    fn event(&mut self, data: &[u8], at: u64, coalesced: bool) {
        let value: Value = match serde_json::from_slice(data) {
            Ok(value) => value,
            Err(error) => {
                return self.verdict.fail(Outcome::ProtocolError, reason::MALFORMED_EVENT, Some(error.to_string()));
            }
        };
        if let Some(error) = message::in_band(&value, false) {
            return self.verdict.fail_in_band(error);
        }
        match serde_json::from_value::<Event>(value) {
            Ok(event) => self.content(event, at, coalesced),
            Err(error) => self.verdict.fail(Outcome::ProtocolError, reason::MALFORMED_EVENT, Some(error.to_string())),
        }
    }

    fn content(&mut self, event: Event, at: u64, coalesced: bool) {
        if event.content.is_empty() {
            self.empty_events += 1;
        } else {
            self.verdict.content();
            self.events.push(ContentEvent {
                at,
                kind: ContentKind::Text,
                tokens: u32::try_from(event.tokens.len()).ok().filter(|&tokens| tokens > 0),
                text: event.content.as_str().into(),
                coalesced: coalesced && self.events.last().is_some_and(|previous| previous.at == at),
            });
        }
        if event.stop {
            self.verdict.done();
            self.last = Some(event);
        }
    }
}

impl Decoder for LlamaNativeDecoder {
    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.state.verdict.head(status, headers);
    }

    fn data(&mut self, bytes: &[u8], at: u64) {
        if self.state.verdict.refused() {
            return self.state.verdict.error_data(bytes);
        }
        let state = &mut self.state;
        if let Err(error) = self.framer.feed(bytes, at, |event| state.event(event.data, at, event.coalesced)) {
            self.state.verdict.fail(Outcome::ProtocolError, reason::EVENT_TOO_LARGE, Some(error.to_string()));
        }
    }

    fn finish(&mut self, end: BodyEnd) -> Answer {
        let (outcome, reason) = self.state.verdict.settle(end);
        let last = self.state.last.take();
        Answer {
            outcome,
            reason,
            events: std::mem::take(&mut self.state.events),
            body_text: None,
            empty_events: self.state.empty_events,
            usage: last.as_ref().map(|last| Usage {
                input_tokens: last.tokens_evaluated,
                output_tokens: last.tokens_predicted,
                cached_tokens: None,
            }),
            finish_reason: last.as_ref().and_then(|last| last.stop_type.clone()),
            model: last.and_then(|last| last.model),
            retry_after_s: self.state.verdict.retry_after_s(),
        }
    }
}

/// A recorded answer, shortened.
const RECORDED: &str = concat!(
    "data: {\"index\":0,\"content\":\" a\",\"tokens\":[253],\"stop\":false}\n\n",
    "data: {\"index\":0,\"content\":\" fundamental\",\"tokens\":[4959],\"stop\":false}\n\n",
    "data: {\"index\":0,\"content\":\"\",\"tokens\":[],\"stop\":true,\"model\":\"SmolLM2\",\"stop_type\":\"limit\",",
    "\"tokens_predicted\":2,\"tokens_evaluated\":3}\n\n",
);

/// What the example shows; a test runs it too.
pub(crate) fn main() {
    let prompt = Prompt::Text("Gravity is".into());
    let body = LlamaNative.body(&Ask { model: "any", prompt: &prompt, max_tokens: 2 });
    assert_eq!(&body[..], br#"{"n_predict":2,"prompt":"Gravity is","stream":true}"#);

    let mut decoder = LlamaNative.decoder();
    decoder.head(StatusCode::OK, &HeaderMap::new());
    for (read, at) in RECORDED.as_bytes().chunks(7).zip(1_000_000..) {
        decoder.data(read, at);
    }
    let answer = decoder.finish(BodyEnd::Complete);

    assert_eq!(answer.outcome, Outcome::Completed);
    let text: String = answer.events.iter().map(|event| &*event.text).collect();
    assert_eq!(text, " a fundamental");
    assert_eq!(answer.events.iter().map(|event| event.tokens).collect::<Vec<_>>(), [Some(1), Some(1)]);
    println!("{} {} -> {:?}, {:?}", LlamaNative.name(), LlamaNative.path(), text, answer.outcome);
}
