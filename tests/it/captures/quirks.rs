//! What each server does differently from the others, by name. From captures where there are any, else
//! from short streams in the documented shape.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use llm_bench::measure::timeline::{Answer, ContentKind, Outcome, Usage};
use llm_bench::protocol::BodyEnd;

use super::{capture, decode, protocol, text_of, without_reads};

/// Headers with only this content type.
pub(super) fn content_type(value: &'static str) -> HeaderMap {
    [(CONTENT_TYPE, HeaderValue::from_static(value))].into_iter().collect()
}

/// A complete 200 stream, decoded in one read; checked to be the same byte by byte.
pub(super) fn stream(name: &str, body: &str) -> Answer {
    let protocol = protocol(name, true);
    let headers = content_type("text/event-stream; charset=utf-8");
    let run = |reads: Vec<&[u8]>| decode(&*protocol, StatusCode::OK, &headers, reads, BodyEnd::Complete);
    let answer = without_reads(run(vec![body.as_bytes()]));
    assert_eq!(without_reads(run(body.as_bytes().chunks(1).collect())), answer);
    answer
}

/// The events of a chat stream that carries these deltas (JSON), a finish and `[DONE]`.
fn chat_of(deltas: &[&str]) -> Answer {
    let mut body: String = deltas
        .iter()
        .map(|delta| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n"))
        .collect();
    body.push_str("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    stream("openai-chat", &body)
}

fn capture_answer(name: &str, folder: &str, file: &str) -> Answer {
    let got = capture(&format!("{folder}/{file}"));
    decode(&*protocol(name, true), got.status, &got.headers, [&got.body[..]], BodyEnd::Complete)
}

fn usage(input: u64, output: u64, cached: Option<u64>) -> Option<Usage> {
    Some(Usage { input_tokens: Some(input), output_tokens: Some(output), cached_tokens: cached })
}

fn tokens(answer: &Answer) -> Vec<Option<u32>> {
    answer.events.iter().map(|event| event.tokens).collect()
}

fn in_band(answer: &Answer) -> (&str, &str, Option<&str>) {
    let reason = answer.reason.as_ref().unwrap();
    (answer.outcome.name(), &reason.code, reason.detail.as_deref())
}

// vLLM

#[test]
fn vllm_merges_tokens_into_one_event() {
    let answer = capture_answer("openai-completions", "vllm-0.32.0-tiny", "completions_stream_logprobs");
    assert_eq!(&*answer.events[1].text, "овоовоово");
    assert_eq!(tokens(&answer), [Some(1), Some(3)]);
    assert_eq!(answer.usage, usage(2, 4, None));
}

#[test]
fn vllm_sends_an_empty_event_where_a_token_ends_inside_a_character() {
    let answer = capture_answer("openai-completions", "vllm-0.32.0-tiny", "completions_stream_t1");
    assert_eq!((answer.events.len(), answer.empty_events), (63, 1));
    assert_eq!(answer.usage, usage(2, 64, None), "one token more than events");
}

#[test]
fn vllm_ends_on_eos_with_an_empty_delta() {
    let answer = capture_answer("openai-chat", "vllm-0.32.0-smollm2", "chat_stream_eos");
    assert_eq!((answer.events.len(), answer.empty_events), (20, 2), "role and EOS");
    assert_eq!(answer.usage, usage(38, 21, None), "the EOS token is counted");
    assert_eq!(answer.finish_reason.as_deref(), Some("stop"));
}

#[test]
fn vllm_role_event_before_the_first_token_is_no_content() {
    let got = capture("vllm-0.32.0-smollm2/chat_stream_t1");
    let first_event = got.body.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
    let reads = [&got.body[..first_event], &got.body[first_event..]];
    let answer = decode(&*protocol("openai-chat", true), got.status, &got.headers, reads, BodyEnd::Complete);
    assert_eq!(answer.events[0].at, 2, "the stamp of the second read");
}

#[test]
fn vllm_continuous_usage_counts_each_event_and_the_total_once() {
    let answer = capture_answer("openai-completions", "vllm-0.32.0-smollm2", "completions_stream_contusage");
    assert_eq!(tokens(&answer), [Some(1); 12]);
    assert_eq!(answer.usage, usage(3, 12, None));
}

#[test]
fn continuous_usage_gives_tokens_of_empty_events_to_the_next_content() {
    let event = |text: &str, tokens: u64| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":null}}],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{tokens}}}}}\n\n"
        )
    };
    // Counts 1, 2, 3, 6: the empty second event's token belongs to the third, 3 - 1 = 2; then 6 - 3 = 3.
    let body = [event("a", 1), event("", 2), event("b", 3), event("cde", 6)].concat() + "data: [DONE]\n\n";
    let answer = stream("openai-completions", &body);
    assert_eq!(tokens(&answer), [Some(1), Some(2), Some(3)]);
    assert_eq!((answer.empty_events, answer.usage), (1, usage(5, 6, None)));
}

#[test]
fn continuous_usage_of_two_choices_is_counted_by_choice() {
    let event = |index: u32, text: &str, tokens: u64| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"text\":\"{text}\"}}],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":{tokens}}}}}\n\n"
        )
    };
    // Choice 0 counts 1, 3; choice 1 counts 2, 3.
    let body = [event(0, "a", 1), event(1, "b", 2), event(0, "c", 3), event(1, "d", 3)].concat();
    let total = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":6}}\n\ndata: [DONE]\n\n";
    let answer = stream("openai-completions", &(body + total));
    assert_eq!(tokens(&answer), [Some(1), Some(2), Some(2), Some(1)]);
    assert_eq!(answer.usage, usage(3, 6, None));
}

#[test]
fn token_ids_are_counted_and_an_empty_event_carries_its_own_over() {
    let event = |text: &str, ids: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"token_ids\":{ids}}}]}}\n\n")
    };
    let body = [event("a", "[7]"), event("", "[8]"), event("bc", "[9,10]"), event("d", "null")].concat();
    let answer = stream("openai-completions", &(body + "data: [DONE]\n\n"));
    assert_eq!(tokens(&answer), [Some(1), Some(3), None], "1, 1 + 2, not said");
}

#[test]
fn vllm_sums_two_choices_in_one_usage_event() {
    let answer = capture_answer("openai-completions", "vllm-0.32.0-smollm2", "completions_n2");
    assert_eq!((answer.events.len(), answer.usage), (8, usage(3, 8, None)));
}

#[test]
fn vllm_errors_of_streamed_requests_are_json_with_a_status() {
    let answer = capture_answer("openai-completions", "vllm-0.32.0-tiny", "err_bad_model_stream");
    let message = "The model `no-such-model` does not exist. Valid aliases: tiny-llama3.";
    assert_eq!(in_band(&answer), ("server_error", "http_404", Some(message)));
    let answer = capture_answer("openai-completions", "vllm-0.32.0-tiny", "err_404");
    assert_eq!(in_band(&answer), ("server_error", "http_404", Some("Not Found")));
    let answer = capture_answer("openai-chat", "vllm-0.32.0-tiny", "err_missing_messages");
    let (.., detail) = in_band(&answer);
    assert!(detail.unwrap().starts_with("1 validation error: {'type': 'missing'"), "{detail:?}");
}

#[test]
fn vllm_and_gateways_finish_with_error_or_abort_when_they_give_up() {
    for reason in ["error", "abort"] {
        let body = format!(
            "data: {{\"choices\":[{{\"index\":0,\"text\":\"a\"}}]}}\n\ndata: {{\"choices\":[{{\"index\":0,\"text\":\"\",\"finish_reason\":\"{reason}\"}}]}}\n\ndata: [DONE]\n\n"
        );
        let answer = stream("openai-completions", &body);
        let detail = format!("finish reason `{reason}`");
        assert_eq!(in_band(&answer), ("server_error", "finish_error", Some(detail.as_str())));
    }
}

// llama.cpp

#[test]
fn llamacpp_may_open_with_a_literal_null() {
    for folder in ["llama-server-b11434", "llamacpp-xllamacpp-smollm2"] {
        let got = capture(&format!("{folder}/completions_two_prompts"));
        assert!(got.body.starts_with(b"data: null\n\n"));
        let answer = capture_answer("openai-completions", folder, "completions_two_prompts");
        assert_eq!((answer.outcome, answer.events.len(), answer.empty_events), (Outcome::Completed, 8, 3));
    }
}

#[test]
fn llamacpp_sends_usage_for_each_choice() {
    let answer = capture_answer("openai-completions", "llama-server-b11434", "completions_n2");
    assert_eq!(answer.usage, usage(6, 8, Some(4)), "twice 3, 4 and 2");
    let answer = capture_answer("openai-completions", "llama-server-b11434", "completions_two_prompts");
    assert_eq!(answer.usage, usage(7, 8, Some(2)), "4 + 3, 4 + 4, 0 + 2");
}

#[test]
fn llamacpp_chat_sends_a_usage_event_without_choices_for_each_choice() {
    let end = |index: u32, output: u64| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\ndata: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":24,\"completion_tokens\":{output}}}}}\n\n"
        )
    };
    let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let answer = stream("openai-chat", &[content, &end(1, 4), &end(0, 5), "data: [DONE]\n\n"].concat());
    assert_eq!(answer.usage, usage(48, 9, None));
}

#[test]
fn a_repeated_usage_event_is_not_summed() {
    let usage_event = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1}}\n\n";
    let content = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n";
    let answer = stream("openai-completions", &[content, usage_event, usage_event, "data: [DONE]\n\n"].concat());
    assert_eq!(answer.usage, usage(2, 1, None));
}

#[test]
fn llamacpp_role_and_first_token_in_one_chunk_blur_nothing() {
    let got = capture("llama-server-b11434/chat_stream_usage");
    let events = memchr::memmem::find_iter(&got.body, b"\n\n").take(2).last().unwrap() + 2;
    let reads = [&got.body[..events], &got.body[events..]];
    let answer = decode(&*protocol("openai-chat", true), got.status, &got.headers, reads, BodyEnd::Complete);
    assert_eq!((answer.events[0].at, answer.events[0].coalesced), (1, false));
    assert_eq!(&*answer.events[0].text, "Gra");
}

#[test]
fn llamacpp_completions_send_usage_unasked_and_chat_does_not() {
    let answer = capture_answer("openai-completions", "llama-server-b11434", "completions_stream_nousage");
    assert_eq!(answer.usage, usage(3, 12, Some(2)));
    assert_eq!(tokens(&answer), [None; 12], "usage at the end is no continuous usage");
    let answer = capture_answer("openai-chat", "llama-server-b11434", "chat_stream_nousage");
    assert_eq!((answer.outcome, answer.usage), (Outcome::Completed, None));
}

#[test]
fn llamacpp_answers_an_empty_prompt_with_nothing() {
    let got = capture("llama-server-b11434/err_empty_prompt");
    let protocol = protocol("openai-completions", false);
    let answer = decode(&*protocol, got.status, &got.headers, [&got.body[..]], BodyEnd::Complete);
    assert_eq!((answer.outcome, answer.usage), (Outcome::Empty, usage(0, 0, Some(0))));
}

#[test]
fn llamacpp_generates_without_end_until_the_timeout() {
    // The capture of `max_tokens` 999999 holds no byte: nothing came in 120 s.
    let path = super::wire().join("llamacpp-xllamacpp-smollm2/err_max_tokens_too_big.resp");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
    let answer = protocol("openai-completions", false).decoder().finish(BodyEnd::TimedOut);
    assert_eq!(in_band(&answer), ("timed_out", "timeout_before_headers", None));
}

#[test]
fn llamacpp_of_old_reports_errors_in_a_field_of_their_own() {
    let body = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\nerror: {\"code\":500,\"message\":\"slot failed\",\"type\":\"server_error\"}\n\n";
    assert_eq!(in_band(&stream("openai-completions", body)), ("server_error", "in_band_error", Some("slot failed")));
}

// Triton

#[test]
fn triton_fails_mid_stream_with_a_string_error() {
    let body = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: {\"error\":\"simulated engine failure mid-stream\"}\n\n";
    let answer = stream("openai-completions", body);
    let want = ("server_error", "in_band_error", Some("simulated engine failure mid-stream"));
    assert_eq!(in_band(&answer), want);
    assert_eq!(answer.events.len(), 1, "what came before is kept");
}

#[test]
fn triton_fails_at_first_with_400_and_an_event_as_body() {
    let body = b"data: {\"error\":\"simulated engine failure\"}\n\n";
    let headers = content_type("text/event-stream; charset=utf-8");
    let protocol = protocol("openai-completions", true);
    let answer = decode(&*protocol, StatusCode::BAD_REQUEST, &headers, [&body[..]], BodyEnd::Complete);
    assert_eq!(in_band(&answer), ("server_error", "http_400", Some("simulated engine failure")));
}

#[test]
fn triton_reports_an_error_in_a_whole_answer_of_status_200() {
    let body = b"{\"error\":\"generate expects model to produce exactly 1 response\"}";
    for stream in [false, true] {
        let protocol = protocol("openai-completions", stream);
        let headers = content_type("application/json");
        let answer = decode(&*protocol, StatusCode::OK, &headers, [&body[..]], BodyEnd::Complete);
        let message = "generate expects model to produce exactly 1 response";
        assert_eq!(in_band(&answer), ("server_error", "in_band_error", Some(message)));
    }
}

// TGI

#[test]
fn tgi_completions_have_an_empty_finish_reason_until_the_end() {
    let body = "data: {\"object\":\"text_completion\",\"id\":\"\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\" any\",\"logprobs\":null,\"finish_reason\":\"\"}]}\n\n\
data: {\"object\":\"text_completion\",\"id\":\"\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\" orbit\",\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":12,\"total_tokens\":15}}\n\ndata: [DONE]\n\n";
    let answer = stream("openai-completions", body);
    assert_eq!((answer.outcome, text_of(&answer).as_str()), (Outcome::Completed, " any orbit"));
    assert_eq!((answer.finish_reason.as_deref(), answer.usage), (Some("length"), usage(3, 12, None)));
    assert_eq!(tokens(&answer), [None, None], "a total on the last event is no count of that event");
    // The same stream broken off after the first event has seen no finish.
    let cut = body.split_inclusive("\n\n").next().unwrap();
    assert_eq!(in_band(&stream("openai-completions", cut)), ("truncated", "no_end", None));
}

#[test]
fn tgi_chat_repeats_the_role_and_sends_null_usage() {
    let body = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"b\"},\"finish_reason\":\"length\"}],\"usage\":null}\n\n\
data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let answer = stream("openai-chat", body);
    assert_eq!((text_of(&answer).as_str(), answer.empty_events, answer.usage), ("ab", 0, usage(3, 2, None)));
}

#[test]
fn tgi_reports_overload_inside_the_stream_and_then_says_done() {
    let table = [
        (
            "{\"error\":{\"message\":\"Model is overloaded\",\"http_status_code\":422}}",
            "rate_limited",
            "in_band_overload",
        ),
        ("{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}", "rate_limited", "in_band_overload"),
        ("{\"error\":{\"message\":\"wait\",\"http_status_code\":429}}", "rate_limited", "in_band_overload"),
        (
            "{\"error\":{\"message\":\"`inputs` is too long\",\"http_status_code\":422}}",
            "server_error",
            "in_band_error",
        ),
    ];
    for (event, outcome, code) in table {
        let answer = stream("openai-chat", &format!("data: {event}\n\ndata: [DONE]\n\n"));
        let (got_outcome, got_code, detail) = in_band(&answer);
        assert_eq!((got_outcome, got_code), (outcome, code), "{event}");
        assert!(event.contains(detail.unwrap()));
    }
}

#[test]
fn tgi_errors_without_stream() {
    let table = [
        (
            429,
            "application/json",
            "{\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}",
            "rate_limited",
            Some("Model is overloaded"),
        ),
        (
            422,
            "application/json",
            "{\"error\":\"`inputs` is too long\",\"error_type\":\"validation\"}",
            "server_error",
            Some("`inputs` is too long"),
        ),
        (
            400,
            "text/plain; charset=utf-8",
            "Failed to parse the request body as JSON: EOF",
            "server_error",
            Some("Failed to parse the request body as JSON: EOF"),
        ),
        (404, "text/plain", "", "server_error", None),
    ];
    for (status, media, body, outcome, detail) in table {
        let protocol = protocol("openai-completions", false);
        let status = StatusCode::from_u16(status).unwrap();
        let answer = decode(&*protocol, status, &content_type(media), [body.as_bytes()], BodyEnd::Complete);
        assert_eq!(in_band(&answer), (outcome, format!("http_{}", status.as_u16()).as_str(), detail));
    }
}

// transformers serve

#[test]
fn transformers_serve_never_says_done_nor_null_finish_reasons() {
    let body = "data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"role\":\"assistant\"},\"index\":0}],\"model\":\"DIR@main\"}\n\n\
data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":0}],\"model\":\"DIR@main\"}\n\n\
data: {\"id\":\"x\",\"choices\":[{\"delta\":{},\"finish_reason\":\"length\",\"index\":0}],\"model\":\"DIR@main\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n";
    let answer = stream("openai-chat", body);
    assert_eq!((answer.outcome, answer.events.len(), answer.empty_events), (Outcome::Completed, 1, 2));
    assert_eq!((answer.model.as_deref(), answer.usage), (Some("DIR@main"), usage(9, 1, None)));
}

#[test]
fn transformers_serve_errors() {
    let body = "data: {\"error\": \"`max_new_tokens` must be greater than 0, but is 0.\"}\n\n";
    let message = "`max_new_tokens` must be greater than 0, but is 0.";
    assert_eq!(in_band(&stream("openai-chat", body)), ("server_error", "in_band_error", Some(message)));
    let protocol = protocol("openai-chat", true);
    let plain = content_type("text/plain; charset=utf-8");
    let body = b"Internal Server Error";
    let answer = decode(&*protocol, StatusCode::INTERNAL_SERVER_ERROR, &plain, [&body[..]], BodyEnd::Complete);
    assert_eq!(in_band(&answer), ("server_error", "http_500", Some("Internal Server Error")));
    let body = br#"{"detail":[{"type":"json_invalid","loc":["body",28],"msg":"JSON decode error","input":{}}]}"#;
    let json = content_type("application/json");
    let answer = decode(&*protocol, StatusCode::UNPROCESSABLE_ENTITY, &json, [&body[..]], BodyEnd::Complete);
    assert_eq!(in_band(&answer), ("server_error", "http_422", Some("JSON decode error")));
}

// Not captured anywhere, but documented

#[test]
fn crlf_and_ping_comments() {
    let answer = stream(
        "openai-completions",
        ": ping - 2026-11-22 07:40:04\r\n\r\ndata: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\r\n\r\n: ping\r\n\r\ndata: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n",
    );
    assert_eq!((answer.outcome, text_of(&answer).as_str()), (Outcome::Completed, "ab"));
    assert_eq!((answer.events.len(), answer.empty_events), (2, 0), "a comment is no event");
}

#[test]
fn reasoning_under_either_name_and_only_once() {
    let answer = chat_of(&[
        r#"{"role":"assistant","content":null,"reasoning_content":"think"}"#,
        r#"{"reasoning":" more"}"#,
        r#"{"reasoning":" both","reasoning_content":" both"}"#,
        r#"{"reasoning":""}"#,
        r#"{"content":"answer"}"#,
    ]);
    let seen: Vec<_> = answer.events.iter().map(|event| (event.kind, &*event.text)).collect();
    let reasoning = ContentKind::Reasoning;
    assert_eq!(seen, [(reasoning, "think"), (reasoning, " more"), (reasoning, " both"), (ContentKind::Text, "answer")]);
    assert_eq!(answer.empty_events, 2, "the empty one and the finish");
}

#[test]
fn reasoning_that_ends_where_text_begins_is_one_event() {
    let answer = chat_of(&[r#"{"reasoning_content":"so","content":"Yes"}"#]);
    assert_eq!(answer.events.len(), 1, "one stamp, not a gap of zero");
    assert_eq!((answer.events[0].kind, &*answer.events[0].text), (ContentKind::Text, "soYes"));
}

#[test]
fn tool_calls_count_by_their_arguments() {
    let answer = chat_of(&[
        r#"{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"weather","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"\"Oslo\"}"}}]}"#,
        r#"{"function_call":{"arguments":"!"}}"#,
    ]);
    assert!(answer.events.iter().all(|event| event.kind == ContentKind::ToolCall));
    assert_eq!(text_of(&answer), "{\"city\":\"Oslo\"}!");
    assert_eq!((answer.events.len(), answer.empty_events), (3, 2), "a name alone is no content");
    assert_eq!(answer.outcome, Outcome::Completed);
}

#[test]
fn content_as_a_list_of_parts_and_a_refusal() {
    let answer = chat_of(&[
        r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
        r#"{"refusal":"I can not."}"#,
    ]);
    assert_eq!(text_of(&answer), "abI can not.");
}

#[test]
fn keys_that_change_in_every_event_do_not_disturb() {
    let mut body = String::new();
    for n in 0..20 {
        body.push_str(&format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"t{n}\"}}}}],\"obfuscation\":\"{}\"}}\n\n",
            "x".repeat(n % 7)
        ));
    }
    let answer = stream("openai-chat", &(body + "data: [DONE]\n\n"));
    assert_eq!(answer.events.len(), 20);
    assert_eq!(text_of(&answer), (0..20).map(|n| format!("t{n}")).collect::<String>());
}

#[test]
fn a_gateway_reports_an_error_with_a_choice_beside_it() {
    let body = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n: OPENROUTER PROCESSING\n\n\
data: {\"error\":{\"code\":429,\"message\":\"Provider is busy\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\ndata: [DONE]\n\n";
    assert_eq!(in_band(&stream("openai-chat", body)), ("rate_limited", "in_band_overload", Some("Provider is busy")));
}

#[test]
fn events_named_error_are_errors_whatever_they_hold() {
    for (event, detail) in [("{\"message\":\"boom\"}", "boom"), ("boom", "boom"), ("\"boom\"", "boom")] {
        let body = format!("event: error\ndata: {event}\n\n");
        assert_eq!(in_band(&stream("openai-chat", &body)), ("server_error", "in_band_error", Some(detail)));
    }
    let answer = stream("openai-chat", "event: error\ndata: Model is overloaded\n\n");
    assert_eq!(in_band(&answer), ("rate_limited", "in_band_overload", Some("Model is overloaded")));
}

#[test]
fn whole_answers_keep_their_text_for_the_tokenizer() {
    let body = br#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant","reasoning_content":"so ","content":"yes","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    let protocol = protocol("openai-chat", false);
    let json = content_type("application/json");
    let answer = decode(&*protocol, StatusCode::OK, &json, body.chunks(5), BodyEnd::Complete);
    assert_eq!((answer.outcome, answer.body_text.as_deref()), (Outcome::Completed, Some("so yes{}")));
    assert_eq!((answer.events.len(), answer.usage), (0, None));
}
