//! Requests, tokens, time, cost, sample size and limits, with the arithmetic beside each.

use llm_bench::plan::estimate::estimate;
use llm_bench::plan::render::human;
use llm_bench::plan::{DatasetFacts, DatasetLengths, Estimate, NoDatasets, PlanWarning};
use llm_bench::scenario::file::{ScenarioFile, WorkloadConfig};
use serde_json::json;

use super::{SCENARIO, Table, edit, errors, messages, parse, plan, try_build, with_axes};

/// The estimate of the scenario with another `[load]` and another `measure`.
fn of(load: &str, measure: &str) -> Estimate {
    let text = edit(&with_axes(""), "kind = \"constant\"\nrate_per_s = 1", load);
    estimate(&parse(&edit(&text, "{ duration = \"10s\" }", measure)).0, &NoDatasets)
}

/// Warm-up, measured, drain, drain at most, window in ms.
fn counts(load: &str, measure: &str) -> (u64, u64, u64, u64, u64) {
    let it = of(load, measure);
    let window_ms = (it.window_s * 1e3).round() as u64;
    (it.warmup_requests, it.measure_requests, it.drain_requests, it.drain_requests_max, window_ms)
}

#[test]
fn open_loops() {
    // Warm-up 2 s, window 10 s. A mean answer has (10 + 30) / 2 = 20 tokens: nominally 0.25 s + 20 * 0.02 s =
    // 0.65 s to drain, at most 60 s.
    let ten = "{ duration = \"10s\" }";
    // Arrivals at k / 4 s: 8 before 2 s, 40 in [2, 12), drain ceil(12.65 * 4) - 48 = 51 - 48 = 3, at most 240.
    assert_eq!(counts("kind = \"constant\"\nrate_per_s = 4", ten), (8, 40, 3, 240, 10_000));
    // 0.3 a second: k = 0 alone is before 2 s (3.33 is not): 1. Before 12 s: ceil(3.6) = 4, so 3 in the window.
    // Before 12.65 s: ceil(3.795) = 4, so none in the drain; before 72 s: ceil(21.6) = 22, so at most 18.
    assert_eq!(counts("kind = \"constant\"\nrate_per_s = 0.3", ten), (1, 3, 0, 18, 10_000));
    // Poisson: 4 * 2 = 8, 4 * 10 = 40, 4 * 0.65 = 2.6 → 3.
    assert_eq!(counts("kind = \"poisson\"\nrate_per_s = 4", ten), (8, 40, 3, 240, 10_000));
    assert_eq!(counts("kind = \"gamma\"\ncv = 2\nrate_per_s = 4", ten), (8, 40, 3, 240, 10_000));
    // Bursts of 5 at 0, 4, 8, 12, …: one before 2 s; 4 and 8 in [2, 12); 12 in the drain; 12, …, 68: 15 at most.
    assert_eq!(counts("kind = \"burst\"\nsize = 5\nevery = \"4s\"", ten), (5, 10, 5, 75, 10_000));
    // One burst, when the window opens.
    assert_eq!(counts("kind = \"burst\"\nsize = 50", ten), (0, 50, 0, 0, 10_000));
}

#[test]
fn windows_end_by_time_or_by_requests() {
    let poisson = |measure| counts("kind = \"poisson\"\nrate_per_s = 4", measure);
    // 100 requests at 4 a second take 25 s.
    assert_eq!(poisson("{ requests = 100 }").1, 100);
    assert_eq!(poisson("{ requests = 100 }").4, 25_000);
    // At most 20 s: 80 requests. At least 30 s: 120.
    assert_eq!((poisson("{ requests = 100, max_duration = \"20s\" }").1, 80), (80, 80));
    assert_eq!(poisson("{ requests = 100, max_duration = \"20s\" }").4, 20_000);
    assert_eq!(poisson("{ requests = 100, min_duration = \"30s\" }").1, 120);
    // 10 s hold 40: not enough for 60 (15 s), too many for 20 (5 s).
    let least = poisson("{ duration = \"10s\", min_requests = 60 }");
    assert_eq!((least.1, least.4), (60, 15_000));
    let most = poisson("{ duration = \"10s\", max_requests = 20 }");
    assert_eq!((most.1, most.4), (20, 5_000));
    assert_eq!(poisson("{ duration = \"10s\", min_requests = 20, max_requests = 60 }").1, 40);
    // A single burst never holds more than itself.
    let burst = counts("kind = \"burst\"\nsize = 50", "{ requests = 80 }");
    assert_eq!((burst.1, burst.4), (50, 0));
    assert_eq!(counts("kind = \"burst\"\nsize = 50", "{ requests = 30 }").1, 30);
}

#[test]
fn users_who_talk_pause_between_turns_and_between_sessions() {
    let talk = |load: &str| {
        let session = "[workloads.chat.session]\nturns = { kind = \"fixed\", value = 4 }\nhistory = \"server\"\n\
                       think_time_ms = { kind = \"fixed\", value = 650 }\n";
        let text = edit(&with_axes(session), "kind = \"constant\"\nrate_per_s = 1", load);
        estimate(&parse(&text).0, &NoDatasets).measure_requests
    };
    // A session takes four answers of 0.65 s and three pauses as long: 4.55 s. 13 users * 4 / 4.55 s * 10 s = 114.3.
    assert_eq!(talk("kind = \"users\"\nusers = 13"), 114);
    // And a pause before the next session: 13 * 4 / 5.2 s * 10 s = 100.
    assert_eq!(talk("kind = \"users\"\nusers = 13\nthink_time = \"650ms\""), 100);
}

/// Two classes take turns, one with sessions of three requests: three of four requests are theirs.
#[test]
fn sessions_of_users_have_the_requests_that_their_length_says() {
    let other = "[workloads.talk]\nprompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 7 }\n\
                 output_tokens = { kind = \"fixed\", value = 60 }\n\
                 session = { turns = { kind = \"fixed\", value = 3 }, history = \"server\" }\n\
                 [[traffic]]\nname = \"talk\"\nbackend = \"main\"\nworkload = \"talk\"\n\n[load]";
    let text = edit(&with_axes(""), "[load]", other);
    let text = edit(&text, "kind = \"constant\"\nrate_per_s = 1", "kind = \"users\"\nusers = 2");
    let text = edit(&edit(&text, "{ duration = \"10s\" }", "{ requests = 400 }"), "\"2s\"", "\"0s\"");
    let found = plan(&text).points[0].estimate.clone();
    let all = (found.measure_requests + found.drain_requests) as f64;
    // 10 to 30 tokens of the one, 60 of the other: 0.25 * 20 + 0.75 * 60 = 50 a request.
    let tokens = found.output_tokens.unwrap() as f64;
    assert!((tokens / all - 50.0).abs() < 0.2, "{tokens} of {all}");
}

#[test]
fn closed_loops_are_nominal() {
    // 13 users, 0.65 s an answer, no pause: 20 a second. Warm-up 40, window 200, drain 13.
    let users = of("kind = \"users\"\nusers = 13", "{ duration = \"10s\" }");
    assert!(users.nominal);
    assert_eq!((users.warmup_requests, users.measure_requests, users.drain_requests), (40, 200, 13));
    // A pause of 0.65 s halves it.
    assert_eq!(
        of("kind = \"users\"\nusers = 13\nthink_time = \"650ms\"", "{ duration = \"10s\" }").measure_requests,
        100
    );
    // 13 users, 26 in flight allowed: no cap. 1 in flight: 1 / 0.65 s * 10 s = 15.4.
    let capped = |limit| format!("kind = \"users\"\nusers = 13\nmax_in_flight = {{ limit = {limit} }}");
    assert_eq!(of(&capped(26), "{ duration = \"10s\" }").measure_requests, 200);
    assert_eq!(of(&capped(1), "{ duration = \"10s\" }").measure_requests, 15);
    // Ramp of 4 s: integral of t / 4 over [0, 2) is 0.5 s, over [2, 12) it is 1.5 + 8 = 9.5 s.
    let ramped = of("kind = \"users\"\nusers = 13\nramp = \"4s\"", "{ duration = \"10s\" }");
    assert_eq!((ramped.warmup_requests, ramped.measure_requests), (10, 190));
    // 400 requests at 20 a second.
    assert_eq!(of("kind = \"users\"\nusers = 13", "{ requests = 400 }").window_s, 20.0);
    assert!(!of("kind = \"poisson\"\nrate_per_s = 1", "{ duration = \"10s\" }").nominal);
}

const TWO_CLASSES: &str = r#"
[backends.priced]
protocol = "openai-chat"
url = "http://localhost:1"
[backends.priced.price]
input_usd_per_million_tokens = 2
output_usd_per_million_tokens = 10

[workloads.long]
prompts = { kind = "synthetic" }
input_tokens = { kind = "fixed", value = 1000 }
output_tokens = { kind = "fixed", value = 500 }

[[traffic]]
name = "paid"
backend = "priced"
model = "m"
workload = "long"
weight = 3
"#;

#[test]
fn tokens_and_cost_follow_the_classes() {
    let text =
        edit(&with_axes(TWO_CLASSES), "kind = \"constant\"\nrate_per_s = 1", "kind = \"poisson\"\nrate_per_s = 4");
    let it = estimate(&parse(&text).0, &NoDatasets);
    // The slowest class takes 0.25 + 500 * 0.02 = 10.25 s: drain 41 requests. In all 8 + 40 + 41 = 89.
    assert_eq!((it.drain_requests, it.requests(), it.wall_s), (41, 89, 22.25));
    // Shares 1/4 and 3/4: input 89 * (25 + 750) = 68,975, output 89 * (5 + 375) = 33,820.
    assert_eq!((it.input_tokens, it.output_tokens), (Some(68_975), Some(33_820)));
    // 89 * 3/4 * (1000 * 2 + 500 * 10) / 10^6 = 0.46725; the other class has no price.
    assert!((it.cost_usd.unwrap() - 0.467_25).abs() < 1e-9, "{it:?}");
    assert!(it.cost_partial);
    // 40 measured requests, a quarter of them in `base`: 10 for a p50, which needs 6.
    assert!(it.too_small.is_empty());
    let p95 = estimate(&parse(&edit(&text, "p50 = 300", "p95 = 300")).0, &NoDatasets);
    let gap = &p95.too_small[0];
    assert_eq!((gap.class.as_str(), gap.target.as_str(), gap.samples, gap.needed), ("base", "p95", 10, Some(72)));
    assert!(
        human(&plan(&edit(SCENARIO, "p50 = 300", "p95 = 300")), &[], 100)
            .contains("  base: ttft_ms.p95 in 3 points, smallest sample 10, needed 72\n")
    );
}

#[derive(Debug)]
struct Counted;

impl DatasetFacts for Counted {
    fn lengths(&self, _: &ScenarioFile, _: &WorkloadConfig) -> Option<DatasetLengths> {
        Some(DatasetLengths { input_tokens: 200.0, output_tokens: 50.0 })
    }
}

#[test]
fn lengths_of_datasets_are_asked_for_or_unknown() {
    let text = edit(
        &with_axes(""),
        "prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 100 }\noutput_tokens = { kind = \"uniform\", min = 10, max = 30 }",
        "prompts = { kind = \"sharegpt\", path = \"x.json\" }",
    );
    let (file, _) = parse(&text);
    assert_eq!(estimate(&file, &NoDatasets).tokens(), None);
    let known = estimate(&file, &Counted);
    // 1 a second: 2 + 10 + the drain of 0.25 + 50 * 0.02 = 1.25 s, which holds arrivals 12 and 13: 14.
    assert_eq!((known.requests(), known.input_tokens, known.output_tokens), (14, Some(2800), Some(700)));
    let limited = edit(&text, "[load]", "[limits]\ntokens = 1\n[load]");
    let built = try_build(&limited, &Table::with("x.json", "")).unwrap();
    assert_eq!(built.warnings, [PlanWarning::LimitUnchecked { key: "tokens" }]);
}

#[test]
fn every_limit_is_checked() {
    let priced = edit(
        SCENARIO,
        "[backends.unused]",
        "[backends.main.price]\ninput_usd_per_million_tokens = 1000\noutput_usd_per_million_tokens = 0\n[backends.unused]",
    );
    let with = |limits: &str| edit(&priced, "[load]", &format!("[limits]\n{limits}\n[load]"));
    // Rates 1, 2, 4: warm-up 2 + 4 + 8, window 10 + 20 + 40, drain of 0.65 s 1 + 2 + 3: 90 requests,
    // 90 * 120 = 10,800 tokens, 3 * 12.65 s = 0.6325 minutes, 90 * 100 * 1000 / 10^6 = 9 dollars (before
    // each count is rounded: input tokens are counted from the same requests).
    let totals = plan(&priced).totals();
    assert_eq!((totals.requests, totals.tokens()), (90, Some(10_800)));
    assert_eq!(totals.cost_usd, Some(9.0));
    assert!(plan(&with("requests = 90\ntokens = 10800\nminutes = 0.64\ncost_usd = 9.1")).points.len() == 3);
    assert_eq!(
        messages(&errors(&with("requests = 45\ntokens = 5400\nminutes = 0.25\ncost_usd = 4.5"))),
        [
            "the plan has an estimated 90 requests; `limits.requests` allows 45 (2.0 times as many)",
            "the plan has an estimated 10,800 tokens; `limits.tokens` allows 5,400 (2.0 times as many)",
            "the plan has an estimated 0.63 minutes; `limits.minutes` allows 0.25 (2.5 times as many)",
            "the plan has an estimated 9 US dollars; `limits.cost_usd` allows 4.50 (2.0 times as many)",
        ]
    );
    let sites: Vec<_> = errors(&with("requests = 45")).iter().map(llm_bench::plan::PlanError::site).collect();
    assert_eq!(sites, [llm_bench::plan::Site::Pointer("/limits/requests".to_owned())]);
}

#[test]
fn a_lonely_zip_is_a_warning() {
    let built = try_build(&edit(SCENARIO, "values = [1, 2, 4]", "values = [1, 2, 4]\nzip = \"z\""), &Table::default());
    let expected = PlanWarning::LonelyZip { axis: 0, key_path: "load.rate_per_s".to_owned(), zip: "z".to_owned() };
    assert_eq!(built.unwrap().warnings, [expected]);
}

#[test]
fn estimates_serialise_without_what_is_absent() {
    let it = of("kind = \"burst\"\nsize = 50", "{ duration = \"10s\" }");
    assert_eq!(
        json!(it),
        json!({
            "warmup_requests": 0, "measure_requests": 50, "drain_requests": 0, "drain_requests_max": 0,
            "input_tokens": 5000, "output_tokens": 1000, "window_s": 10.0, "wall_s": 12.65,
        })
    );
}
