//! `bench plan`.

use serde_json::Value;

use super::{Desk, SCENARIO};

const SWEEP: &str = "\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [40, 50]\n";

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("tried.toml", &format!("{SCENARIO}{SWEEP}"));
    desk
}

/// The word in the last column of each point of a printed plan, first to last.
fn states(text: &str) -> Vec<&str> {
    let rows = text.lines().skip_while(|line| !line.starts_with("point")).skip(1);
    let rows = rows.take_while(|line| !line.is_empty() && !line.starts_with("total"));
    let words = ["new", "done", "changed"];
    rows.map(|row| row.split_whitespace().find(|word| words.contains(word)).unwrap_or("none")).collect()
}

#[test]
fn a_table_with_totals() {
    let desk = desk();
    let shown = desk.bench(&["plan", "tried.toml"]).code(0).shows("tried: 2 points, plan ").shows("\n2 new: ");
    assert!(shown.err.is_empty(), "{}", shown.err);
    for column in ["load.rate_per_s", "requests", "tokens in", "tokens out", "time", "state"] {
        assert!(shown.out.contains(column), "no {column}: {}", shown.out);
    }
    assert!(shown.out.contains("\ntotal "), "{}", shown.out);
    assert_eq!(states(&shown.out), ["new", "new"]);
    assert!(!desk.path("reports").exists(), "a plan writes nothing");
    // Narrow terminals get fewer columns, not broken lines.
    let narrow = Desk { vars: vec![("COLUMNS", "60".to_owned())], ..desk };
    let shown = narrow.bench(&["plan", "tried.toml"]).code(0);
    assert!(shown.out.lines().all(|line| line.chars().count() <= 72), "{}", shown.out);
    assert_eq!(states(&shown.out), ["new", "new"]);
}

#[test]
fn the_lengths_of_a_dataset_are_known() {
    let desk = Desk::new();
    desk.bench(&["init", "sharegpt"]).code(0);
    let plan: Value =
        serde_json::from_str(&desk.bench(&["plan", "sharegpt.toml", "--format", "json"]).code(0).out).unwrap();
    for point in plan["points"].as_array().unwrap() {
        let estimate = &point["estimate"];
        assert!(estimate["input_tokens"].as_u64().unwrap() > 0, "{estimate}");
        assert!(estimate["output_tokens"].as_u64().unwrap() > 0, "{estimate}");
    }
    // So a limit on tokens can be checked before anything runs.
    desk.bench(&["plan", "sharegpt.toml", "--set", "limits.tokens=10"]).code(65).says("B0801");
    // An answer of fixed length wins over the recorded ones: mean prompt unchanged, output = requests * 3.
    let set = "workloads.recorded.output_tokens={ kind = \"fixed\", value = 3 }";
    let fixed = desk.bench(&["plan", "sharegpt.toml", "--set", set, "--format", "json"]).code(0);
    let fixed: Value = serde_json::from_str(&fixed.out).unwrap();
    let estimate = &fixed["points"][0]["estimate"];
    let requests: u64 = ["warmup_requests", "measure_requests", "drain_requests"]
        .iter()
        .map(|key| estimate[key].as_u64().unwrap())
        .sum();
    assert!(estimate["output_tokens"].as_u64().unwrap().abs_diff(3 * requests) <= 3, "{estimate}");
}

#[test]
fn json_is_the_plan_and_fits_its_schema() {
    let desk = desk();
    let shown = desk.bench(&["plan", "tried.toml", "--format", "json", "-o", "saved.json"]).code(0);
    let plan: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(plan["format"], "bench.plan/1");
    let schema: Value = serde_json::from_str(&desk.bench(&["schema", "plan"]).code(0).out).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&plan).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(shown.out.trim_end(), desk.read("saved.json").trim_end());
    shown.says("bench apply saved.json");
    // Showing a saved plan gives the same plan.
    let again = desk.bench(&["plan", "saved.json", "--format", "json"]).code(0);
    assert_eq!(again.out.trim_end(), desk.read("saved.json").trim_end());
}

#[test]
fn markdown_is_a_comment() {
    let desk = desk();
    desk.bench(&["plan", "tried.toml", "--format", "markdown"]).code(0).shows("```text\ntried: 2 points");
}

#[test]
fn saved_plans_are_run_as_they_are() {
    let desk = desk();
    desk.bench(&["plan", "tried.toml", "--output", "saved.json"]).code(0);
    desk.bench(&["plan", "saved.json", "--set", "seed=9"]).code(64).says("a saved plan runs exactly as it is");
    desk.replace("saved.json", "\"value\": 4", "\"value\": 5");
    desk.bench(&["plan", "saved.json"]).code(65).says("saved.json");
    desk.write("saved.json", "{\"format\": \"bench.plan/2\"}");
    desk.bench(&["plan", "saved.json"]).code(65);
    desk.bench(&["plan", "tried.toml", "-o", "no/such/folder.json"]).code(78).says("cannot write");
}

#[test]
fn the_difference_to_a_base_needs_no_store() {
    let desk = desk();
    desk.bench(&["plan", "tried.toml", "-o", "old.json"]).code(0);
    desk.write("old.toml", &desk.read("tried.toml"));
    let same = desk.bench(&["plan", "tried.toml", "--base", "old.toml", "--detailed-exitcode"]).code(0);
    assert!(same.out.contains("nothing changes"), "{same:?}");
    desk.replace("tried.toml", "[40, 50]", "[40, 50, 60]");
    desk.replace("tried.toml", "p50 = 60000", "p50 = 50000");
    for base in ["old.toml", "old.json"] {
        let shown = desk.bench(&["plan", "tried.toml", "--base", base]).code(0);
        for text in ["1 added", "2 unchanged", "load.rate_per_s = 60", "60000 → 50000", "nothing runs again"] {
            assert!(shown.out.contains(text), "no {text:?}: {}", shown.out);
        }
        let comment = desk.bench(&["plan", "tried.toml", "--base", base, "--format", "markdown"]).code(0);
        for text in ["### bench plan: `tried`", "| points | 2 | 3 | +1 |", "| `60000` | `50000` |"] {
            assert!(comment.out.contains(text), "no {text:?}: {}", comment.out);
        }
    }
    desk.bench(&["plan", "tried.toml", "--base", "old.toml", "--detailed-exitcode"]).code(2);
    desk.bench(&["plan", "tried.toml", "--base", "old.toml", "--format", "json"]).code(64).says("--base");
    desk.bench(&["plan", "tried.toml", "--base", "gone.toml"]).code(65).says("gone.toml");
    assert!(!desk.path("reports").exists());
}

#[test]
fn states_follow_what_the_store_holds() {
    let desk = desk();
    desk.bench(&["plan", "tried.toml", "--detailed-exitcode"]).code(2);
    desk.bench(&["apply", "tried.toml", "--quiet"]).code(0);
    let done = desk.bench(&["plan", "tried.toml", "--detailed-exitcode"]).code(0).shows("2 done: nothing to measure.");
    assert_eq!(states(&done.out), ["done", "done"]);
    // A comment, another order of keys, a looser target: nothing to measure.
    desk.replace("tried.toml", "seed = 7\n", "# a comment\nseed = 7\n");
    desk.replace("tried.toml", "p50 = 60000", "p50 = 59000");
    let done = desk.bench(&["plan", "tried.toml", "--detailed-exitcode"]).code(0);
    assert_eq!(states(&done.out), ["done", "done"]);
    desk.replace("tried.toml", "[40, 50]", "[40, 45, 50]");
    let one =
        desk.bench(&["plan", "tried.toml", "--detailed-exitcode"]).code(2).shows("1 new, 2 done: 1 point to measure");
    assert_eq!(states(&one.out), ["done", "new", "done"]);
    let set = ["plan", "tried.toml", "--set", "workloads.chat.output_tokens.value=5"];
    let changed = desk.bench(&set).code(0).shows("workloads.chat.output_tokens.value: 4 → 5");
    assert!(states(&changed.out).contains(&"changed"), "{}", changed.out);
    // Another store knows nothing.
    let other = desk.bench(&["plan", "tried.toml", "--store", "elsewhere"]).code(0);
    assert_eq!(states(&other.out), ["new", "new", "new"]);
    desk.bench(&["plan", "tried.toml", "--store", "ftp://x/y"]).code(78).says("ftp");
}

#[test]
fn a_judgement_that_makes_a_measurement_unusable_is_work() {
    let desk = desk();
    desk.bench(&["apply", "tried.toml", "--quiet"]).code(0);
    // No lag at all is allowed: what was measured is invalid now, and `apply` would measure it again.
    desk.replace(
        "tried.toml",
        SWEEP,
        &format!("\n[validity]\ndispatch_lag_suspect_share = 0\ndispatch_lag_invalid_share = 0\n{SWEEP}"),
    );
    let shown = desk.bench(&["plan", "tried.toml", "--detailed-exitcode"]).code(2);
    assert_eq!(states(&shown.out), ["new", "new"], "{}", shown.out);
}

#[test]
fn the_distributions_of_a_point_are_those_of_its_requests() {
    let desk = Desk::new();
    desk.bench(&["init", "multi-model"]).code(0);
    let ask = |width: &str, args: &[&str]| {
        let mut all = vec!["plan", "multi-model.toml"];
        all.extend(args);
        let folder = Desk { folder: tempfile::tempdir().unwrap(), vars: vec![("COLUMNS", width.to_owned())] };
        folder.write("multi-model.toml", &desk.read("multi-model.toml"));
        folder.bench(&all).code(0)
    };
    for width in [80, 120] {
        let shown = ask(&width.to_string(), &["--distributions"]);
        assert!(shown.err.is_empty(), "{}", shown.err);
        for text in [
            "will draw, in the ",
            "chat, ",
            "classify, ",
            "input tokens: mean ",
            "(law ",
            "gaps, ms: mean ",
            "cv of the gaps",
            "█",
        ] {
            assert!(shown.out.contains(text), "no {text:?}: {}", shown.out);
        }
        let drawn = shown.out.split("will draw").nth(1).unwrap();
        assert!(drawn.lines().all(|line| line.chars().count() <= width), "{}", shown.out);
        // Wide terminals have inputs and outputs side by side.
        assert_eq!(
            drawn.lines().any(|line| line.contains("input tokens") && line.contains("output tokens")),
            width == 120
        );
    }
    let json: Value = serde_json::from_str(&ask("80", &["--distributions", "--format", "json"]).out).unwrap();
    assert_eq!(json["format"], "bench.distributions/1");
    let classify = &json["classes"]["classify"];
    // 100 … 300 uniform, answers of 4 tokens.
    let input = &classify["input_tokens"];
    assert!(input["min"].as_f64() >= Some(100.0) && input["max"].as_f64() <= Some(300.0), "{input}");
    assert_eq!((&input["law_mean"], &classify["output_tokens"]["mean"]), (&200.0.into(), &4.0.into()));
    let counted: u64 = input["bins"].as_array().unwrap().iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
    assert_eq!(classify["requests"], counted);
    let all: u64 = json["classes"].as_object().unwrap().values().map(|class| class["requests"].as_u64().unwrap()).sum();
    assert_eq!((&json["requests"], &json["window_requests"]), (&all.into(), &all.into()));
    // Another point by the beginning of its id; one that is not there is named.
    let plan: Value = serde_json::from_str(&ask("80", &["--format", "json"]).out).unwrap();
    let second = plan["points"][1]["id"].as_str().unwrap();
    let option = format!("--distributions={}", &second[..6]);
    let json: Value = serde_json::from_str(&ask("80", &[&option, "--format", "json"]).out).unwrap();
    assert_eq!(json["point"], second);
    desk.bench(&["plan", "multi-model.toml", "--distributions=nowhere"]).code(64).says("no point `nowhere`");
}

#[test]
fn distributions_of_users_and_of_files_of_lengths() {
    let desk = Desk::new();
    let text = super::SCENARIO.replace("kind = \"constant\"\nrate_per_s = 50", "kind = \"users\"\nusers = 3").replace(
        "input_tokens = { kind = \"fixed\", value = 16 }\noutput_tokens = { kind = \"fixed\", value = 4 }",
        "tokens = { kind = \"pairs\", path = \"pairs.csv\" }",
    );
    desk.write("tried.toml", &text);
    desk.write("pairs.csv", "input_tokens,output_tokens\n16,4\n2000,8\n");
    let json: Value =
        serde_json::from_str(&desk.bench(&["plan", "tried.toml", "--distributions", "--format", "json"]).code(0).out)
            .unwrap();
    assert_eq!((json.get("arrivals"), json.get("window_requests")), (None, None));
    let input = &json["classes"]["base"]["input_tokens"];
    assert_eq!((&input["count"], &input["law_mean"], &input["max"]), (&10_000.into(), &1008.0.into(), &2000.0.into()));
    desk.bench(&["plan", "tried.toml", "--distributions"]).code(0).shows("the first 10,000 requests of its users");
    // A wrong file stops the plan, with its line.
    desk.write("pairs.csv", "input_tokens,output_tokens\n16,4\n2000\n");
    desk.bench(&["plan", "tried.toml"]).code(65).says("B0840").says("line 3: found 1 fields, expected 2");
    desk.bench(&["validate", "tried.toml"]).code(65).says("B0840");
}
