//! Users who come, think and go.

use llm_bench::plan::NoDatasets;
use llm_bench::plan::estimate::estimate;
use llm_bench::workload::ClosedLoop;
use statrs::distribution::{ContinuousCDF, LogNormal};

use super::arrivals::{kolmogorov_smirnov, mean_and_cv};
use super::{build, plain, try_build};

const S: u64 = 1_000_000_000;

fn closed(load: &str) -> ClosedLoop {
    build(&plain(&format!("kind = \"users\"\n{load}"), "warmup = \"10s\""), 1).closed().unwrap()
}

/// 2 users, from 10 s on rising to 6 over 4 s, then 3 for 5 s, 5 for 5 s, and down to 1 over 4 s.
const STAGES: &str = r#"users = 2
user_stages = [
    { kind = "linear", to_users = 6, duration = "4s" },
    { kind = "step", to_users = 3, duration = "5s" },
    { kind = "step", to_users = 5, duration = "4s" },
    { kind = "hold", duration = "1s" },
    { kind = "linear", to_users = 1, duration = "4s" },
]"#;

#[test]
fn users_join_and_leave_when_the_stages_say() {
    let closed = closed(STAGES);
    assert_eq!(closed.users, 6, "the most there ever are");
    let first: Vec<Option<u64>> = (0..6).map(|user| closed.first_due(user)).collect();
    // The ramp passes 3 users one second after its beginning, 4 after two, 5 after three; it reaches 6 where it ends, and
    // there the step to 3 begins: nobody sees the sixth.
    assert_eq!(first, [Some(0), Some(0), Some(11 * S), Some(12 * S), Some(13 * S), None]);
    // User 3 is there in [12, 14), and again from 19 s to the moment when fewer than 4 are left: 5 - t = 4, 25 s.
    let next = |user, end| closed.next_due(user, 0, end);
    assert_eq!(next(3, 13 * S), Some(13 * S));
    assert_eq!(next(3, 14 * S), Some(19 * S), "away, and back at the step");
    assert_eq!(next(3, 25 * S), Some(25 * S));
    assert_eq!(next(3, 25 * S + 1), None);
    // User 1 leaves when fewer than 2 are left: 27 s. User 0 stays.
    assert_eq!((next(1, 27 * S), next(1, 27 * S + 1)), (Some(27 * S), None));
    assert_eq!(next(0, 1000 * S), Some(1000 * S));
}

#[test]
fn a_user_leaves_after_its_last_request() {
    let closed = closed("users = 2\nrequests_per_user = 3\nthink_time = \"1s\"");
    let next: Vec<Option<u64>> = (0..3).map(|turn| closed.next_due(1, turn, 5 * S)).collect();
    assert_eq!(next, [Some(6 * S), Some(6 * S), None]);
    let short = plain("kind = \"users\"\nusers = 2\nrequests_per_user = 3", "measure = { requests = 7 }");
    let error = try_build(&short, 1).unwrap_err().to_string();
    assert!(error.contains("`load.requests_per_user`: all users together make 6 requests"), "{error}");
}

#[test]
fn pauses_follow_their_law_and_are_functions_of_user_and_turn() {
    // Law, mean in seconds, coefficient of variation, distribution.
    type Law = (&'static str, f64, f64, Box<dyn Fn(f64) -> f64>);
    let laws: [Law; 3] = [
        // Mean 3 s, sd 2 / √12.
        ("{ kind = \"uniform\", min = \"2s\", max = \"4s\" }", 3.0, 0.577_35 / 3.0, Box::new(|x| (x - 2.0) / 2.0)),
        // The bound is beyond all of them.
        ("{ kind = \"exponential\", mean = \"2s\", max = \"1h\" }", 2.0, 1.0, Box::new(|x| 1.0 - (-x / 2.0).exp())),
        // σ = ln 4 / 2.32635 = 0.595905; the mean is 2 e^(σ²/2) = 2.388, the cv √(e^σ² - 1) = 0.6527.
        ("{ kind = \"lognormal\", median = \"2s\", p99 = \"8s\", max = \"1h\" }", 2.388_6, 0.652_7, {
            let law = LogNormal::new(2_f64.ln(), 0.595_905).unwrap();
            Box::new(move |x| law.cdf(x))
        }),
    ];
    for (law, mean, cv, cdf) in laws {
        let closed = closed(&format!("users = 100\nthink_law = {law}"));
        let draw = |user, turn| closed.next_due(user, turn, 50 * S).unwrap() - 50 * S;
        let pauses: Vec<f64> =
            (0..100).flat_map(|user| (0..200).map(move |turn| draw(user, turn) as f64 / 1e9)).collect();
        let (found, found_cv) = mean_and_cv(&pauses);
        // Standard errors at most 1 / √20000 = 0.7 %.
        assert!((found / mean - 1.0).abs() < 0.025, "{law}: mean {found}");
        assert!((found_cv / cv - 1.0).abs() < 0.04, "{law}: cv {found_cv}");
        assert!(kolmogorov_smirnov(&pauses, cdf) < 1.95, "{law}");
        assert_eq!(draw(7, 9), draw(7, 9));
    }
    let cut = closed("users = 1\nthink_law = { kind = \"exponential\", mean = \"1s\", max = \"1s\" }");
    assert!((0..100).all(|turn| cut.think_ns(0, turn) <= S), "longer ones are shortened");
}

#[test]
fn a_plain_loop_is_what_it_was() {
    let closed = closed("users = 4\nramp = \"2s\"\nthink_time = \"50ms\"");
    assert!(closed.shape.is_none());
    assert_eq!(closed.first_due(3), Some(1_500_000_000));
    assert_eq!(closed.next_due(3, 8, S), Some(S + 50_000_000));
}

#[test]
fn estimates_count_the_users_there_are() {
    // 8 tokens: 0.25 + 8 · 0.02 = 0.41 s an answer, and 0.59 s of thinking: a request a second each. Warm-up 10 s × 2.
    // 4 s × (2 + 6) / 2 = 16, 5 × 3 = 15, 4 × 5 = 20, 5, 4 × 3 = 12: 68 in 18 s, and one a second after.
    let file = plain(
        &format!("kind = \"users\"\nthink_time = \"590ms\"\n{STAGES}"),
        "warmup = \"10s\"\nmeasure = { duration = \"20s\" }",
    );
    let it = estimate(&file, &NoDatasets);
    assert_eq!((it.warmup_requests, it.measure_requests), (20, 70));
    // Two users of five requests each are through after ten.
    let file = plain(
        "kind = \"users\"\nusers = 2\nthink_time = \"590ms\"\nrequests_per_user = 5",
        "warmup = \"2s\"\nmeasure = { duration = \"20s\" }",
    );
    let it = estimate(&file, &NoDatasets);
    assert_eq!((it.warmup_requests, it.measure_requests, it.drain_requests), (4, 6, 0));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cases = [
        (
            "users = 2\nthink_time = \"1s\"\nthink_law = { kind = \"uniform\", max = \"1s\" }",
            "`load.think_law`: `think_time` and",
        ),
        (
            "users = 2\nthink_law = { kind = \"exponential\", mean = \"9s\", max = \"1s\" }",
            "`load.think_law.max`: `max` 1s is shorter",
        ),
        (
            "users = 2\nuser_stages = [{ kind = \"step\", to_users = 0, duration = \"1s\" }]",
            "`load.user_stages.0`: no user is left",
        ),
        ("users = 2\nuser_stages = [{ kind = \"hold\", duration = \"0s\" }]", "`load.user_stages.0.duration`"),
    ];
    for (load, expected) in cases {
        let error = try_build(&plain(&format!("kind = \"users\"\n{load}"), ""), 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
