//! Every metric of fixed timelines, by hand.

use super::*;
use crate::measure::timeline::Reason;
use crate::report::model::{Loop, TokenAttribution};
use crate::report::requests::OutputSource;

/// Due at 2000 ms; taken up 2 ms late; 3 ms for a slot; 4 ms for a connection, 5 with TLS; sent at 2011.
fn full() -> Timeline {
    let mut timeline = completed(
        2000,
        vec![
            ContentEvent { kind: ContentKind::Reasoning, ..event(2111, Some(2), "hm hm ") },
            event(2151, Some(3), "one two three "),
            event(2161, Some(1), "four"),
            event(2261, Some(4), " five six seven eight"),
        ],
    );
    timeline.stamps = Stamps {
        intended: 2000 * MS,
        dispatched: Some(2002 * MS),
        slot: Some(2005 * MS),
        connect_start: Some(2005 * MS),
        connected: Some(2009 * MS),
        tls: Some(2010 * MS),
        sent: Some(2011 * MS),
        headers: Some(2100 * MS),
        end: Some(2270 * MS),
    };
    timeline.answer.usage = usage(12, 10);
    timeline.answer.empty_events = 2;
    timeline
}

#[test]
fn a_streamed_request_by_hand() {
    let (point, records) = measure(spec(vec![class("base")]), vec![full()]);
    // Events at 2111, 2151, 2161, 2261; tokens 2, 3, 1, 4 = 10 = usage.
    for (name, count, expected) in [
        ("ttft_ms", 1, 111.0),         // 2111 − 2000
        ("ttft_answer_ms", 1, 151.0),  // 2151 − 2000
        ("ttft_service_ms", 1, 100.0), // 2111 − 2011
        ("itl_ms", 3, 50.0),           // (40 + 10 + 100) / 3
        ("tbt_ms", 8, 18.75),          // 3 of 40/3, 1 of 10, 4 of 25: 150 / 8
        ("tpot_ms", 1, 18.75),         // (2261 − 2111) / (10 − 2)
        ("ntpot_ms", 1, 26.1),         // 261 / 10
        ("e2e_ms", 1, 261.0),          // 2261 − 2000: the last event, not the last byte
        ("e2e_service_ms", 1, 250.0),  // 2261 − 2011
        ("dispatch_lag_ms", 1, 2.0),
        ("slot_wait_ms", 1, 3.0),
        ("connect_wait_ms", 1, 5.0), // TLS end − start
        ("schedule_lag_ms", 1, 11.0),
        ("input_tokens", 1, 12.0), // usage before the tokenizer's 11
        ("output_tokens", 1, 10.0),
        ("output_tokens_per_s", 1, 38.314_176), // 10 / 0.261 s
    ] {
        let (seen, mean) = mean(&point, name);
        assert_eq!(seen, count, "{name}");
        near(mean, expected);
    }
    // tbt: smallest 10, largest 25 ms, and the three thirds of 40 ms add up to the nanosecond.
    near(point.metrics["tbt_ms"].min, 10.0);
    near(point.metrics["tbt_ms"].max, 25.0);
    assert_eq!(point.metrics["tbt_ms"].histogram.sum, "150000000");
    assert_eq!(point.token_attribution, Some(TokenAttribution::Server));
    assert_eq!(point.tokens.empty_events, 2);
    assert_eq!(point.classes["base"].metrics, point.metrics);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].events.as_ref().unwrap().gaps_ns, [40 * MS, 10 * MS, 100 * MS]);
}

#[test]
fn rates_and_throughput_of_a_ten_second_window() {
    let (point, _) =
        measure(spec(vec![class("base")]), vec![full(), with_ttft(3000, 50), failed(4000, Outcome::TimedOut)]);
    near(point.rates.offered_per_s.unwrap(), 0.3);
    near(point.rates.started_per_s.unwrap(), 0.3);
    near(point.rates.completed_per_s.unwrap(), 0.2);
    near(point.throughput.requests_per_s.unwrap(), 0.2);
    near(point.throughput.output_tokens_per_s.unwrap(), 1.2); // (10 + 2) / 10 s
    near(point.throughput.input_tokens_per_s.unwrap(), 2.3); // (12 by usage + 11 by tokenizer) / 10 s
    assert_eq!((point.outcomes.planned, point.outcomes.completed, point.outcomes.timed_out), (3, 2, 1));
    assert_eq!(point.loop_kind, Loop::Open);
}

#[test]
fn window_edges() {
    // Window [1000, 11000) ms. The warm-up request completes inside with one of its two tokens before the
    // start; the measured one completes after the end with its first token exactly at the end.
    let mut warmup = completed(900, vec![event(999, Some(1), "a"), event(1000, Some(1), "b")]);
    warmup.phase = Phase::Warmup;
    warmup.answer.usage = usage(7, 2);
    let inside = completed(1000, vec![event(1500, Some(1), "a"), event(10_999, Some(1), "b")]);
    let after = completed(10_999, vec![event(11_000, Some(1), "a"), event(11_010, Some(1), "b")]);
    let mut drain = completed(11_000, vec![event(11_500, Some(1), "a")]);
    drain.phase = Phase::Drain;
    let (point, records) = measure(spec(vec![class("base")]), vec![warmup, inside, after, drain]);
    near(point.throughput.requests_per_s.unwrap(), 0.2); // warm-up and inside
    near(point.throughput.output_tokens_per_s.unwrap(), 0.3); // one of warm-up, two of inside
    near(point.throughput.input_tokens_per_s.unwrap(), 1.1); // the warm-up's first token came before
    near(point.rates.completed_per_s.unwrap(), 0.2); // inside and after: measured, whenever they ended
    assert_eq!((point.outcomes.planned, point.outcomes.completed), (2, 2));
    assert_eq!(point.phases.warmup.outcomes.completed, 1);
    assert_eq!((point.phases.drain.outcomes.planned, point.phases.drain.outcomes.completed), (1, 1));
    assert_eq!(records.len(), 2, "one line a measured request");
}

#[test]
fn without_streaming_only_the_end_counts() {
    let mut timeline = completed(2000, Vec::new());
    timeline.streamed = false;
    timeline.stamps.end = Some(2400 * MS);
    timeline.answer.body_text = Some("five words make five tokens".into());
    let spec = spec(vec![ClassSpec { tokenizer: words(), ..class("base") }]);
    let (point, records) = measure(spec, vec![timeline]);
    near(mean(&point, "e2e_ms").1, 400.0);
    near(mean(&point, "ntpot_ms").1, 80.0); // 400 / 5
    near(mean(&point, "output_tokens_per_s").1, 12.5);
    for absent in ["ttft_ms", "ttft_answer_ms", "ttft_service_ms", "itl_ms", "tbt_ms", "tpot_ms"] {
        assert!(!point.metrics.contains_key(absent), "{absent}");
    }
    assert_eq!(records[0].tokens.output_source, Some(OutputSource::Tokenizer));
    near(point.throughput.output_tokens_per_s.unwrap(), 0.5);
    assert_eq!(point.token_attribution, None);
}

#[test]
fn tpot_is_absent_where_it_is_undefined() {
    let single_event = completed(2000, vec![event(2100, Some(1), "a")]);
    // All ten tokens are in the first event as far as anybody knows.
    let mut all_first = completed(2000, vec![event(2100, Some(10), "a"), event(2200, Some(0), "b")]);
    all_first.answer.usage = usage(5, 10);
    let (point, _) = measure(spec(vec![class("base")]), vec![single_event, all_first]);
    assert!(!point.metrics.contains_key("tpot_ms"));
    assert_eq!(mean(&point, "e2e_ms"), (2, 150.0));
}

#[test]
fn tokens_of_an_event_by_the_best_source() {
    // The server counts the first event; the tokenizer counts "b c" as 2; the weakest source names it.
    let events = || vec![event(2100, Some(4), "a"), event(2200, None, "b c")];
    let with_tokenizer = spec(vec![ClassSpec { tokenizer: words(), ..class("base") }]);
    let (point, records) = measure(with_tokenizer, vec![completed(2000, events())]);
    assert_eq!(point.token_attribution, Some(TokenAttribution::Tokenizer));
    assert_eq!(records[0].events.as_ref().unwrap().tokens, [4, 2]);
    // No usage: the tokenizer counts the joined text "ab c" as 2, not the 4 + 2 of the events.
    assert_eq!((records[0].tokens.output, records[0].tokens.output_source), (Some(2), Some(OutputSource::Tokenizer)));
    assert_eq!(mean(&point, "tbt_ms"), (2, 50.0)); // 100 ms by two tokens

    let (point, records) = measure(spec(vec![class("base")]), vec![completed(2000, events())]);
    assert_eq!(point.token_attribution, Some(TokenAttribution::Assumed));
    assert_eq!(records[0].tokens.output_source, Some(OutputSource::Events));
    assert_eq!(mean(&point, "output_tokens"), (1, 5.0)); // 4 by the server + 1 assumed
    assert!(!point.metrics.contains_key("tbt_ms"), "assumed tokens make no TBT");
}

#[test]
fn an_event_without_a_token_hands_its_gap_on() {
    // Gaps 30 and 20; the second event is part of a token, the third completes it and another: 50 / 2.
    let timeline =
        completed(2000, vec![event(2100, Some(1), "a"), event(2130, Some(0), "b"), event(2150, Some(2), "c")]);
    let (point, _) = measure(spec(vec![class("base")]), vec![timeline]);
    assert_eq!(mean(&point, "tbt_ms"), (2, 25.0));
    assert_eq!(mean(&point, "itl_ms"), (2, 25.0));
}

#[test]
fn usage_is_what_throughput_counts() {
    // Two assumed events, usage says 10: one event inside the window gets half of them.
    let mut timeline = completed(10_000, vec![event(10_500, None, "a"), event(11_500, None, "b")]);
    timeline.answer.usage = usage(5, 10);
    let (point, _) = measure(spec(vec![class("base")]), vec![timeline]);
    near(point.throughput.output_tokens_per_s.unwrap(), 0.5);
}

#[test]
fn disagreement_of_usage_and_tokenizer_is_reported() {
    let mut timeline = completed(2000, vec![event(2100, None, "one "), event(2200, None, "two")]);
    timeline.answer.usage = usage(5, 3);
    let spec = spec(vec![ClassSpec { tokenizer: words(), ..class("base") }]);
    let (point, _) = measure(spec, vec![timeline, with_ttft(3000, 5)]);
    let seen = point.tokens.disagreement;
    assert_eq!((seen.compared, seen.differing, seen.usage, seen.tokenizer), (1, 1, 3, 2));
    assert_eq!((point.tokens.output_sources.usage, point.tokens.output_sources.tokenizer), (1, 1));
    assert_eq!((point.tokens.input.asked, point.tokens.input.measured), (22, 16)); // 11 + 11, 5 + 11
}

#[test]
fn a_closed_loop_offers_no_rate() {
    let mut spec = spec(vec![class("base")]);
    spec.closed_loop = true;
    spec.window_end_ns = None;
    let mut timeline = with_ttft(2000, 100);
    timeline.id = RequestId::Closed { user: 3, turn: 7 };
    // The window is closed at 11000 ms after a request that ended at 11050 was taken in.
    let late = completed(10_900, vec![event(11_050, Some(1), "a")]);
    let (point, records) = measure(spec, vec![timeline, late]);
    assert_eq!(point.loop_kind, Loop::Closed);
    assert_eq!(point.rates.offered_per_s, None);
    near(point.throughput.requests_per_s.unwrap(), 0.1);
    near(point.throughput.output_tokens_per_s.unwrap(), 0.2);
    assert_eq!(records[0].id, RequestId::Closed { user: 3, turn: 7 });
}

#[test]
fn distributions_hold_completed_requests_but_dispatch_lag_of_the_client_all() {
    let mut late = failed(3000, Outcome::TimedOut);
    late.stamps.dispatched = Some(3040 * MS);
    let mut partial = failed(4000, Outcome::Truncated);
    partial.answer.events = vec![event(4010, Some(1), "a")];
    let (point, _) = measure(spec(vec![class("base")]), vec![with_ttft(2000, 100), late, partial]);
    assert_eq!(mean(&point, "ttft_ms"), (1, 100.0));
    assert_eq!(mean(&point, "dispatch_lag_ms"), (1, 0.0));
    let client = point.client.dispatch_lag_ms.as_ref().unwrap();
    assert_eq!(client.count, 3);
    near(client.max, 40.0);
    assert_eq!((point.client.stamps, point.tokens.events), (3, 2));
}

#[test]
fn reasons_are_counted_with_the_first_detail() {
    let mut timelines = vec![with_ttft(2000, 100)];
    for (n, detail) in ["first line", "another"].into_iter().enumerate() {
        let mut timeline = failed(3000 + n as u64, Outcome::ServerError);
        timeline.answer.reason = Some(Reason { code: "http_500".to_owned(), detail: Some(detail.to_owned()) });
        timelines.push(timeline);
    }
    let (point, records) = measure(spec(vec![class("base")]), timelines);
    assert_eq!(point.errors.reasons.len(), 1);
    let reason = &point.errors.reasons[0];
    assert_eq!((reason.count, reason.detail.as_deref()), (2, Some("first line")));
    assert_eq!(records[2].reason.as_ref().unwrap().detail.as_deref(), Some("another"));
}

#[test]
fn classes_add_up_to_the_point() {
    let mut other = with_ttft(3000, 300);
    other.class = 1;
    let (point, _) = measure(spec(vec![class("base"), class("adapter")]), vec![with_ttft(2000, 100), other]);
    assert_eq!(mean(&point, "ttft_ms"), (2, 200.0));
    near(point.classes["base"].metrics["ttft_ms"].mean, 100.0);
    near(point.classes["adapter"].metrics["ttft_ms"].mean, 300.0);
    assert_eq!(point.outcomes.planned, 2);
    near(point.classes["adapter"].rates.offered_per_s.unwrap(), 0.1);
}

#[test]
fn a_window_without_length_divides_nothing() {
    let mut nothing = facts(&[1]);
    nothing.window_end_ns = nothing.window_start_ns;
    let mut spec = spec(vec![class("base")]);
    spec.window_end_ns = Some(spec.window_start_ns);
    let (point, _) = measure_with(spec, vec![with_ttft(1000, 5)], nothing);
    assert_eq!(point.rates, crate::report::model::Rates::default());
    assert!(!serde_json::to_string(&point).unwrap().contains("null"));
}

#[test]
fn the_order_of_arrival_at_the_accumulator_does_not_matter() {
    let slo = ttft_slo(Some(90.0), Some(80.0), Some(120.0));
    let spec = || spec(vec![ClassSpec { slo: Some(slo.clone()), ..class("base") }, class("other")]);
    let mut timelines: Vec<_> = (0..200_u64)
        .map(|n| {
            let mut timeline = if n % 9 == 0 {
                failed(2000 + n * 40, Outcome::TimedOut)
            } else {
                with_ttft(2000 + n * 40, 50 + n * n % 97)
            };
            timeline.class = u16::from(n % 3 == 0);
            timeline
        })
        .collect();
    let (forward, _) = measure(spec(), timelines.clone());
    timelines.reverse();
    let (backward, _) = measure(spec(), timelines);
    assert_eq!(serde_json::to_string(&forward).unwrap(), serde_json::to_string(&backward).unwrap());
}
