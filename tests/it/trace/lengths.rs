//! `tokens = { kind = "trace" }`: lengths of a trace, scaled and bounded as Metron does it.

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::seed::Seed;
use llm_bench::workload::{Traffic, WorkloadError};

use crate::workload::{ONE_CLASS, scenario};

/// Rows with known answers.
const ROWS: &str = "num_prefill_tokens,num_decode_tokens\n1000,500\n74,918\n3,1\n1,1\n0,7\n";

const POISSON: &str = "kind = \"poisson\"\nrate_per_s = 1";
const WINDOW: &str = "warmup = \"0s\"\nmeasure = { requests = 5 }";

fn with(tokens: &str, load: &str, phases: &str) -> ScenarioFile {
    let workload = format!(
        "[workloads.w]\nprompts = {{ kind = \"synthetic\" }}\ntokens = {{ kind = \"trace\", path = \"t.csv\", {tokens} }}\n"
    );
    scenario(&workload, ONE_CLASS, load, phases)
}

fn built(scenario: &ScenarioFile) -> Result<Traffic, WorkloadError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), ROWS).unwrap();
    Traffic::build(scenario, Seed::root(2), None, &Assets::new(folder.path()))
}

fn pairs(traffic: &Traffic, range: std::ops::Range<u64>) -> Vec<(u32, u32)> {
    let content = |index| traffic.content(Phase::Measure, RequestId::Open { index }, 0);
    range.map(content).map(|content| (content.input_tokens_counted, content.output_tokens_asked)).collect()
}

fn drawn(tokens: &str) -> Vec<(u32, u32)> {
    let tokens = format!("order = \"file\", at_end = \"cycle\", {tokens}");
    pairs(&built(&with(&tokens, POISSON, WINDOW)).unwrap_or_else(|error| panic!("{error}")), 0..6)
}

#[test]
fn known_answers_of_scale_and_bound() {
    // As they are, 0 as 1, then again from the top.
    assert_eq!(drawn("input_scale = 1"), [(1000, 500), (74, 918), (3, 1), (1, 1), (1, 7), (1000, 500)]);
    // Cut to whole tokens: 3 · 0.5 = 1.5, 1 · 0.5 = 0.5 is sent as 1; 918 · 1.1 = 1009.8.
    assert_eq!(
        drawn("input_scale = 0.5, output_scale = 1.1"),
        [(500, 550), (37, 1009), (1, 1), (1, 1), (1, 7), (500, 550)]
    );
    // 1500 is 500 too many: ⌈500 · 1000 / 1500⌉ = 334 and ⌈500 · 500 / 1500⌉ = 167 go. 992 is within it.
    assert_eq!(drawn("max_total_tokens = 1000")[..2], [(666, 333), (74, 918)]);
    // 992 - 100 = 892: ⌈892 · 74 / 992⌉ = ⌈66.54⌉ = 67, ⌈892 · 918 / 992⌉ = ⌈825.46⌉ = 826.
    assert_eq!(drawn("max_total_tokens = 100")[1], (7, 92));
    // 4 - 2 = 2: ⌈2 · 3 / 4⌉ = 2 leaves 1, ⌈2 · 1 / 4⌉ = 1 leaves 0, sent as 1.
    assert_eq!(drawn("max_total_tokens = 2")[2], (1, 1));
    // 2000 + 500, 1500 too many: ⌈1500 · 2000 / 2500⌉ = 1200, ⌈1500 · 500 / 2500⌉ = 300: scaled first.
    assert_eq!(drawn("input_scale = 2, max_total_tokens = 1000")[0], (800, 200));
}

#[test]
fn shuffled_rows_come_once_each_and_again_in_the_same_order() {
    let traffic = built(&with("at_end = \"cycle\"", POISSON, WINDOW)).unwrap();
    let (first, second) = (pairs(&traffic, 0..5), pairs(&traffic, 5..10));
    assert_eq!(first, second);
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [(1, 1), (1, 7), (3, 1), (74, 918), (1000, 500)]);
    let orders: std::collections::HashSet<_> = (0..20)
        .map(|seed| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("t.csv"), ROWS).unwrap();
            let scenario = with("at_end = \"cycle\"", POISSON, WINDOW);
            pairs(&Traffic::build(&scenario, Seed::root(seed), None, &Assets::new(folder.path())).unwrap(), 0..5)
        })
        .collect();
    assert!(orders.len() > 10, "the seed shuffles: {} of 20 orders", orders.len());
    // Means of what is sent: (1000 + 74 + 3 + 1 + 1) / 5 and (500 + 918 + 1 + 1 + 7) / 5.
    let class = &traffic.classes()[0];
    assert!((class.mean_input_tokens - 215.8).abs() < 1e-9 && (class.mean_output_tokens - 285.4).abs() < 1e-9);
}

#[test]
fn a_trace_that_stops_must_last() {
    let stop = "at_end = \"stop\"";
    assert!(built(&with(stop, POISSON, WINDOW)).is_ok(), "five rows for five requests");
    let long = built(&with(stop, POISSON, "warmup = \"0s\"\nmeasure = { requests = 6 }")).unwrap_err().to_string();
    assert!(
        long.contains("`workloads.w.tokens.at_end`: the trace has 5 rows, but warm-up and window have 6 requests"),
        "{long}"
    );
    let closed = built(&with(stop, "kind = \"users\"\nusers = 2", WINDOW)).unwrap_err().to_string();
    assert!(closed.contains("`workloads.w.tokens.at_end`"), "{closed}");
    assert!(built(&with("at_end = \"cycle\"", "kind = \"users\"\nusers = 2", WINDOW)).is_ok());
}

#[test]
fn the_bad_is_refused() {
    for (tokens, said) in [
        ("at_end = \"cycle\", input_scale = -1", "`workloads.w.tokens.input_scale`"),
        ("at_end = \"cycle\", format = \"azure\"", "expected a column of that name"),
    ] {
        let error = built(&with(tokens, POISSON, WINDOW)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let offsets = tempfile::tempdir().unwrap();
    std::fs::write(offsets.path().join("t.csv"), "1\n2\n").unwrap();
    let scenario = with("at_end = \"cycle\"", POISSON, WINDOW);
    let error = Traffic::build(&scenario, Seed::root(1), None, &Assets::new(offsets.path())).unwrap_err().to_string();
    assert!(error.contains("`t.csv` has no lengths"), "{error}");
}
