//! Cost of decoding on the request path, per event. Run with `cargo bench --bench protocol`.
//!
//! Each benchmark decodes one captured answer; the item count is its events, so divan prints events per
//! second beside the time of a whole answer.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use llm_bench::protocol::openai::chat::OpenaiChat;
use llm_bench::protocol::openai::completions::OpenaiCompletions;
use llm_bench::protocol::sse::Framer;
use llm_bench::protocol::{Ask, BodyEnd, BodyOptions, Prompt, Protocol};

fn main() {
    divan::main();
}

#[path = "../tests/support/http.rs"]
mod support;

/// Streams of 64 tokens: captured text, and each event with a key that changes (the slow path).
const CASES: [&str; 4] = ["vllm-completions", "vllm-chat", "llamacpp-chat", "every-event-differs"];

fn case(name: &str) -> (Arc<dyn Protocol>, Vec<u8>) {
    let capture = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(file);
        let captured = support::take_apart(&std::fs::read(path).unwrap());
        assert!(captured.status == StatusCode::OK && captured.headers.contains_key(CONTENT_TYPE));
        captured.body
    };
    let options = BodyOptions { stream: true, usage: true, ..BodyOptions::default() };
    let chat = Arc::new(OpenaiChat::new(&options));
    match name {
        "vllm-completions" => {
            (Arc::new(OpenaiCompletions::new(&options)), capture("vllm-0.32.0-smollm2/completions_stream_t1.resp"))
        }
        "vllm-chat" => (chat, capture("vllm-0.32.0-smollm2/chat_stream_t1.resp")),
        "llamacpp-chat" => (chat, capture("llama-server-b11434/chat_stream_t1.resp")),
        _ => {
            let body = String::from_utf8(capture("vllm-0.32.0-smollm2/chat_stream_t1.resp")).unwrap();
            let events = body.split_inclusive("\n\n").enumerate();
            let marked =
                events.map(|(n, event)| event.replacen("data: {", &format!("data: {{\"obfuscation\":\"{n}\","), 1));
            (chat, marked.collect::<String>().into_bytes())
        }
    }
}

fn reads(body: &[u8]) -> Vec<&[u8]> {
    let mut rest = body;
    let mut reads = Vec::new();
    while let Some(end) = memchr::memmem::find(rest, b"\n\n") {
        let (event, after) = rest.split_at(end + 2);
        reads.push(event);
        rest = after;
    }
    reads
}

/// One event a read, as tokens arrive from a server: decoder made, fed and finished.
#[divan::bench(args = CASES)]
fn decode_one_event_a_read(bencher: Bencher<'_, '_>, name: &str) {
    let (protocol, body) = case(name);
    let headers: HeaderMap = [(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))].into_iter().collect();
    let reads = reads(&body);
    bencher.counter(ItemsCount::new(reads.len())).bench(|| {
        let mut decoder = protocol.decoder();
        decoder.head(StatusCode::OK, &headers);
        for (read, at) in reads.iter().zip(1..) {
            decoder.data(black_box(read), at);
        }
        decoder.finish(BodyEnd::Complete)
    });
}

/// Framing alone, one event a read.
#[divan::bench]
fn frame_one_event_a_read(bencher: Bencher<'_, '_>) {
    let (_, body) = case("vllm-chat");
    let reads = reads(&body);
    bencher.counter(ItemsCount::new(reads.len())).bench(|| {
        let mut framer = Framer::default();
        let mut bytes = 0;
        for (read, at) in reads.iter().zip(1..) {
            framer.feed(black_box(read), at, |event| bytes += event.data.len()).unwrap();
        }
        bytes
    });
}

/// A request body with a prompt of about 4000 bytes.
#[divan::bench]
fn render_a_body(bencher: Bencher<'_, '_>) {
    let protocol = OpenaiCompletions::new(&BodyOptions { stream: true, usage: true, ..BodyOptions::default() });
    let prompt = Prompt::Text("a prompt of many words ".repeat(174).into());
    bencher.bench(|| protocol.body(&Ask { model: "m", prompt: black_box(&prompt), max_tokens: 128 }));
}
