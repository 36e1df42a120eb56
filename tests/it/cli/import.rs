//! `bench import`: what a trace holds, and the same trace in the project's own format.

use serde_json::Value;

use super::Desk;

const BURSTS: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n0,ChatGPT,100,10,110,API log\n1,GPT-4,200,0,200,API log\n4,ChatGPT,300,30,330,API log\n";

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("bursts.csv", BURSTS);
    desk
}

#[test]
fn it_shows_what_a_trace_holds() {
    let desk = desk();
    let shown = desk.bench(&["import", "bursts.csv"]).code(0).shows("bursts.csv: burstgpt, 3 requests\n");
    // Two gaps in 4 s: 1 and 3 s, mean 2 s, standard deviation 1 s.
    let shown = shown.shows("arrivals  0.50 per second over 4s, gaps with a coefficient of variation of 0.50");
    let shown = shown.shows("prompts   mean 200, p50 200, p99 300, 100 to 300 tokens\n");
    let shown = shown.shows("answers   mean 13.3, p50 10, p99 30, 0 to 30 tokens; 1 of 0 tokens, sent as 1");
    let shown = shown.shows("models    ChatGPT 2, GPT-4 1\n").shows("classes   API log 3\n");
    assert!(shown.out.contains("requests over time, at most 1 in") && !shown.out.contains("blocks"), "{}", shown.out);
    assert_eq!(desk.files("").len(), 1, "nothing was asked to be written");
    let json = desk.bench(&["import", "bursts.csv", "--json"]).code(0).json_lines().remove(0);
    assert_eq!((&json["requests"], &json["rate_per_s"], &json["gap_cv"]), (&3.into(), &0.5.into(), &0.5.into()));
    assert_eq!(json["output_tokens"]["zero"], 1);
    assert_eq!(json["models"], serde_json::json!({ "ChatGPT": 2, "GPT-4": 1 }));
}

#[test]
fn what_it_writes_is_the_same_trace() {
    let desk = desk();
    desk.bench(&["import", "bursts.csv", "-o", "own.jsonl"]).code(0).says("wrote own.jsonl");
    let lines: Vec<Value> = desk.read("own.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({ "format": "bench.trace/1", "requests": 3, "source": "burstgpt" }));
    assert_eq!(
        lines[3],
        serde_json::json!({ "t_ns": 4_000_000_000_u64, "input_tokens": 300, "output_tokens": 30, "model": "ChatGPT", "class": "API log" })
    );
    // Packed, from the plain one: the same again, and the same bytes each time.
    desk.bench(&["import", "own.jsonl", "--output", "a.jsonl.gz"]).code(0);
    desk.bench(&["import", "own.jsonl", "--output", "b.jsonl.gz"]).code(0);
    let bytes = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert_eq!(bytes("a.jsonl.gz"), bytes("b.jsonl.gz"));
    let stats = |name: &str| {
        let mut json = desk.bench(&["import", name, "--json"]).code(0).json_lines().remove(0);
        json.as_object_mut().unwrap().retain(|key, _| key != "path" && key != "format");
        json
    };
    assert_eq!(stats("a.jsonl.gz"), stats("bursts.csv"));
}

#[test]
fn blocks_are_counted() {
    let desk = Desk::new();
    let line =
        |ids: &str| format!("{{\"timestamp\": 0, \"input_length\": 20, \"output_length\": 2, \"hash_ids\": {ids}}}\n");
    desk.write("m.jsonl", &[line("[1, 2, 3]"), line("[1, 2, 4]")].concat());
    desk.bench(&["import", "m.jsonl"]).code(65).says("expected at most 1 for 20 tokens in blocks of 512");
    desk.bench(&["import", "m.jsonl", "--block-tokens", "8"])
        .code(0)
        .shows("blocks    6 of 8 tokens, 0.333 of them seen before");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_half_written() {
    let desk = desk();
    desk.write("own.jsonl", "mine");
    desk.bench(&["import", "bursts.csv", "-o", "own.jsonl"])
        .code(64)
        .says("`own.jsonl` exists; replace it with `--force`");
    assert_eq!(desk.read("own.jsonl"), "mine");
    desk.bench(&["import", "bursts.csv", "-o", "own.jsonl", "--force"]).code(0);
    assert!(desk.read("own.jsonl").starts_with("{\"format\":\"bench.trace/1\""));
    // The last row is bad: nothing of the rest is there.
    desk.write("bad.csv", &format!("{BURSTS}3,ChatGPT,1,1,2,API log\n"));
    desk.bench(&["import", "bad.csv", "-o", "bad.jsonl.gz"]).code(65).says("`bad.csv`, line 5, `time`");
    desk.bench(&["import", "absent.csv"]).code(78).says("cannot read `absent.csv`");
    desk.bench(&["import", "bursts.csv", "-o", "own.csv"]).code(64).says("must end in `.jsonl.gz` or `.jsonl`");
    desk.bench(&["import", "bursts.csv", "-o", "own.jsonl.zst"]).code(64).says("zstd is read, not written");
    desk.bench(&["import", "bursts.csv", "-o", "none/own.jsonl"]).code(78).says("cannot write `none/own.jsonl`");
    desk.bench(&["import", "bursts.csv", "--format", "azure"]).code(65).says("expected a column of that name");
    assert_eq!(desk.files(""), ["bad.csv", "bursts.csv", "own.jsonl"]);
}

const ROWS: &str = "{\"question\":\"one two three\",\"reply\":\"six seven\"}\n{\"question\":\"four five\",\"reply\":\"one two three four\"}\n\
                    {\"question\":\"one two three\",\"reply\":\"again\"}\n";

#[test]
fn a_dataset_becomes_a_trace_of_lengths() {
    let desk = Desk::new();
    desk.write("rows.jsonl", ROWS);
    let jsonl =
        ["import", "rows.jsonl", "--format", "jsonl", "--column", "prompt=question", "--column", "answer=reply"];
    let shown = desk.bench(&jsonl).code(0).shows("rows.jsonl: jsonl, 2 requests\n");
    let shown = shown.shows("  rows      2 of 3 rows, 1 duplicate; counted with builtin\n");
    let shown = shown.shows("arrivals  none: it has lengths alone");
    shown
        .shows("prompts   mean 2.50, p50 2, p99 3, 2 to 3 tokens")
        .shows("answers   mean 3, p50 2, p99 4, 2 to 4 tokens");
    let with = |more: &[&'static str]| jsonl.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    desk.bench(&with(&["-o", "lengths.jsonl.gz"])).code(0).says("wrote lengths.jsonl.gz");
    let json = desk.bench(&["import", "lengths.jsonl.gz", "--json"]).code(0).json_lines().remove(0);
    assert_eq!((&json["requests"], &json["input_tokens"]["mean"]), (&2.into(), &2.5.into()));
    let json = desk.bench(&with(&["--json", "--output-tokens", "9"])).code(0).json_lines().remove(0);
    assert_eq!(
        (&json["requests"], &json["output_tokens"]["min"], &json["tokenizer"]),
        (&2.into(), &9.into(), &"builtin".into())
    );
    assert_eq!(json["dataset"]["duplicate"], 1);
    // A tokenizer of its own, whose counts are others.
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tokenizer/small-bpe.json");
    let json = desk.bench(&with(&["--json", "--tokenizer", small])).code(0).json_lines().remove(0);
    assert_eq!(json["tokenizer"], "small-bpe.json");
    assert!(json["input_tokens"]["max"].as_u64().unwrap() >= 3, "{json}");
    desk.bench(&["import", "rows.jsonl", "--format", "jsonl", "--tokenizer", "rows.jsonl"])
        .code(65)
        .says("is not a usable tokenizer.json");
    // And a scenario takes its lengths from it.
    desk.write(
        "scenario.toml",
        "schema = 1\nname = \"lengths\"\n[backends.main]\nprotocol = \"openai-chat\"\nurl = \"sim:tiny\"\n\
         [workloads.w]\nprompts = { kind = \"synthetic\" }\n\
         tokens = { kind = \"trace\", path = \"lengths.jsonl.gz\", input_scale = 1, output_scale = 1, at_end = \"cycle\" }\n\
         [[traffic]]\nname = \"base\"\nbackend = \"main\"\nworkload = \"w\"\n[load]\nkind = \"poisson\"\nrate_per_s = 1\n",
    );
    desk.bench(&["plan", "scenario.toml"]).code(0);
}

#[test]
fn what_is_wrong_with_a_dataset_is_told() {
    let desk = Desk::new();
    desk.write("lines.txt", "one two\nthree\n");
    desk.bench(&["import", "lines.txt", "--format", "lines"]).code(65).says("`--output-tokens N`");
    desk.bench(&["import", "lines.txt", "--format", "lines", "--output-tokens", "5"])
        .code(0)
        .shows("lines, 2 requests");
    desk.write("bad.jsonl", "{\"prompt\":\"x\",\"output_len\":3}\n{\"prompt\":7}\n");
    desk.bench(&["import", "bad.jsonl", "--format", "jsonl"]).code(65).says("`bad.jsonl`, row 2").says("found `7`");
    desk.bench(&["import", "absent.json", "--format", "sharegpt"]).code(78).says("cannot read `absent.json`");
    desk.bench(&["import", "bad.jsonl", "--format", "jsonl", "--column", "prompt"]).code(64).says("`NAME=COLUMN`");
    desk.bench(&["import", "bad.jsonl", "--format", "jsonl", "--column", "promt=x"]).code(64).says("`promt`");
    desk.bench(&["import", "lines.txt", "--format", "lines", "--column", "prompt=x"]).code(64).says("`columns`");
    desk.bench(&["import", "lines.txt", "--output-tokens", "5"]).code(64).says("name one with `--format`");
    desk.bench(&["import", "lines.txt", "--format", "lines", "--block-tokens", "5"]).code(64).says("not datasets");
}
