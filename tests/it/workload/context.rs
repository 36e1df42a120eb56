//! Requests that do not fit into the context of a model, found before they are sent.

use llm_bench::assets::Assets;
use llm_bench::seed::Seed;
use llm_bench::workload::Traffic;

use super::{ONE_CLASS, build, plain, scenario};

const RATE: &str = "kind = \"constant\"\nrate_per_s = 10";
const TWENTY: &str = "measure = { requests = 20 }";

fn said(scenario: &llm_bench::scenario::file::ScenarioFile, class: u16, context: u64) -> Option<String> {
    build(scenario, 3).too_long(class, context).map(|found| found.to_string())
}

#[test]
fn laws_fit_to_the_token() {
    // 32 + 8 tokens; a warm-up of 5 s before the 20.
    let fixed = plain(RATE, TWENTY);
    assert_eq!(said(&fixed, 0, 40), None);
    assert_eq!(
        said(&fixed, 0, 39).unwrap(),
        "traffic.base: a request of 32 + 8 tokens does not fit into the 39 tokens of context of `backends.main`; 69 more of \
         the first 70 requests are too long"
    );
    let closed = plain("kind = \"users\"\nusers = 2", "warmup = \"0s\"\nmeasure = { requests = 2 }");
    assert!(said(&closed, 0, 39).unwrap().ends_with("; 1 more of the first 2 requests is too long"));
    assert_eq!(said(&closed, 0, 40), None);
}

#[test]
fn rows_are_named_with_their_place_in_the_file() {
    let dataset = "[workloads.w]\nprompts = { kind = \"csv\", path = \"datasets/table.csv\", draw = \"in-order\" }\n";
    let rows = scenario(dataset, ONE_CLASS, RATE, "measure = { requests = 12 }");
    let traffic = build(&rows, 3);
    // Answers of 4, 5, 6, … tokens, row by row; the last row asks for the most of them.
    let longest = (0..12)
        .map(|index| {
            let content = super::open(&traffic, index);
            u64::from(content.input_tokens_asked + content.output_tokens_asked)
        })
        .max()
        .unwrap();
    assert_eq!(said(&rows, 0, longest), None);
    let found = traffic.too_long(0, longest - 1).unwrap();
    let row: u64 =
        found.origin.as_ref().unwrap().trim_start_matches("row ").split(' ').next().unwrap().parse().unwrap();
    assert_eq!(found.origin.as_deref(), Some(&*format!("row {row} of `datasets/table.csv`")));
    let content = super::open(&traffic, row - 1);
    assert_eq!(found.first, (content.input_tokens_asked, content.output_tokens_asked));
}

#[test]
fn requests_of_a_trace_are_named_by_their_number() {
    let trace = "kind = \"trace\"\nformat = \"mooncake\"\npath = \"traces/mooncake.jsonl\"\nblock_tokens = 16\nat_end = \"stop\"";
    let replay = scenario(
        "[workloads.w]\nprompts = { kind = \"trace\" }\n",
        ONE_CLASS,
        trace,
        "warmup = \"0s\"\nmeasure = { requests = 20 }",
    );
    // The first rows: 57 + 3, 47 + 3, 85 + 19, 111 + 27 tokens.
    let found = build(&replay, 3).too_long(0, 100).unwrap();
    assert_eq!((found.origin.as_deref(), found.first), (Some("request 3 of `traces/mooncake.jsonl`"), (85, 19)));
    assert!(found.count > 1 && found.count < found.of, "{found:?}");
}

#[test]
fn sessions_count_with_their_last_turn() {
    let talk = |history: &str| {
        let workload = format!(
            "[workloads.w]\nprompts = {{ kind = \"synthetic\" }}\ninput_tokens = {{ kind = \"fixed\", value = 10 }}\n\
             output_tokens = {{ kind = \"fixed\", value = 5 }}\n[workloads.w.session]\n\
             turns = {{ kind = \"fixed\", value = 3 }}\nhistory = \"{history}\"\n"
        );
        scenario(&workload, ONE_CLASS, RATE, TWENTY)
    };
    // Prompts of 10, 25 and 40 tokens, answers of 5.
    assert_eq!(said(&talk("recorded"), 0, 45), None);
    assert_eq!(build(&talk("recorded"), 3).too_long(0, 44).unwrap().first, (40, 5));
    assert_eq!(said(&talk("server"), 0, 15), None, "later turns hang on the server");
    assert_eq!(build(&talk("server"), 3).too_long(0, 14).unwrap().first, (10, 5));
}

#[test]
fn only_the_classes_that_are_too_long_are_told() {
    let workloads = "[workloads.a]\nprompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 5 }\n\
                     output_tokens = { kind = \"fixed\", value = 5 }\n\
                     [workloads.b]\nprompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 50 }\n\
                     output_tokens = { kind = \"fixed\", value = 5 }\n";
    let traffic = "[[traffic]]\nname = \"a\"\nbackend = \"main\"\nworkload = \"a\"\n\
                   [[traffic]]\nname = \"b\"\nbackend = \"main\"\nworkload = \"b\"\n";
    let both = scenario(workloads, traffic, RATE, TWENTY);
    assert_eq!(said(&both, 0, 20), None);
    assert!(said(&both, 1, 20).unwrap().starts_with("traffic.b: a request of 50 + 5 tokens"));
}

/// Lengths that are known without a text are looked at to the end.
#[test]
fn one_long_row_among_many_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let row =
        |number: u32| format!("{{\"prompt\": \"number {number}\", \"output_len\": {}}}\n", 1 + number / 25_000 * 500);
    std::fs::write(folder.path().join("d.jsonl"), (0..=25_000).map(row).collect::<String>()).unwrap();
    let dataset = "[workloads.w]\nprompts = { kind = \"jsonl\", path = \"d.jsonl\", draw = \"in-order\" }\n";
    let rate = "kind = \"constant\"\nrate_per_s = 1000";
    let rows = scenario(dataset, ONE_CLASS, rate, "warmup = \"0s\"\nmeasure = { requests = 25001 }");
    let traffic = Traffic::build(&rows, Seed::root(1), None, &Assets::new(folder.path())).unwrap();
    let found = traffic.too_long(0, 300).unwrap();
    assert_eq!((found.origin.as_deref(), found.first.1), (Some("row 25001 of `d.jsonl`"), 501));
    assert_eq!((found.count, found.of), (1, 25_001));
}
