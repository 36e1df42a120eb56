//! What a scenario takes from outside: store, `--set`, `extends`, variables.

use serde_json::{Value, json};

use super::{Desk, SCENARIO, report_path};

#[test]
fn the_store_of_the_command_line_then_of_the_scenario_then_the_default() {
    let desk = Desk::new();
    desk.write("plain.toml", SCENARIO);
    desk.write("team/own.toml", &format!("{SCENARIO}\n[store]\nurl = \"results\"\n"));
    let default = desk.bench(&["apply", "plain.toml", "-q"]).code(0);
    assert!(report_path(&default).starts_with("./reports/tried/"), "{default:?}");
    // A folder in a scenario is beside the scenario, whoever calls from wherever.
    let own = desk.bench(&["apply", "team/own.toml", "-q"]).code(0);
    assert!(report_path(&own).starts_with("team/results/tried/"), "{own:?}");
    assert!(desk.path("team/results/tried").is_dir());
    desk.bench(&["plan", "team/own.toml"]).code(0).shows("1 done");
    let flag = desk.bench(&["apply", "team/own.toml", "-q", "--store", "flag"]).code(0);
    assert!(report_path(&flag).starts_with("flag/tried/"), "{flag:?}");
    assert!(desk.path("flag/tried").is_dir(), "a folder on the command line is where the caller stands");
    // Where reports go changes nothing that was measured: the same points.
    let digests = |ended: &super::Ended| {
        let report: Value = serde_json::from_str(&desk.read(&report_path(ended))).unwrap();
        report["points"][0]["digest"].clone()
    };
    assert_eq!(digests(&own), digests(&flag));
    assert_eq!(digests(&own), digests(&default));
}

#[test]
fn wrong_sets_point_into_the_argument() {
    let desk = Desk::with_scenario();
    let cases = [
        ("load.rate_per_s", "B0603"),
        ("load.rate=4", "did you mean `rate_per_s`?"),
        ("load.rate_per_s=four", "expected a number"),
        ("traffic.bass.weight=1", "did you mean `base`?"),
        ("=4", "--set #2"),
        ("schema=2", "--set #2"),
    ];
    for (set, text) in cases {
        let ended = desk.bench(&["plan", "tried.toml", "--set", "seed=8", "--set", set]);
        assert_eq!(ended.code, 65, "{set}: {ended:#?}");
        assert!(ended.err.contains(text), "{set} does not say {text:?}: {}", ended.err);
        assert!(ended.err.contains("--set #2"), "{set}: {}", ended.err);
    }
}

#[test]
fn sets_bases_and_variables_are_recorded() {
    let desk = Desk::with_scenario().var("CLI_RATE_NAME", "from-outside");
    desk.write(
        "child.toml",
        "schema = 1\nextends = \"tried.toml\"\nname = \"child\"\ndescription = \"${CLI_RATE_NAME} ${CLI_UNSET:-fallback}\"\n",
    );
    let args = ["plan", "child.toml", "--set", "load.rate_per_s=25", "--format", "json"];
    let plan: Value = serde_json::from_str(&desk.bench(&args).code(0).out).unwrap();
    let scenario = &plan["scenario"];
    assert_eq!(scenario["name"], "child");
    assert_eq!(scenario["sets"], json!(["load.rate_per_s=25"]));
    assert_eq!(scenario["variables"]["CLI_RATE_NAME"], "from-outside", "{scenario}");
    let base = scenario["extends"]["tried.toml"].as_str().unwrap();
    assert_eq!(base, llm_bench::seed::sha256_hex(SCENARIO.as_bytes()));
    // A mistake of the base is shown in the base.
    desk.replace("tried.toml", "rate_per_s = 50", "rate_per_sec = 50");
    desk.bench(&["validate", "child.toml"]).code(65).says("tried.toml:24:1");
    desk.write("lost.toml", "extends = \"gone.toml\"\nschema = 1\n");
    desk.bench(&["validate", "lost.toml"]).code(65).says("B0601").says("gone.toml");
}

#[test]
fn secrets_do_not_come_in_through_variables() {
    let desk = Desk::new().var("MY_API_TOKEN", "sk-canary-123456");
    desk.write("leak.toml", &SCENARIO.replace("seed = 7", "seed = 7\ndescription = \"${MY_API_TOKEN}\""));
    for command in ["validate", "plan", "apply"] {
        let ended = desk.bench(&[command, "leak.toml"]).code(65).says("MY_API_TOKEN");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:#?}");
    }
    desk.write("unset.toml", &SCENARIO.replace("seed = 7", "seed = 7\ndescription = \"${NOT_SET_ANYWHERE}\""));
    desk.bench(&["validate", "unset.toml"]).code(65).says("B0501").says("NOT_SET_ANYWHERE");
    desk.write("asked.toml", &SCENARIO.replace("seed = 7", "seed = 7\ndescription = \"${WHO:?name yourself}\""));
    desk.bench(&["validate", "asked.toml"]).code(65).says("name yourself");
}
