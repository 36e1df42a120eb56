//! Classes that replay parts of a trace, side by side: each its own rows, all at the times of the whole.

use std::collections::BTreeMap;

use llm_bench::assets::{Assets, named_files};
use llm_bench::measure::timeline::RequestId;
use llm_bench::plan::canonical::canonical;
use llm_bench::plan::estimate::estimate;
use llm_bench::plan::{DatasetFacts, LoadedDatasets};
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::seed::Seed;
use llm_bench::workload::{Traffic, WorkloadError};

use super::trace;

/// Rows as BurstGPT has them: seconds, model, lengths, kind.
const ROWS: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
0,ChatGPT,10,1,11,Conversation log
1,GPT-4,20,2,22,Conversation log
1,ChatGPT,30,3,33,API log
3,GPT-4,40,4,44,API log
6,ChatGPT,50,5,55,Conversation log
";

/// A class that replays what `only` says.
fn class(name: &str, only: &str) -> String {
    format!(
        "[[traffic]]\nname = \"{name}\"\nbackend = \"main\"\nworkload = \"rows\"\nload = {{ kind = \"trace\", path = \
         \"t.csv\", {only}at_end = \"loop\" }}\n"
    )
}

fn scenario(classes: &str, measure: &str) -> ScenarioFile {
    let text = format!(
        "schema = 1\nname = \"parts\"\n[backends.main]\nprotocol = \"openai-chat\"\nurl = \"sim:tiny\"\n\
         [workloads.rows]\nprompts = {{ kind = \"trace\" }}\n{classes}\n[phases]\nwarmup = \"0s\"\nmeasure = {measure}\n"
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), ROWS).unwrap();
    folder
}

fn build(scenario: &ScenarioFile) -> Result<Traffic, WorkloadError> {
    let folder = folder();
    Traffic::build(scenario, Seed::root(3), None, &Assets::new(folder.path()))
}

/// Milliseconds, tokens of prompt and answer of the first requests of each class.
fn sent(traffic: &Traffic, count: usize) -> BTreeMap<String, Vec<(u64, u32, u32)>> {
    let open = traffic.open().unwrap();
    let mut sent = BTreeMap::<String, Vec<_>>::new();
    for arrival in open.schedule().take(count) {
        let id = RequestId::Open { index: arrival.index };
        let content = traffic.content(open.window().phase(arrival.place), id, arrival.class);
        let name = traffic.classes()[usize::from(arrival.class)].name.clone();
        let lengths = (content.input_tokens_counted, content.output_tokens_asked);
        sent.entry(name).or_default().push((arrival.at / 1_000_000, lengths.0, lengths.1));
    }
    sent
}

#[test]
fn each_class_replays_its_rows_at_the_times_of_the_whole() {
    let both = class("old", "only = { model = \"ChatGPT\" }, ") + &class("new", "only = { model = \"GPT-4\" }, ");
    let traffic = build(&scenario(&both, "{ duration = \"7s\" }")).unwrap();
    // Four gaps in 6 s: the whole lasts 7.5 s, and both begin again then, though the last of GPT-4 came at 3 s.
    let old = [(0, 10, 1), (1000, 30, 3), (6000, 50, 5), (7500, 10, 1)];
    let new = [(1000, 20, 2), (3000, 40, 4), (8500, 20, 2)];
    assert_eq!(
        sent(&traffic, 8),
        [("old".into(), [&old[..], &[(8500, 30, 3)]].concat()), ("new".into(), new.to_vec())].into()
    );
    let window = traffic.open().unwrap();
    assert_eq!(window.window().measured_by_class, [3, 2]);
    // All that is set must hold.
    let api = class("api", "only = { model = \"GPT-4\", class = \"API log\" }, ");
    let traffic = build(&scenario(&api, "{ duration = \"7s\" }")).unwrap();
    assert_eq!(sent(&traffic, 2)["api"], [(3000, 40, 4), (10_500, 40, 4)]);
    // The classes together are the trace, as one class replays it.
    let whole = build(&scenario(&class("all", ""), "{ duration = \"7s\" }")).unwrap();
    let mut together: Vec<_> =
        sent(&build(&scenario(&both, "{ duration = \"7s\" }")).unwrap(), 50).into_values().flatten().collect();
    together.sort_unstable();
    let mut all = sent(&whole, 50).remove("all").unwrap();
    all.sort_unstable();
    assert_eq!(together, all);
}

#[test]
fn estimates_know_the_part_of_each_class() {
    let folder = folder();
    let both = class("old", "only = { model = \"ChatGPT\" }, ") + &class("new", "only = { model = \"GPT-4\" }, ");
    let datasets = LoadedDatasets::new(Assets::new(folder.path()));
    let found = estimate(&scenario(&both, "{ duration = \"7s\" }"), &datasets);
    // Rows 0, 1, 1, 3 and 6 s. An answer of 3 tokens takes 0.31 s, and none arrives in the drain: 10 + 30 + 50 and 20 + 40.
    assert_eq!((found.measure_requests, found.drain_requests), (5, 0));
    assert_eq!((found.input_tokens, found.output_tokens), (Some(150), Some(15)));
}

#[test]
fn parts_that_are_not_there_are_refused() {
    let refused = |only: &str, measure: &str| -> (String, String) {
        let scenario = scenario(&class("a", only), measure);
        let Err(WorkloadError::Settings(problems)) = build(&scenario) else { panic!("{only}") };
        let folder = folder();
        // A plan says the same.
        let planned = LoadedDatasets::new(Assets::new(folder.path())).problems(&scenario);
        if only != "only = {}, " {
            assert_eq!(planned[0].message, problems[0].message);
        }
        (problems[0].key.clone(), problems[0].message.clone())
    };
    let second = "{ duration = \"1s\" }";
    for (only, key, message) in [
        (
            "only = { model = \"GPT-5\" }, ",
            "only.model",
            "no request of `t.csv` has the model `GPT-5`; it has `ChatGPT`, `GPT-4`",
        ),
        (
            "only = { class = \"x\" }, ",
            "only.class",
            "no request of `t.csv` has the class `x`; it has `Conversation log`, `API log`",
        ),
        (
            "from = \"2s\", only = { model = \"GPT-4\", class = \"Conversation log\" }, ",
            "only",
            "no request of `t.csv` in this part has all of it",
        ),
        ("only = {}, ", "only", "`only` names neither `model` nor `class`; leave it out"),
    ] {
        assert_eq!(refused(only, second), (format!("traffic.a.load.{key}"), message.to_owned()));
    }
    // The window of a class alone is checked against its own rows.
    let stops = class("a", "only = { model = \"GPT-4\" }, ").replace("loop", "stop");
    let Err(WorkloadError::Settings(problems)) = build(&scenario(&stops, "{ duration = \"8s\" }")) else { panic!() };
    assert_eq!(problems[0].key, "phases.measure");
    assert!(problems[0].message.contains("set `traffic.a.load.at_end = \"loop\"`"), "{}", problems[0].message);
    assert!(trace(b"offset_s\n1\n").model(0).is_none());
    // Nor is a window of more requests than a part has, which would count silence once the part is over.
    let both = stops + &class("b", "only = { model = \"ChatGPT\" }, ");
    let refused = |requests: u32| build(&scenario(&both, &format!("{{ requests = {requests} }}"))).err();
    assert!(refused(2).is_none());
    let Some(WorkloadError::Settings(problems)) = refused(3) else { panic!() };
    assert!(problems[0].message.contains("outlasts the trace, which has 2 requests"), "{}", problems[0].message);
}

/// Prompts of a trace need a load that replays one, whichever serves the class.
#[test]
fn rows_belong_to_the_load_that_serves_the_class() {
    let poisson = "[[traffic]]\nname = \"b\"\nbackend = \"main\"\nworkload = \"rows\"\nload = { kind = \"poisson\", rate_per_s = 1 }\n";
    let refused = build(&scenario(&(class("a", "") + poisson), "{ duration = \"1s\" }"));
    let Err(WorkloadError::Settings(problems)) = refused else { panic!() };
    assert_eq!(problems[0].message, "prompts of a trace need a load with `kind = \"trace\"`");
}

/// The file of a class's load is an input like any other: part of the digest by its content, not its path.
#[test]
fn the_file_is_an_input_of_the_point() {
    let scenario = scenario(&class("a", "only = { model = \"GPT-4\" }, "), "{ duration = \"1s\" }");
    let files = named_files(&scenario);
    assert_eq!((files.len(), files[0].path, &*files[0].table_key_path()), (1, "t.csv", "traffic.a.load"));
    assert_eq!(canonical(&scenario, &Default::default()).unwrap_err().0, "t.csv");
    let of = |digest: &str| canonical(&scenario, &[("t.csv".to_owned(), digest.to_owned())].into()).unwrap();
    assert_eq!(of("11")["traffic"][0]["load"]["sha256"], "11");
    assert!(of("11")["traffic"][0]["load"].get("path").is_none() && of("11") != of("22"));
}
