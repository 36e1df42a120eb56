//! The bytes of answers, made before anything is due.

use std::fmt::Write as _;

/// What the answer to a request looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A stream of text completions.
    Completions,
    /// A stream of chat deltas.
    Chat,
    /// One JSON text completion.
    WholeCompletions,
    /// One JSON chat completion.
    WholeChat,
}

/// Events of one write in a burst.
const BLOCK: usize = 64;
const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// The events that all streams of a shape share.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Head of the answer and the first event.
    pub(super) first: Vec<u8>,
    /// Any event between the first and the last.
    pub(super) middle: Vec<u8>,
    /// Many of those.
    pub(super) block: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(shape: Shape) -> Self {
        let middle = chunk(&event(shape, None));
        let first = [HEAD.as_bytes(), &chunk(&opening(shape)), &middle].concat();
        Self { first, block: middle.repeat(BLOCK), middle }
    }
}

/// The last event of a stream of `tokens` with everything behind it; the whole answer where it is the only one.
pub(super) fn last(shape: Shape, tokens: u32, usage: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(768);
    if matches!(shape, Shape::WholeCompletions | Shape::WholeChat) {
        return whole(shape, tokens);
    }
    if tokens <= 1 {
        bytes.extend_from_slice(HEAD.as_bytes());
        bytes.extend_from_slice(&chunk(&opening(shape)));
    }
    bytes.extend_from_slice(&chunk(&event(shape, Some("length"))));
    if usage {
        let object = object(shape);
        let counts = counts(tokens);
        bytes.extend_from_slice(&chunk(&format!(
            "data: {{\"id\":\"m\",\"object\":\"{object}\",\"created\":0,\"model\":\"metronome\",\"choices\":[],{counts}}}\n\n"
        )));
    }
    bytes.extend_from_slice(&chunk("data: [DONE]\n\n"));
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// A page that is answered at once.
pub(super) fn page(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A chat stream begins with its role, which is no content.
fn opening(shape: Shape) -> String {
    if shape != Shape::Chat {
        return String::new();
    }
    "data: {\"id\":\"m\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"metronome\",\"choices\":[{\"index\":0,\
     \"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
        .to_owned()
}

fn event(shape: Shape, finish: Option<&str>) -> String {
    let object = object(shape);
    let finish = finish.map_or_else(|| "null".to_owned(), |finish| format!("\"{finish}\""));
    let content = match shape {
        Shape::Chat | Shape::WholeChat => "\"delta\":{\"content\":\" tick\"}",
        Shape::Completions | Shape::WholeCompletions => "\"text\":\" tick\"",
    };
    format!(
        "data: {{\"id\":\"m\",\"object\":\"{object}\",\"created\":0,\"model\":\"metronome\",\"choices\":[{{\"index\":0,{content},\
         \"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn object(shape: Shape) -> &'static str {
    match shape {
        Shape::Completions | Shape::WholeCompletions => "text_completion",
        Shape::Chat => "chat.completion.chunk",
        Shape::WholeChat => "chat.completion",
    }
}

fn counts(tokens: u32) -> String {
    let total = u64::from(tokens) + 1;
    format!("\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":{tokens},\"total_tokens\":{total}}}")
}

fn whole(shape: Shape, tokens: u32) -> Vec<u8> {
    let text = " tick".repeat(tokens as usize);
    let content = match shape {
        Shape::WholeChat | Shape::Chat => format!("\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}}"),
        Shape::WholeCompletions | Shape::Completions => format!("\"text\":\"{text}\""),
    };
    let (object, counts) = (object(shape), counts(tokens));
    let mut body = String::new();
    let _ = write!(
        body,
        "{{\"id\":\"m\",\"object\":\"{object}\",\"created\":0,\"model\":\"metronome\",\"choices\":[{{\"index\":0,{content},\
         \"logprobs\":null,\"finish_reason\":\"length\"}}],{counts}}}"
    );
    page("200 OK", &body)
}

/// One chunk of HTTP; nothing for an empty text, which would end the answer.
fn chunk(data: &str) -> Vec<u8> {
    if data.is_empty() { Vec::new() } else { format!("{:x}\r\n{data}\r\n", data.len()).into_bytes() }
}
