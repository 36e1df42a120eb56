//! `bench apply`: what goes to which stream, and which exit code wins.

use serde_json::Value;

use super::{Desk, SCENARIO, report_path};
use crate::support::closed::ClosedPort;

#[test]
fn results_on_stdout_progress_on_stderr_the_report_on_the_last_line() {
    let desk = Desk::with_scenario();
    let first = desk.bench(&["apply", "tried.toml"]).code(0);
    let path = report_path(&first);
    assert!(desk.path(&path).is_file(), "{path}");
    for text in ["1 point, stored in ./reports", "backend main answers with model sim-tiny", "10 of 10 completed"] {
        assert!(first.err.contains(text), "no {text:?}: {}", first.err);
    }
    assert!(!first.err.contains('\u{1b}') && !first.err.contains('\r'), "no live line into a pipe: {:?}", first.err);
    assert!(first.out.contains("Points\n") && !first.out.contains("answers with model"));
    // Again: nothing is measured, the same report, the same code.
    let second = desk.bench(&["apply", "tried.toml"]).code(0).says("nothing to measure").says("--rerun");
    assert_eq!(report_path(&second), path);
    let quiet = desk.bench(&["apply", "tried.toml", "--rerun", "--quiet"]).code(0);
    assert_ne!(report_path(&quiet), path);
    assert!(quiet.err.is_empty(), "{}", quiet.err);
    // The whole points count, not the age, unless an age is given.
    let fresh = desk.bench(&["apply", "tried.toml", "--max-age", "1h", "-q"]).code(0).says("nothing to measure");
    assert_eq!(report_path(&fresh), report_path(&quiet));
    let stale = desk.bench(&["apply", "tried.toml", "--max-age", "0s", "-q"]).code(0);
    assert_ne!(report_path(&stale), report_path(&quiet));
}

#[test]
fn json_is_one_value_and_fits_the_schema_of_reports() {
    let desk = Desk::with_scenario();
    let ended =
        desk.bench(&["apply", "tried.toml", "--format", "json", "-q", "--grace", "5s", "--workers", "1"]).code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&value["exit_code"], &value["measured_points"]), (&0.into(), &1.into()));
    assert!(desk.path(value["location"].as_str().unwrap()).is_file());
    let schema: Value = serde_json::from_str(&desk.bench(&["schema", "report"]).code(0).out).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value["report"]).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn a_saved_plan_and_one_point_of_it() {
    let desk = Desk::new();
    desk.write("tried.toml", &format!("{SCENARIO}\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [40, 50]\n"));
    desk.bench(&["plan", "tried.toml", "-o", "saved.json"]).code(0);
    let plan: Value = serde_json::from_str(&desk.read("saved.json")).unwrap();
    let id = plan["points"][1]["id"].as_str().unwrap();
    std::fs::create_dir(desk.path("spool")).unwrap();
    let beginning = &id[..6];
    let only = ["apply", "saved.json", "--only", beginning, "--spool", "spool", "--run-id", "named"];
    let one = desk.bench(&only);
    assert!(one.err.contains("1/2") || one.err.contains("2/2"), "{one:#?}");
    assert_eq!(desk.files("reports").iter().filter(|file| file.ends_with("requests.jsonl.gz")).count(), 1);
    assert!(desk.files("spool").is_empty(), "nothing is left behind: {:?}", desk.files("spool"));
    desk.bench(&["apply", "saved.json", "--only", "zzzz"]).code(64).says("zzzz");
    desk.bench(&["apply", "saved.json", "--set", "seed=1"]).code(64).says("--set");
    desk.bench(&["apply", "saved.json", "--run-id", "not/a/name"]).code(64).says("not/a/name");
    desk.bench(&["apply", "saved.json", "--run-id", "named", "-q"]).code(0);
}

/// What is changed of the scenario so that a condition holds.
const HEALTHY: (&str, &str) = ("tiny?jitter=0", "tiny?jitter=0");
const EVERY_SECOND_FAILS: (&str, &str) = ("tiny?jitter=0", "tiny?jitter=0&fault=http_500&every=2");
const ALL_FAIL: (&str, &str) = ("tiny?jitter=0", "tiny?jitter=0&fault=http_500&every=1&after=1");
const SLO_MET: (&str, &str) = ("p50 = 60000", "p50 = 60000");
const SLO_MISSED: (&str, &str) = ("p50 = 60000", "p50 = 0.0001");
const TRUSTED: &str = "";
const SUSPECT: &str = "\n[validity]\ndispatch_lag_suspect_share = 0\ndispatch_lag_invalid_share = 1000\n";
const INVALID: &str = "\n[validity]\ndispatch_lag_suspect_share = 0\ndispatch_lag_invalid_share = 0\n";

#[test]
fn the_first_exit_code_in_the_order_wins() {
    let plain: &[&str] = &["apply", "case.toml", "-q"];
    let strict: &[&str] = &["apply", "case.toml", "-q", "--strict"];
    let zero: &[&str] = &["apply", "case.toml", "-q", "--exit-zero-on-slo"];
    let both: &[&str] = &["apply", "case.toml", "-q", "--strict", "--exit-zero-on-slo"];
    let cases = [
        ("all is well", HEALTHY, SLO_MET, TRUSTED, plain, 0),
        ("SLO missed", HEALTHY, SLO_MISSED, TRUSTED, plain, 99),
        ("SLO missed, forgiven", HEALTHY, SLO_MISSED, TRUSTED, zero, 0),
        ("budget broken", EVERY_SECOND_FAILS, SLO_MET, TRUSTED, plain, 100),
        ("SLO missed + budget broken", EVERY_SECOND_FAILS, SLO_MISSED, TRUSTED, plain, 100),
        ("SLO missed + budget broken, SLO forgiven", EVERY_SECOND_FAILS, SLO_MISSED, TRUSTED, zero, 100),
        ("SLO missed + budget broken + invalid", EVERY_SECOND_FAILS, SLO_MISSED, INVALID, plain, 101),
        ("invalid, SLO forgiven", HEALTHY, SLO_MISSED, INVALID, zero, 101),
        ("SLO missed + suspect", HEALTHY, SLO_MISSED, SUSPECT, plain, 99),
        ("suspect", HEALTHY, SLO_MET, SUSPECT, plain, 0),
        ("SLO missed + suspect, strict", HEALTHY, SLO_MISSED, SUSPECT, strict, 101),
        ("suspect, strict, SLO forgiven", HEALTHY, SLO_MET, SUSPECT, both, 101),
    ];
    let desk = Desk::new();
    for (what, fault, slo, validity, command, code) in cases {
        let text = SCENARIO.replace(fault.0, fault.1).replace(slo.0, slo.1);
        desk.write("case.toml", &format!("{text}{validity}"));
        let store = format!("store-{}", what.replace([' ', ',', '+'], "-"));
        let args = [command, &["--store", &store]].concat();
        for attempt in ["measured", "from the store"] {
            let ended = desk.bench(&args);
            assert_eq!(ended.code, code, "{what}, {attempt}: {ended:#?}");
            let said = ended.err.contains(&format!("exit code {code}: "));
            assert_eq!(said, code != 0, "{what}: {}", ended.err);
            report_path(&ended);
            if code == 101 {
                break;
            }
        }
    }
}

#[test]
fn nothing_completed_beats_what_follows_from_it() {
    let desk = Desk::new();
    // The probe is answered, nothing after it.
    let text = SCENARIO.replace(ALL_FAIL.0, ALL_FAIL.1).replace(SLO_MISSED.0, SLO_MISSED.1);
    desk.write("case.toml", &text);
    let ended = desk.bench(&["apply", "case.toml"]).code(69);
    assert!(ended.out.contains("http_500") || ended.out.contains("server_error"), "{ended:#?}");
    // A server that is down fails the probe; retrying may help.
    let closed = ClosedPort::new();
    desk.write("down.toml", &SCENARIO.replace("sim:tiny?jitter=0", &format!("http://{}", closed.address)));
    desk.bench(&["apply", "down.toml"]).code(69).says(&closed.address.to_string());
}

#[test]
fn what_is_found_first_does_not_hide_what_counts() {
    let desk = Desk::with_scenario();
    desk.write("bad.toml", &SCENARIO.replace("seed", "sead"));
    desk.bench(&["apply", "bad.toml", "--no-such-option"]).code(64);
    desk.bench(&["apply", "bad.toml", "--store", "ftp://nowhere"]).code(65).says("sead");
    desk.write("blocked", "a file where a folder should be");
    desk.bench(&["apply", "tried.toml", "--store", "blocked/store"]).code(78).says("blocked");
}
