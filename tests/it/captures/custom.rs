//! The custom protocol of `examples/` runs, and decodes what the real server sent.

#[path = "../../../examples/custom_protocol.rs"]
mod custom_protocol;

use http::StatusCode;
use llm_bench::measure::timeline::Outcome;
use llm_bench::protocol::BodyEnd;

use super::{capture, decode, text_of};
use custom_protocol::LlamaNative;

#[test]
fn the_example_runs() {
    custom_protocol::main();
}

#[test]
fn the_example_decodes_the_real_server_at_every_split() {
    let got = capture("llamacpp-xllamacpp-smollm2/native_completion_stream");
    for at in 0..got.body.len() {
        let reads = [&got.body[..at], &got.body[at..]];
        let answer = decode(&LlamaNative, got.status, &got.headers, reads, BodyEnd::Complete);
        assert_eq!(answer.outcome, Outcome::Completed);
        assert_eq!(text_of(&answer), " a fundamental concept in physics that");
        assert!(answer.events.iter().all(|event| event.tokens == Some(1)));
        assert_eq!(answer.usage.unwrap().output_tokens, Some(6));
        assert_eq!(answer.finish_reason.as_deref(), Some("limit"));
        assert_eq!(answer.empty_events, 1);
    }
}

#[test]
fn the_example_has_the_rules_of_every_protocol() {
    let got = capture("llamacpp-xllamacpp-smollm2/native_completion_stream");
    let half = &got.body[..got.body.len() / 4];
    let cut = decode(&LlamaNative, got.status, &got.headers, [half], BodyEnd::Cut("reset".into()));
    assert_eq!(cut.outcome, Outcome::Truncated);
    let refused = StatusCode::SERVICE_UNAVAILABLE;
    let body = br#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
    let refused = decode(&LlamaNative, refused, &got.headers, [&body[..]], BodyEnd::Complete);
    assert_eq!(refused.reason.unwrap().detail.as_deref(), Some("Loading model"));
}
