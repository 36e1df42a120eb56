//! What failures look like: the table of the definitions, and everything that breaks an answer. A server
//! that fails must never look as if it had completed.

use http::StatusCode;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use llm_bench::measure::timeline::{Answer, Outcome};
use llm_bench::protocol::{BodyEnd, reason};
use proptest::prelude::*;

use super::quirks::{content_type, stream};
use super::{capture, decode, protocol, table, without_reads};

fn of(status: u16, headers: &HeaderMap, body: &[u8], end: BodyEnd) -> Answer {
    let status = StatusCode::from_u16(status).unwrap();
    decode(&*protocol("openai-completions", true), status, headers, [body], end)
}

fn sse() -> HeaderMap {
    content_type("text/event-stream")
}

fn seen(answer: &Answer) -> (&str, &str, Option<&str>) {
    let reason = answer.reason.as_ref().expect("a failure has a reason");
    let meaning = reason::explain(&reason.code).unwrap_or_else(|| panic!("`{}` is not in the list", reason.code));
    assert!(!meaning.is_empty());
    (answer.outcome.name(), &reason.code, reason.detail.as_deref())
}

/// A healthy stream, its events apart.
fn healthy() -> Vec<String> {
    let got = capture("vllm-0.32.0-smollm2/completions_stream_usage");
    String::from_utf8(got.body).unwrap().split_inclusive("\n\n").map(str::to_owned).collect()
}

#[test]
fn healthy_streams_complete() {
    let body = healthy().concat();
    let answer = of(200, &sse(), body.as_bytes(), BodyEnd::Complete);
    assert_eq!((answer.outcome, answer.reason), (Outcome::Completed, None));
}

#[test]
fn http_500() {
    let body = b"Internal Server Error\nTraceback";
    let answer = of(500, &content_type("text/plain"), body, BodyEnd::Complete);
    assert_eq!(seen(&answer), ("server_error", "http_500", Some("Internal Server Error")));
}

#[test]
fn stream_cut_halfway() {
    let events = healthy();
    let half = events[..events.len() / 2].concat();
    let answer = of(200, &sse(), half.as_bytes(), BodyEnd::Cut("connection closed before message completed".into()));
    let detail = Some("connection closed before message completed");
    assert_eq!(seen(&answer), ("truncated", "cut_mid_stream", detail));
    assert!(!answer.events.is_empty());
    // The same with proper framing: a proxy that closes the body, or a body that ends with its connection.
    let answer = of(200, &sse(), half.as_bytes(), BodyEnd::Complete);
    assert_eq!(seen(&answer), ("truncated", "no_end", None));
    let inside = &half.as_bytes()[..half.len() - 30];
    assert_eq!(seen(&of(200, &sse(), inside, BodyEnd::Complete)), ("truncated", "no_end", None));
}

#[test]
fn error_object_inside_the_stream() {
    let mut events = healthy();
    events.insert(
        3,
        "data: {\"error\":{\"message\":\"engine died\\nstack\",\"type\":\"Internal\",\"code\":500}}\n\n".into(),
    );
    let answer = of(200, &sse(), events.concat().as_bytes(), BodyEnd::Complete);
    assert_eq!(seen(&answer), ("server_error", "in_band_error", Some("engine died")));
    // It stays the server's error whatever happens next.
    let cut = of(200, &sse(), events[..4].concat().as_bytes(), BodyEnd::TimedOut);
    assert_eq!(seen(&cut), ("server_error", "in_band_error", Some("engine died")));
}

#[test]
fn stream_without_content() {
    let empty = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
    for body in [format!("{empty}data: [DONE]\n\n"), empty.to_owned(), "data: [DONE]\n\n".to_owned()] {
        assert_eq!(seen(&stream("openai-completions", &body)), ("empty", "no_content", None), "{body}");
    }
    assert_eq!(seen(&stream("openai-completions", "")), ("truncated", "no_end", None));
    assert_eq!(seen(&stream("openai-completions", ": ping\n\n: ping\n\n")), ("truncated", "no_end", None));
}

#[test]
fn done_without_a_finish_reason_is_an_end() {
    let answer = stream("openai-completions", "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: [DONE]");
    assert_eq!(answer.outcome, Outcome::Completed);
}

#[test]
fn cut_after_done() {
    let body = healthy().concat();
    let answer = of(200, &sse(), body.as_bytes(), BodyEnd::Cut("unexpected end of file".into()));
    assert_eq!(seen(&answer), ("truncated", "cut_after_done", Some("unexpected end of file")));
}

#[test]
fn timeouts_and_cancellation_pass_through() {
    let events = healthy();
    let part = events[..2].concat();
    assert_eq!(seen(&of(200, &sse(), part.as_bytes(), BodyEnd::TimedOut)), ("timed_out", "timeout_mid_stream", None));
    assert_eq!(seen(&of(200, &sse(), b"", BodyEnd::TimedOut)), ("timed_out", "timeout_before_content", None));
    let answer = of(200, &sse(), part.as_bytes(), BodyEnd::Cancelled("interrupted"));
    assert_eq!(seen(&answer), ("cancelled", "interrupted", None));
    let answer = of(200, &sse(), part.as_bytes(), BodyEnd::Malformed("invalid chunk size".into()));
    assert_eq!(seen(&answer), ("protocol_error", "malformed_http", Some("invalid chunk size")));
    let mut decoder = protocol("openai-chat", true).decoder();
    let answer = decoder.finish(BodyEnd::Cut("reset".into()));
    assert_eq!(seen(&answer), ("truncated", "cut_before_headers", Some("reset")));
}

#[test]
fn whole_answers_break_too() {
    let body = br#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}"#;
    let run = |body: &[u8], media, end| {
        seen(&decode(&*protocol("openai-completions", false), StatusCode::OK, &content_type(media), [body], end))
            .1
            .to_owned()
    };
    assert_eq!(run(&body[..20], "application/json", BodyEnd::Cut(String::new())), "cut_mid_body");
    assert_eq!(run(body, "application/json", BodyEnd::Cut(String::new())), "cut_mid_body", "framing is needed");
    assert_eq!(run(&body[..20], "application/json", BodyEnd::TimedOut), "timeout_mid_body");
    assert_eq!(run(&body[..20], "application/json", BodyEnd::Complete), "malformed_body");
    assert_eq!(run(b"", "application/json", BodyEnd::Complete), "malformed_body");
    assert_eq!(run(b"null", "application/json", BodyEnd::Complete), "unexpected_content_type");
    assert_eq!(run(br#"{"choices":[]}"#, "application/json", BodyEnd::Complete), "malformed_body");
    assert_eq!(run(b"<html>", "text/html", BodyEnd::Complete), "unexpected_content_type");
    assert_eq!(run(b"{\"a\":\"\xff\"}", "application/json", BodyEnd::Complete), "invalid_utf8");
    let empty = br#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#;
    assert_eq!(run(empty, "application/json", BodyEnd::Complete), "no_content");
    let streamed = healthy().concat();
    assert_eq!(run(streamed.as_bytes(), "text/event-stream", BodyEnd::Complete), "streamed_unasked");
    let failed = b"data: {\"error\":\"boom\"}\n\n";
    assert_eq!(run(failed, "text/event-stream", BodyEnd::Complete), "in_band_error");
}

#[test]
fn a_stream_was_asked_for_but_something_else_came() {
    let whole = br#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let answer = of(200, &content_type("application/json"), whole, BodyEnd::Complete);
    assert_eq!(seen(&answer), ("protocol_error", "not_streamed", None));
    let answer = of(200, &content_type("text/html; charset=utf-8"), b"<title>Login</title>", BodyEnd::Complete);
    assert_eq!(seen(&answer), ("protocol_error", "unexpected_content_type", Some("text/html: Login")));
    // Without any content type it can only be what was asked for.
    let answer = of(200, &HeaderMap::new(), healthy().concat().as_bytes(), BodyEnd::Complete);
    assert_eq!(answer.outcome, Outcome::Completed);
}

#[test]
fn events_that_are_not_the_protocol() {
    let table = [
        ("data: {\"choices\":[{\"index\":0,\"te\n\n", "malformed_event"),
        ("data: [1]\n\n", "malformed_event"),
        ("data: 7\n\n", "malformed_event"),
        ("data: hello\n\n", "malformed_event"),
        ("data: {\"choices\":\"none\"}\n\n", "malformed_event"),
        ("data: {\"choices\":[{\"delta\":\"text\"}]}\n\n", "malformed_event"),
    ];
    for (event, code) in table {
        let body = format!(
            "{event}data: {{\"choices\":[{{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        );
        let answer = stream("openai-completions", &body);
        let (outcome, got, detail) = seen(&answer);
        assert_eq!((outcome, got), ("protocol_error", code), "{event}");
        assert!(detail.is_some(), "{event}");
    }
    let answer = of(200, &sse(), b"data: {\"choices\":[{\"text\":\"\xff\xfe\"}]}\n\n", BodyEnd::Complete);
    assert_eq!(seen(&answer), ("protocol_error", "invalid_utf8", None));
}

#[test]
fn invalid_utf8_is_found_after_many_good_events_of_the_same_form() {
    let mut body = healthy()[..3].concat().into_bytes();
    let last = healthy()[3].clone().into_bytes();
    let at = last.windows(8).position(|window| window == b"\"text\":\"").unwrap() + 8;
    body.extend_from_slice(&last[..at]);
    body.extend_from_slice(b"\xC3\x28");
    body.extend_from_slice(&last[at..]);
    assert_eq!(seen(&of(200, &sse(), &body, BodyEnd::Complete)).1, "invalid_utf8");
}

#[test]
fn an_endless_event_is_given_up() {
    let mut decoder = protocol("openai-completions", true).decoder();
    decoder.head(StatusCode::OK, &sse());
    let megabyte = vec![b'x'; 1 << 20];
    for at in 1..=70 {
        decoder.data(&megabyte, at);
    }
    let answer = decoder.finish(BodyEnd::TimedOut);
    let detail = format!("an event is longer than {} bytes", 64 << 20);
    assert_eq!(seen(&answer), ("protocol_error", "event_too_large", Some(detail.as_str())));
}

#[test]
fn redirects_and_other_statuses() {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::from_static("https://elsewhere/v1/completions?token=secret"));
    for status in [301, 302, 307, 308] {
        let answer = of(status, &headers, b"", BodyEnd::Complete);
        let (outcome, code, detail) = seen(&answer);
        assert_eq!((outcome, code), ("protocol_error", format!("http_{status}").as_str()));
        assert_eq!(detail, Some("redirected to `https://elsewhere/v1/completions`"), "no query: it may hold a secret");
    }
    assert_eq!(seen(&of(204, &HeaderMap::new(), b"", BodyEnd::Complete)), ("protocol_error", "http_204", None));
}

#[test]
fn a_compressed_answer_is_not_read_as_text() {
    let mut headers = sse();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let answer = of(200, &headers, b"\x1f\x8b\x08\n\n", BodyEnd::Complete);
    assert_eq!(seen(&answer), ("protocol_error", "unexpected_content_encoding", Some("gzip")));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    let answer = of(200, &headers, healthy().concat().as_bytes(), BodyEnd::Complete);
    assert_eq!(answer.outcome, Outcome::Completed);
}

#[test]
fn rate_limits_carry_retry_after() {
    let mut headers = content_type("application/json");
    headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
    let answer = of(429, &headers, br#"{"error":{"message":"slow down"}}"#, BodyEnd::Complete);
    assert_eq!(seen(&answer), ("rate_limited", "http_429", Some("slow down")));
    assert_eq!(answer.retry_after_s, Some(3));
}

#[test]
fn error_bodies_of_any_length_give_a_short_line() {
    let body = "x".repeat(1 << 20);
    let answer = of(502, &content_type("text/plain"), body.as_bytes(), BodyEnd::Cut("reset".into()));
    let (outcome, code, detail) = seen(&answer);
    assert_eq!((outcome, code), ("server_error", "http_502"), "the status is known, the cut says less");
    assert_eq!(detail.unwrap().chars().count(), 300);
}

#[test]
fn pieces_with_one_stamp_are_one_read() {
    let events = healthy();
    let mut decoder = protocol("openai-completions", true).decoder();
    decoder.head(StatusCode::OK, &sse());
    decoder.data(events[0].as_bytes(), 10);
    decoder.data(events[1].as_bytes(), 10);
    decoder.data(events[2].as_bytes(), 11);
    let answer = decoder.finish(BodyEnd::TimedOut);
    let blurred: Vec<_> = answer.events.iter().map(|event| (event.at, event.coalesced)).collect();
    assert_eq!(blurred, [(10, false), (10, true), (11, false)]);
}

/// A captured stream with some bytes changed, taken out or put in.
fn damaged() -> impl Strategy<Value = (String, Vec<u8>)> {
    let streams: Vec<_> = table().into_iter().filter(|row| (1..20).contains(&row.events)).collect();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..6);
    (0..streams.len(), edits).prop_map(move |(which, edits)| {
        let row = &streams[which];
        let mut body = capture(&row.capture).body;
        for (at, edit, byte) in edits {
            let at = at.index(body.len());
            match edit {
                0 => body[at] = byte,
                1 => drop(body.remove(at)),
                _ => body.insert(at, byte),
            }
        }
        (row.protocol.clone(), body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_streams_decode_alike_in_any_reads((name, body) in damaged(), sizes in prop::collection::vec(1_usize..400, 1..8)) {
        let protocol = protocol(&name, true);
        let whole = decode(&*protocol, StatusCode::OK, &sse(), [&body[..]], BodyEnd::Complete);
        let mut rest = &body[..];
        let mut reads = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (read, after) = rest.split_at((*size).min(rest.len()));
            reads.push(read);
            rest = after;
        }
        let pieces = decode(&*protocol, StatusCode::OK, &sse(), reads, BodyEnd::Complete);
        prop_assert_eq!(pieces.outcome == Outcome::Completed, pieces.reason.is_none());
        prop_assert_eq!(without_reads(pieces), without_reads(whole));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
        status in 100_u16..=999,
        stream in any::<bool>(),
        media in prop::sample::select(vec!["text/event-stream", "application/json", "text/plain", "\u{20}"]),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        for name in ["openai-chat", "openai-completions"] {
            let protocol = protocol(name, stream);
            let answer = decode(&*protocol, status, &content_type(media), body.chunks(7), BodyEnd::Complete);
            prop_assert!(answer.outcome != Outcome::Completed);
        }
    }
}
