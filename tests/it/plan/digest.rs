//! What digests hang on, and what they do not.

use llm_bench::plan::canonical;
use llm_bench::seed::sha256_hex;
use serde_json::Value;

use super::{SCENARIO, Table, edit, parse, plan, plan_with};

fn point_digests(text: &str) -> Vec<String> {
    plan(text).points.into_iter().map(|point| point.digest).collect()
}

/// (what was done, the edited scenario): nothing that is measured changes.
fn harmless() -> Vec<(&'static str, String)> {
    let e = |from, to| edit(SCENARIO, from, to);
    let lines: Vec<&str> = SCENARIO.split("\n[").collect();
    let mut reordered = vec![lines[0]];
    // Tables in another order; the traffic table stays before its SLO and the sweep stays one.
    reordered.extend(lines[1..].iter().rev().filter(|table| !table.starts_with("traffic.slo")));
    let position = reordered.iter().position(|table| table.starts_with("[traffic]]")).unwrap();
    reordered.insert(position + 1, lines.iter().find(|table| table.starts_with("traffic.slo")).unwrap());
    vec![
        ("keys reordered", e("name = \"base\"\nbackend = \"main\"", "backend = \"main\"\nname = \"base\"")),
        ("tables reordered", reordered.join("\n[")),
        ("renamed", e("name = \"small\"", "name = \"other\"")),
        ("comment", e("seed = 42", "seed = 42 # a comment")),
        ("description", e("for tests", "for more tests")),
        ("label", e("team = \"serving\"", "team = \"training\"")),
        ("label removed", e("team = \"serving\"", "")),
        ("store", e("[labels]", "[store]\nurl = \"s3://bucket/x\"\n[labels]")),
        ("whole number as float", e("rate_per_s = 1", "rate_per_s = 1.0")),
        ("axis value as float", e("values = [1, 2, 4]", "values = [1.0, 2, 4.0]")),
        ("axis as range", e("values = [1, 2, 4]", "range = { kind = \"log\", from = 1, to = 4, count = 3 }")),
        ("duration spelled otherwise", e("duration = \"10s\"", "duration = \"10000ms\"")),
        ("default weight written", e("model = \"m\"", "model = \"m\"\nweight = 1")),
        (
            "default timeout written",
            e("url = \"http://localhost:8000\"", "url = \"http://localhost:8000\"\ntimeout = \"5m\""),
        ),
        (
            "default tokenizer written",
            e(
                "[workloads.chat]",
                "[tokenizers.builtin]\nkind = \"builtin\"\n[workloads.chat]\ntokenizer = \"builtin\"",
            ),
        ),
        (
            "price",
            e(
                "[backends.unused]",
                "[backends.main.price]\ninput_usd_per_million_tokens = 1\noutput_usd_per_million_tokens = 2\n[backends.unused]",
            ),
        ),
        ("unused backend changed", e("localhost:9000", "localhost:9001")),
        ("limits", e("[load]", "[limits]\npoints = 7\n[load]")),
    ]
}

/// (what was done, the edited scenario): the measurement is judged otherwise, not taken otherwise.
fn judging() -> Vec<(&'static str, String)> {
    let e = |from, to| edit(SCENARIO, from, to);
    vec![
        ("SLO tightened", e("p50 = 300", "p50 = 200")),
        ("SLO removed", e("ttft_ms = { p50 = 300 }", "")),
        ("error budget", e("[load]", "[errors]\nmax_share = 0.5\n[load]")),
        ("validity limit", e("[load]", "[validity]\nbusy_core_suspect_share = 0.5\n[load]")),
    ]
}

/// (what was done, the edited scenario): another experiment at every point.
fn measured() -> Vec<(&'static str, String)> {
    let e = |from, to| edit(SCENARIO, from, to);
    vec![
        ("seed", e("seed = 42", "seed = 43")),
        ("default changed", e("model = \"m\"", "model = \"m\"\nweight = 2")),
        ("timeout", e("url = \"http://localhost:8000\"", "url = \"http://localhost:8000\"\ntimeout = \"4m\"")),
        ("url", e("localhost:8000", "localhost:8001")),
        ("protocol", e("openai-chat", "openai-completions")),
        ("model", e("model = \"m\"", "model = \"n\"")),
        ("class renamed", e("name = \"base\"", "name = \"base2\"")),
        ("warm-up", e("warmup = \"2s\"", "warmup = \"3s\"")),
        ("window", e("duration = \"10s\"", "duration = \"11s\"")),
        ("drain", e("warmup = \"2s\"", "warmup = \"2s\"\ndrain = { max = \"61s\" }")),
        ("length", e("value = 100", "value = 101")),
        ("load kind", e("kind = \"constant\"", "kind = \"poisson\"")),
        ("secret reference", e("OPENAI_API_KEY", "OTHER_API_KEY")),
        // The body is sent as it is written, and `0` is not the text `0.0`.
        ("extra body spelled otherwise", e("temperature = 0.0", "temperature = 0")),
        ("salt", e("kind = \"synthetic\"", "kind = \"synthetic\", salt = \"run\"")),
    ]
}

#[test]
fn harmless_edits_change_no_digest() {
    let before = plan(SCENARIO);
    for (what, text) in harmless() {
        let after = plan(&text);
        assert_eq!(before.digest, after.digest, "{what}");
        for (old, new) in before.points.iter().zip(&after.points) {
            assert_eq!((&old.id, &old.digest, &old.seed), (&new.id, &new.digest, &new.seed), "{what}");
        }
    }
}

#[test]
fn judgements_change_the_plan_and_no_point() {
    let before = plan(SCENARIO);
    let mut seen = vec![before.digest.clone()];
    for (what, text) in judging() {
        let after = plan(&text);
        assert_eq!(point_digests(SCENARIO), point_digests(&text), "{what}");
        assert!(!seen.contains(&after.digest), "{what}");
        seen.push(after.digest);
    }
}

#[test]
fn every_change_of_the_experiment_changes_every_point() {
    let before = point_digests(SCENARIO);
    for (what, text) in measured() {
        for (old, new) in before.iter().zip(point_digests(&text)) {
            assert_ne!(*old, new, "{what}");
        }
    }
}

const DATASET: &str = "[tokenizers.llama]\nkind = \"file\"\npath = \"tok.json\"\n[workloads.chat]\ntokenizer = \"llama\"\nprompts = { kind = \"sharegpt\", path = \"data/chats.json\" }\n";

fn dataset_scenario() -> String {
    let without =
        edit(SCENARIO, "prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 100 }\n", "");
    edit(&without, "[workloads.chat]\n", DATASET)
}

fn files(dataset: &str, tokenizer: &str) -> Table {
    let mut table = Table::with("data/chats.json", dataset);
    table.0.extend(Table::with("tok.json", tokenizer).0);
    table
}

#[test]
fn the_content_of_input_files_counts_and_their_place_does_not() {
    let text = dataset_scenario();
    let before = plan_with(&text, &files("dataset", "tokenizer"));
    assert_eq!(before.inputs.keys().collect::<Vec<_>>(), ["data/chats.json", "tok.json"]);
    for (what, other) in
        [("dataset byte", files("datasat", "tokenizer")), ("tokenizer byte", files("dataset", "tokenizes"))]
    {
        let after = plan_with(&text, &other);
        assert!(before.points.iter().zip(&after.points).all(|(old, new)| old.digest != new.digest), "{what}");
    }
    let moved = edit(&text, "data/chats.json", "elsewhere.json");
    let mut elsewhere = Table::with("elsewhere.json", "dataset");
    elsewhere.0.extend(Table::with("tok.json", "tokenizer").0);
    assert_eq!(before.digest, plan_with(&moved, &elsewhere).digest);
    let pin = sha256_hex(b"dataset");
    let pinned = edit(&text, "\"data/chats.json\"", &format!("\"data/chats.json\", sha256 = \"{pin}\""));
    assert_eq!(before.digest, plan_with(&pinned, &files("dataset", "tokenizer")).digest);
}

#[test]
fn a_wrong_pin_and_a_missing_file_are_errors() {
    let text = dataset_scenario();
    let wrong = "0".repeat(64);
    let pinned = edit(&text, "\"data/chats.json\"", &format!("\"data/chats.json\", sha256 = \"{wrong}\""));
    let found = sha256_hex(b"dataset");
    let errors = super::try_build(&pinned, &files("dataset", "tokenizer")).unwrap_err();
    assert_eq!(
        super::messages(&errors),
        [format!(
            "`data/chats.json` is not the pinned file: expected sha256 {wrong}, found {found}; \
             restore the file, or write the new pin with `bench validate --pin`"
        )]
    );
    // One error for each file, not one for each point.
    let errors = super::try_build(&text, &Table::default()).unwrap_err();
    assert_eq!(errors.iter().map(llm_bench::plan::PlanError::kind).collect::<Vec<_>>(), ["input-unreadable"; 2]);
    assert!(super::messages(&errors)[0].starts_with("cannot read `tok.json`"), "{errors:?}");
}

/// The canonical form was checked by hand against design.md: every setting that changes a number, defaults
/// written out, no judgement, no name. `sha256sum` of the file is the digest; seed and
/// plan digest were computed apart, with Python's hashlib.
#[test]
fn golden_canonical_form() {
    let golden = include_str!("../../fixtures/plan/canonical-point.json");
    let plan = plan(SCENARIO);
    assert_eq!(canonical::to_string(&plan.canonical_point(1).unwrap()), golden.trim_end());
    assert_eq!(plan.points[1].digest, sha256_hex(golden.trim_end().as_bytes()));
    assert_eq!(plan.points[1].digest, "55d57d929d5d6a48bb1cc8db82126c12e10650cf48b17bf2ae36b9de9763127f");
    assert_eq!(plan.points[1].seed, "95e8719bcb0cfa71ccad92a978df894beca2c5f14d24531c3544533ce55e33d7");
    assert_eq!(plan.digest, "b46eff1740eb65de7bebee1959b61ba31d1d6862632a63def242c13a06998d07");
}

#[test]
fn points_keep_digest_and_seed_when_others_come_and_go() {
    let key = |text: &str| -> Vec<(String, String)> {
        plan(text).points.into_iter().map(|point| (point.digest, point.seed)).collect()
    };
    let three = key(SCENARIO);
    let four = key(&edit(SCENARIO, "[1, 2, 4]", "[8, 1, 2, 4]"));
    assert_eq!(three, four[1..]);
    // A further axis at the value that was the setting before.
    let grid = key(&format!("{SCENARIO}\n[[sweep]]\naxis = \"load.split\"\nvalues = [\"exact\", \"draw\"]\n"));
    assert_eq!(three, [&grid[1], &grid[3], &grid[5]].map(Clone::clone));
    // The point of an axis is the scenario that says the same without an axis.
    let alone = super::with_axes("").replace("rate_per_s = 1", "rate_per_s = 2");
    assert_eq!(key(&alone), [three[1].clone()]);
    let mut seeds: Vec<&String> = three.iter().map(|(_, seed)| seed).collect();
    seeds.dedup();
    assert_eq!(seeds.len(), 3);
}

#[test]
fn canonical_form_holds_no_name_and_no_secret_value() {
    let (file, _) = parse(SCENARIO);
    let canonical: Value = canonical::canonical(&file, &Default::default()).unwrap();
    let text = canonical::to_string(&canonical);
    for absent in ["small", "for tests", "serving", "unused", "slo", "schema", "validity", "limits", "sweep"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert!(text.contains(r#""api_key":{"env":"OPENAI_API_KEY","optional":true}"#));
}

/// Two servers that are compared get the same requests; a setting that changes a body does not hide.
#[test]
fn how_a_server_is_reached_does_not_change_its_requests() {
    let of = |text: &str| plan(text).points.into_iter().map(|point| (point.digest, point.seed)).collect::<Vec<_>>();
    let here = of(SCENARIO);
    let url = SCENARIO.split("url = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let there = of(&SCENARIO.replace(url, "http://elsewhere:1234"));
    for (here, there) in here.iter().zip(&there) {
        assert_ne!(here.0, there.0, "another server is another point");
        assert_eq!(here.1, there.1, "with the same requests");
    }
}
