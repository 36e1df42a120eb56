//! Help, versions, and command lines that make no sense.

use super::Desk;

const COMMANDS: [&str; 11] = [
    "validate",
    "plan",
    "apply",
    "report",
    "simulate",
    "calibrate",
    "import",
    "schema",
    "explain",
    "init",
    "completions",
];

#[test]
fn help_of_everything() {
    let desk = Desk::new();
    let help = desk.bench(&["--help"]).code(0);
    for command in COMMANDS {
        assert!(help.out.contains(&format!("\n  {command} ")), "{command} is not in --help");
        for flag in ["--help", "-h"] {
            let own = desk.bench(&[command, flag]).code(0).shows(&format!("Usage: bench {command}"));
            assert!(own.err.is_empty(), "{own:#?}");
            assert!(own.out.lines().all(|line| line.chars().count() <= 100), "{}", own.out);
        }
    }
    // Work that is not finished is not offered.
    for later in ["compare", "export", "merge", "--shard"] {
        assert!(!help.out.contains(later), "{later} is in --help, but does not exist");
    }
    desk.bench(&["--version"]).code(0).shows(concat!("bench ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_first_hint_of_the_help_works_in_an_empty_folder() {
    let desk = Desk::new();
    let help = desk.bench(&["--help"]).code(0).shows("bench init quickstart && bench apply quickstart.toml");
    assert!(help.out.contains("bench explain exit-codes"));
    desk.bench(&["init", "quickstart"]).code(0);
    desk.bench(&["validate", "quickstart.toml"]).code(0);
}

#[test]
fn no_arguments_show_the_help_as_an_error() {
    let ended = Desk::new().bench::<&str>(&[]).code(64).says("Usage: bench");
    assert!(ended.out.is_empty());
}

#[test]
fn wrong_command_lines_end_with_64_and_a_hint() {
    let cases: &[(&[&str], &str)] = &[
        (&["aply", "x.toml"], "'apply'"),
        (&["validate"], "<FILE>"),
        (&["plan"], "<FILE>"),
        (&["apply"], "<FILE|plan.json>"),
        (&["schema"], "<WHICH>"),
        (&["schema", "scenari"], "'scenario'"),
        (&["explain"], "<CODE|METRIC>"),
        (&["init"], "<NAME>"),
        (&["completions", "tcsh"], "possible values"),
        (&["apply", "x.toml", "--strickt"], "'--strict'"),
        (&["apply", "x.toml", "--grace", "soon"], "--grace"),
        (&["apply", "x.toml", "--workers", "0"], "1..=64"),
        (&["apply", "x.toml", "--run-id", "a", "--rerun"], "cannot be used with"),
        (&["apply", "x.toml", "--rerun", "--max-age", "1h"], "cannot be used with"),
        (&["report", "--format", "pdf"], "possible values"),
        (&["simulate", "--port", "70000"], "--port"),
        (&["simulate", "--profile", "9000b"], "--profile"),
        (&["--color", "maybe", "schema", "plan"], "possible values"),
    ];
    let desk = Desk::new();
    for (args, hint) in cases {
        let ended = desk.bench(args);
        assert_eq!(ended.code, 64, "{args:?}: {ended:#?}");
        assert!(ended.err.contains(hint), "{args:?} does not say {hint:?}: {}", ended.err);
        assert!(ended.out.is_empty(), "{args:?}: usage errors go to stderr");
    }
}
