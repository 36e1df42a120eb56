//! The measured window, by hand.

use llm_bench::measure::timeline::Phase;
use llm_bench::workload::{Window, WorkloadError};

use super::{build, plain, try_build};

const S: u64 = 1_000_000_000;

fn window(load: &str, phases: &str) -> Window {
    build(&plain(load, phases), 1).open().unwrap().window().clone()
}

/// 10 arrivals per second: 0, 0.1, 0.2, … s.
const TEN: &str = "kind = \"constant\"\nrate_per_s = 10";

#[test]
fn a_duration_is_the_length_of_the_window() {
    // Arrivals at 2.0, 2.1, … 4.9 s: 30; the one at 5.0 s is outside.
    let found = window(TEN, "warmup = \"2s\"\nmeasure = { duration = \"3s\" }");
    assert_eq!((found.warmup_end_ns, found.measure_end_ns, found.warmup, found.measured), (2 * S, 5 * S, 20, 30));
    assert_eq!((found.warmup_by_class, found.measured_by_class), (vec![20], vec![30]));
}

#[test]
fn requests_end_the_window_at_the_next_arrival() {
    // 500 requests at 10 per second are a 50 s window: 2.0 … 51.9 s, the next at 52 s.
    let found = window(TEN, "warmup = \"2s\"\nmeasure = { requests = 500 }");
    assert_eq!((found.measure_end_ns, found.measured), (52 * S, 500));
    // Warm-up of 0.25 s: the first measured arrival is at 0.3 s, the fifth at 0.7 s, the next at 0.8 s.
    let found = window(TEN, "warmup = \"250ms\"\nmeasure = { requests = 5 }");
    assert_eq!((found.measure_end_ns, found.measured, found.warmup), (S / 10 * 8, 5, 3));
}

#[test]
fn the_other_limit_bounds_the_window() {
    let warmup = "warmup = \"0s\"\n";
    // 10 s would hold 100 requests; the 41st arrives at 4.0 s.
    let found = window(TEN, &format!("{warmup}measure = {{ duration = \"10s\", max_requests = 40 }}"));
    assert_eq!((found.measure_end_ns, found.measured), (4 * S, 40));
    // 1 s holds 10; the 26th arrives at 2.5 s.
    let found = window(TEN, &format!("{warmup}measure = {{ duration = \"1s\", min_requests = 25 }}"));
    assert_eq!((found.measure_end_ns, found.measured), (S / 10 * 25, 25));
    // Limits that do not bind change nothing.
    let loose = "measure = { duration = \"1s\", min_requests = 3, max_requests = 99 }";
    let found = window(TEN, &format!("{warmup}{loose}"));
    assert_eq!((found.measure_end_ns, found.measured), (S, 10));
    // 5 requests are there after 0.5 s; the window waits for 2 s and holds 20.
    let found = window(TEN, &format!("{warmup}measure = {{ requests = 5, min_duration = \"2s\" }}"));
    assert_eq!((found.measure_end_ns, found.measured), (2 * S, 20));
    // 500 requests would take 50 s; 3 s hold 30.
    let found = window(TEN, &format!("{warmup}measure = {{ requests = 500, max_duration = \"3s\" }}"));
    assert_eq!((found.measure_end_ns, found.measured), (3 * S, 30));
    // 5 requests within both bounds.
    let both = "measure = { requests = 5, min_duration = \"100ms\", max_duration = \"3s\" }";
    let found = window(TEN, &format!("{warmup}{both}"));
    assert_eq!((found.measure_end_ns, found.measured), (S / 2, 5));
}

#[test]
fn a_single_burst_is_measured_whole() {
    let found = window("kind = \"burst\"\nsize = 7", "warmup = \"2s\"\nmeasure = { duration = \"3s\" }");
    assert_eq!((found.warmup_end_ns, found.measure_end_ns), (2 * S, 5 * S));
    assert_eq!((found.warmup, found.measured), (0, 7));
}

#[test]
fn a_limit_inside_a_burst_is_kept_by_index() {
    // Bursts of 4 at 0, 1, 2 s; 6 requests are the first burst and half of the second.
    let load = "kind = \"burst\"\nsize = 4\nevery = \"1s\"";
    let found = window(load, "warmup = \"0s\"\nmeasure = { requests = 6 }");
    assert_eq!((found.measured, found.measure_end_ns), (6, S + 1));
    let phases: Vec<Phase> = (4..8).map(|index| found.phase(index)).collect();
    assert_eq!(phases, [Phase::Measure, Phase::Measure, Phase::Drain, Phase::Drain]);
    // 8 requests: both bursts whole, until the third.
    let found = window(load, "warmup = \"0s\"\nmeasure = { requests = 8 }");
    assert_eq!((found.measured, found.measure_end_ns), (8, 2 * S));
}

#[test]
fn phases_follow_from_the_times() {
    let traffic =
        build(&plain("kind = \"poisson\"\nrate_per_s = 40", "warmup = \"1s\"\nmeasure = { duration = \"2s\" }"), 5);
    let open = traffic.open().unwrap();
    let window = open.window();
    let mut measured = 0;
    for arrival in open.schedule().take_while(|arrival| arrival.at < 5 * S) {
        let by_time = match arrival.at {
            at if at < window.warmup_end_ns => Phase::Warmup,
            at if at < window.measure_end_ns => Phase::Measure,
            _ => Phase::Drain,
        };
        assert_eq!(window.phase(arrival.index), by_time, "{arrival:?}");
        measured += u64::from(by_time == Phase::Measure);
    }
    assert_eq!(measured, window.measured);
    assert_eq!(window.duration_ns(), 2 * S);
}

#[test]
fn the_closed_loop_asks_the_rule_as_requests_come_due() {
    let rule = |measure: &str| {
        let phases = format!("warmup = \"1s\"\nmeasure = {{ {measure} }}");
        build(&plain("kind = \"users\"\nusers = 2", &phases), 1).closed().unwrap().rule
    };
    let duration = rule("duration = \"2s\"");
    assert!(!duration.ended(3 * S - 1, 1000) && duration.ended(3 * S, 0));
    assert_eq!(duration.ends_at(0), Some(3 * S));
    let at_least = rule("duration = \"2s\", min_requests = 5");
    assert!(!at_least.ended(9 * S, 4) && at_least.ended(9 * S, 5) && !at_least.ended(2 * S, 5));
    assert_eq!((at_least.ends_at(4), at_least.ends_at(5)), (None, Some(3 * S)));
    let at_most = rule("duration = \"2s\", max_requests = 5");
    assert!(at_most.ended(2 * S, 5) && !at_most.ended(2 * S, 4));
    let requests = rule("requests = 5, min_duration = \"2s\", max_duration = \"4s\"");
    assert!(!requests.ended(3 * S, 4) && requests.ended(3 * S, 5) && requests.ended(5 * S, 0));
    assert_eq!(requests.ends_at(0), Some(5 * S));
}

#[test]
fn impossible_windows_are_refused_with_their_key() {
    let problem = |load: &str, measure: &str| {
        let phases = format!("measure = {{ {measure} }}");
        match try_build(&plain(load, &phases), 1) {
            Err(WorkloadError::Settings(problems)) => {
                problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    let burst = "kind = \"burst\"\nsize = 4";
    for (load, measure, expected) in [
        (TEN, "duration = \"1s\", requests = 5", "phases.measure: `duration` and `requests` exclude each other"),
        (TEN, "min_requests = 5", "phases.measure: needs either `duration` or `requests`"),
        (
            TEN,
            "requests = 5, max_requests = 6",
            "phases.measure.max_requests: `max_requests` goes with `duration`, not with `requests`",
        ),
        (
            TEN,
            "duration = \"1s\", min_requests = 6, max_requests = 5",
            "phases.measure.min_requests: `min_requests` 6 is greater than `max_requests` 5",
        ),
        (TEN, "duration = \"0s\"", "phases.measure.duration: `duration` must be longer than 0s"),
        (
            burst,
            "requests = 4",
            "phases.measure.requests: a single burst is measured for a `duration`: its requests are all due at once",
        ),
        (
            burst,
            "duration = \"1s\", min_requests = 5",
            "phases.measure.min_requests: a single burst of 4 never reaches 5 requests",
        ),
    ] {
        assert_eq!(problem(load, measure), [expected]);
    }
}
