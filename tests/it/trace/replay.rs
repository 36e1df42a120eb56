//! `load.kind = "trace"`: the arrivals of a plan are those of the trace.

use llm_bench::assets::Assets;
use llm_bench::plan::{DatasetFacts, LoadedDatasets};
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::seed::Seed;
use llm_bench::workload::{Traffic, WorkloadError};

use super::public::file;
use super::trace;
use crate::workload::plain;

fn folder() -> Assets {
    Assets::new(super::data(""))
}

fn load(path: &str, more: &str) -> String {
    format!("kind = \"trace\"\npath = \"{path}\"\n{more}")
}

fn built(scenario: &ScenarioFile) -> Result<Traffic, WorkloadError> {
    Traffic::build(scenario, Seed::root(3), None, &folder())
}

fn times(traffic: &Traffic, count: usize) -> Vec<u64> {
    traffic.open().unwrap().schedule().take(count).map(|arrival| arrival.at / 1_000).collect()
}

const SECOND: &str = "warmup = \"0s\"\nmeasure = { duration = \"1s\" }";

#[test]
fn arrivals_are_those_of_the_trace_whatever_the_seed() {
    let scenario = plain(&load("azure.csv", "at_end = \"stop\""), SECOND);
    let traffic = built(&scenario).unwrap();
    // Microseconds after the first request.
    assert_eq!(times(&traffic, 9), [0, 250_000, 250_000, 2_000_000, 60_000_000]);
    let other = Traffic::build(&scenario, Seed::root(4), None, &folder()).unwrap();
    assert!(traffic.open().unwrap().schedule().eq(other.open().unwrap().schedule()));
    // The packed file is another file with the same requests.
    let packed = plain(&load("azure.csv.zst", "at_end = \"stop\"\nformat = \"azure\""), SECOND);
    assert!(traffic.open().unwrap().schedule().eq(built(&packed).unwrap().open().unwrap().schedule()));
    let window = traffic.open().unwrap();
    assert_eq!((window.window().warmup, window.window().measured), (0, 3));
}

#[test]
fn scale_part_and_loop() {
    let scaled = built(&plain(&load("azure.csv", "time_scale = 0.1\nat_end = \"stop\""), SECOND)).unwrap();
    assert_eq!(times(&scaled, 9), [0, 25_000, 25_000, 200_000, 6_000_000]);
    let looped = load("azure.csv", "from = \"200ms\"\nto = \"3s\"\nat_end = \"loop\"");
    let looped = built(&plain(&looped, "warmup = \"3s\"\nmeasure = { requests = 5 }")).unwrap();
    assert_eq!(times(&looped, 7), [50_000, 50_000, 1_800_000, 2_850_000, 2_850_000, 4_600_000, 5_650_000]);
    let open = looped.open().unwrap();
    assert_eq!((open.window().warmup, open.window().measured), (5, 5));
}

#[test]
fn a_trace_that_lacks_what_is_asked_is_an_error_before_anything_is_sent() {
    let settings = |scenario: &ScenarioFile| match built(scenario) {
        Err(WorkloadError::Settings(problems)) => problems[0].to_owned(),
        other => panic!("{other:?}"),
    };
    let long =
        settings(&plain(&load("azure.csv", "at_end = \"stop\""), "warmup = \"0s\"\nmeasure = { duration = \"2m\" }"));
    assert_eq!(long.key, "phases.measure");
    // 60 s and one mean gap of 15 s.
    assert!(long.message.contains("which has 5 requests in 1m 15s after warm-up"), "{}", long.message);
    let part = settings(&plain(&load("azure.csv", "from = \"2h\"\nat_end = \"loop\""), SECOND));
    assert_eq!(part.key, "load.from");
    for (path, said) in [("absent.csv", "cannot read `absent.csv`"), ("../README.md", "is no trace that is known here")]
    {
        let error = built(&plain(&load(path, "at_end = \"loop\""), SECOND)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_plan_knows_how_many_requests_a_trace_makes() {
    let datasets = LoadedDatasets::new(folder());
    let scenario = plain(
        &load("azure.csv", "at_end = \"loop\""),
        "warmup = \"1s\"\nmeasure = { duration = \"80s\" }\ndrain = { max = \"0s\" }",
    );
    let estimate = llm_bench::plan::estimate::estimate(&scenario, &datasets);
    // Requests at 0, 0.25, 0.25, 2 and 60 s, again at 75 s: three before the window and six in it.
    assert_eq!((estimate.warmup_requests, estimate.measure_requests, estimate.drain_requests_max), (3, 6, 0));
    let by_count = plain(&load("azure.csv", "at_end = \"stop\""), "warmup = \"1s\"\nmeasure = { requests = 2 }");
    let estimate = llm_bench::plan::estimate::estimate(&by_count, &datasets);
    assert_eq!((estimate.measure_requests, estimate.window_s.round()), (2, 59.0));
    assert!(datasets.problems(&by_count).is_empty());
    let missing = plain(&load("absent.csv", "at_end = \"stop\""), SECOND);
    assert_eq!(datasets.problems(&missing).len(), 1);
    assert!(datasets.problems(&missing).is_empty(), "said once");
}

/// The published files in virtual time: every arrival where the trace has it.
#[test]
fn the_published_traces_keep_their_rate() {
    for (name, requests, span_s, rate) in [
        ("azure_llm_2023_code.csv", 8819, 3435.948056, 2.566395),
        ("mooncake_synthetic_trace.jsonl", 3993, 1022.025, 3.905971),
    ] {
        let Some(path) = file(name) else { continue };
        let whole = trace(&std::fs::read(&path).unwrap());
        let scenario = plain(&load(name, "at_end = \"stop\""), "warmup = \"0s\"\nmeasure = { duration = \"15m\" }");
        let traffic = Traffic::build(&scenario, Seed::root(1), None, &Assets::new(path.parent().unwrap())).unwrap();
        let arrivals: Vec<u64> = traffic.open().unwrap().schedule().map(|arrival| arrival.at).collect();
        assert_eq!(arrivals, whole.times().unwrap(), "{name}");
        let span = (arrivals[arrivals.len() - 1] - arrivals[0]) as f64 / 1e9;
        assert_eq!((arrivals.len(), span), (requests, span_s));
        assert!(((requests - 1) as f64 / span - rate).abs() < 1e-5, "{name}: {}", (requests - 1) as f64 / span);
    }
}
