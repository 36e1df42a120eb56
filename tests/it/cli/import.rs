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
    assert!(shown.out.contains("requests over time, at most 1 in") && !shown.out.contains("blocks"), "{}", shown.out);
    assert_eq!(desk.files("").len(), 1, "nothing was asked to be written");
    let json = desk.bench(&["import", "bursts.csv", "--json"]).code(0).json_lines().remove(0);
    assert_eq!((&json["requests"], &json["rate_per_s"], &json["gap_cv"]), (&3.into(), &0.5.into(), &0.5.into()));
    assert_eq!(json["output_tokens"]["zero"], 1);
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
