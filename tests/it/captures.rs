//! Captured answers of real servers, against what was read from them by hand: whole, byte by byte, and the
//! streamed ones split in two at every position.

mod custom;
mod failures;
mod framer;
mod quirks;
#[path = "../support/http.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use llm_bench::measure::timeline::{Answer, ContentKind, Usage};
use llm_bench::protocol::openai::chat::OpenaiChat;
use llm_bench::protocol::openai::completions::OpenaiCompletions;
use llm_bench::protocol::{BodyEnd, BodyOptions, Protocol, models};
use serde::Deserialize;

pub(crate) use support::take_apart;

use support::Captured;

/// One row of `tests/wire/expected.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    capture: String,
    protocol: String,
    stream: bool,
    outcome: String,
    reason: Option<String>,
    detail: Option<String>,
    model: Option<String>,
    finish_reason: Option<String>,
    usage: Option<(u64, u64, Option<u64>)>,
    #[serde(default)]
    events: usize,
    #[serde(default)]
    empty_events: u32,
    tokens: Option<Vec<u32>>,
    #[serde(default)]
    text: String,
    body_text: Option<String>,
}

fn wire() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire")
}

fn table() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(wire().join("expected.json")).unwrap()).unwrap()
}

fn capture(name: &str) -> Captured {
    take_apart(&fs::read(wire().join(format!("{name}.resp"))).unwrap())
}

fn protocol(name: &str, stream: bool) -> Arc<dyn Protocol> {
    let options = BodyOptions { stream, usage: true, ..BodyOptions::default() };
    match name {
        "openai-chat" => Arc::new(OpenaiChat::new(&options)),
        _ => Arc::new(OpenaiCompletions::new(&options)),
    }
}

/// Decodes an answer whose body came in these reads; the n-th read is stamped n (from 1).
fn decode<'a>(
    protocol: &dyn Protocol,
    status: StatusCode,
    headers: &HeaderMap,
    reads: impl IntoIterator<Item = &'a [u8]>,
    end: BodyEnd,
) -> Answer {
    let mut decoder = protocol.decoder();
    decoder.head(status, headers);
    for (read, at) in reads.into_iter().zip(1..) {
        decoder.data(read, at);
    }
    decoder.finish(end)
}

fn text_of(answer: &Answer) -> String {
    answer.events.iter().map(|event| &*event.text).collect()
}

/// The answer without what depends on how it was cut into reads.
fn without_reads(mut answer: Answer) -> Answer {
    for event in &mut answer.events {
        event.at = 0;
        event.coalesced = false;
    }
    answer
}

fn check(want: &Expected, answer: &Answer) {
    let name = &want.capture;
    let reason = answer.reason.as_ref();
    assert_eq!(answer.outcome.name(), want.outcome, "{name}: {reason:?}");
    assert_eq!(reason.map(|reason| reason.code.as_str()), want.reason.as_deref(), "{name}");
    assert_eq!(reason.and_then(|reason| reason.detail.as_deref()), want.detail.as_deref(), "{name}");
    assert_eq!(text_of(answer), want.text, "{name}");
    assert_eq!(answer.body_text.as_deref(), want.body_text.as_deref(), "{name}");
    assert_eq!((answer.events.len(), answer.empty_events), (want.events, want.empty_events), "{name}");
    assert_eq!(answer.finish_reason, want.finish_reason, "{name}");
    assert_eq!(answer.model, want.model, "{name}");
    let usage = want.usage.map(|(input, output, cached)| Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        cached_tokens: cached,
    });
    assert_eq!(answer.usage, usage, "{name}");
    let tokens: Option<Vec<u32>> = answer.events.iter().map(|event| event.tokens).collect();
    assert_eq!(tokens.filter(|tokens| !tokens.is_empty()), want.tokens, "{name}");
    assert!(answer.events.iter().all(|event| event.kind == ContentKind::Text && !event.text.is_empty()), "{name}");
}

#[test]
fn every_capture_is_in_the_table() {
    let mut listed: Vec<String> = table().into_iter().map(|row| row.capture).collect();
    let mut found = Vec::new();
    for folder in fs::read_dir(wire()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            // Not answers of an OpenAI text route: used by name elsewhere.
            if name == "models" || name.starts_with("native_") || fs::metadata(&file).unwrap().len() == 0 {
                continue;
            }
            found.push(format!("{}/{name}", folder.file_name().unwrap().to_str().unwrap()));
        }
    }
    listed.sort();
    found.sort();
    assert_eq!(listed, found);
    assert!(found.len() > 130);
}

#[test]
fn captures_in_one_read() {
    for want in table() {
        let got = capture(&want.capture);
        let protocol = protocol(&want.protocol, want.stream);
        let answer = decode(&*protocol, got.status, &got.headers, [&got.body[..]], BodyEnd::Complete);
        check(&want, &answer);
        let coalesced = answer.events.iter().map(|event| event.coalesced);
        assert!(coalesced.eq((0..want.events).map(|n| n > 0)), "{}: all but the first", want.capture);
    }
}

#[test]
fn captures_byte_by_byte() {
    for want in table() {
        let got = capture(&want.capture);
        let protocol = protocol(&want.protocol, want.stream);
        let answer = decode(&*protocol, got.status, &got.headers, got.body.chunks(1), BodyEnd::Complete);
        check(&want, &answer);
        assert!(answer.events.iter().all(|event| !event.coalesced), "{}", want.capture);
        assert!(answer.events.is_sorted_by(|a, b| a.at < b.at), "{}", want.capture);
    }
}

/// The two-part splits of every streamed capture of one folder.
fn split_everywhere(folder: &str) {
    let mut streams = 0;
    for want in table().iter().filter(|row| row.capture.starts_with(folder) && row.events > 0) {
        streams += 1;
        let got = capture(&want.capture);
        let protocol = protocol(&want.protocol, want.stream);
        let run = |reads: [&[u8]; 2]| decode(&*protocol, got.status, &got.headers, reads, BodyEnd::Complete);
        let whole = run([&got.body, &[]]);
        check(want, &whole);
        let whole = without_reads(whole);
        for at in 1..got.body.len() {
            let answer = run([&got.body[..at], &got.body[at..]]);
            let firsts = [1, 2].map(|read| answer.events.iter().position(|event| event.at == read));
            for (n, event) in answer.events.iter().enumerate() {
                assert_eq!(event.coalesced, !firsts.contains(&Some(n)), "{} event {n} split at {at}", want.capture);
            }
            assert_eq!(without_reads(answer), whole, "{} split at {at}", want.capture);
        }
    }
    assert!(streams >= 15, "{folder} has {streams} streams");
}

#[test]
fn streams_of_vllm_split_at_every_position() {
    split_everywhere("vllm-0.32.0-smollm2");
}

#[test]
fn streams_of_vllm_with_split_characters_split_at_every_position() {
    split_everywhere("vllm-0.32.0-tiny");
}

#[test]
fn streams_of_llama_server_split_at_every_position() {
    split_everywhere("llama-server-b11434");
}

#[test]
fn streams_of_xllamacpp_split_at_every_position() {
    split_everywhere("llamacpp-xllamacpp-smollm2");
}

#[test]
fn cut_anywhere_is_never_completed() {
    for want in table().iter().filter(|row| (1..6).contains(&row.events)) {
        let got = capture(&want.capture);
        let protocol = protocol(&want.protocol, want.stream);
        for at in 0..=got.body.len() {
            let end = BodyEnd::Cut("connection reset by peer".to_owned());
            let answer = decode(&*protocol, got.status, &got.headers, [&got.body[..at]], end);
            assert_eq!(answer.outcome.name(), "truncated", "{} cut at {at}", want.capture);
            let reason = answer.reason.unwrap();
            let known = ["cut_before_content", "cut_mid_stream", "cut_after_done"].contains(&reason.code.as_str());
            assert!(known, "{} cut at {at}: {}", want.capture, reason.code);
            assert_eq!(reason.detail.as_deref(), Some("connection reset by peer"));
        }
    }
}

#[test]
fn models_of_the_captured_servers() {
    let table = [
        ("vllm-0.32.0-tiny", "tiny-llama3", 4096),
        ("vllm-0.32.0-smollm2", "smollm2-135m-hf", 4096),
        ("llama-server-b11434", "SmolLM2-135M-Instruct.Q4_1", 2048),
        ("llamacpp-xllamacpp-smollm2", "SmolLM2-135M-Instruct.Q4_1", 2048),
    ];
    for (folder, id, max_tokens) in table {
        let models = models::parse(&capture(&format!("{folder}/models")).body).unwrap();
        let only = models::only(&models).unwrap();
        assert_eq!((only.id.as_str(), only.max_tokens), (id, Some(max_tokens)), "{folder}");
    }
}
