//! `bench schema`, `bench explain`, `bench completions`: text that comes with the binary.

use std::collections::BTreeSet;

use llm_bench::cli::exit::Exit;
use llm_bench::diagnostic::codes;
use llm_bench::measure::timeline::Outcome;
use llm_bench::measure::{Metric, validity};
use llm_bench::protocol::reason;
use serde_json::Value;

use super::Desk;

#[test]
fn schemas_are_the_committed_ones_and_schemas() {
    let desk = Desk::new();
    for name in ["scenario", "report", "plan", "requests"] {
        let shown = desk.bench(&["schema", name]).code(0);
        let path = format!("{}/schema/{name}.v1.json", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(shown.out, std::fs::read_to_string(path).unwrap(), "{name}");
        let schema: Value = serde_json::from_str(&shown.out).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        if let Err(error) = jsonschema::draft7::meta::validate(&schema) {
            panic!("{name} is no schema: {error}");
        }
    }
}

#[test]
fn everything_a_user_meets_is_explained() {
    let words: BTreeSet<String> = codes::all()
        .map(|code| code.id.to_owned())
        .chain(Metric::ALL.iter().map(|metric| metric.name().to_owned()))
        .chain(validity::CODES.iter().map(|code| (*code).to_owned()))
        .chain(reason::ALL.iter().map(|reason| reason.code.to_owned()))
        .chain(Outcome::ALL.iter().map(|outcome| outcome.name().to_owned()))
        .chain(Exit::ALL.iter().map(|exit| exit.code().to_string()))
        .chain(
            ["http_503", "goodput", "suspect", "inconclusive", "prompts_seen_before", "exit-codes"].map(str::to_owned),
        )
        .collect();
    assert!(words.len() > 120, "{}", words.len());
    let desk = Desk::new();
    for word in words {
        let shown = desk.bench(&["explain", &word]).code(0);
        assert!(
            shown.out.to_lowercase().contains(&word.to_lowercase()) || word == "exit-codes",
            "{word}: {}",
            shown.out
        );
        assert!(shown.out.len() > word.len() + 20 && shown.err.is_empty(), "{word}: {shown:?}");
    }
}

#[test]
fn explanations_have_examples_and_reasons() {
    let desk = Desk::new();
    desk.bench(&["explain", "b0203"]).code(0).shows("Wrong:").shows("Right:");
    desk.bench(&["explain", "ttft_ms"]).code(0).shows("Unit: ms").shows("`intended`");
    desk.bench(&["explain", "server_error"]).code(0).shows("outcome").shows("in_band_error");
    desk.bench(&["explain", "75"]).code(0).shows("interrupted").shows("goes on where it stopped");
    let codes = desk.bench(&["explain", "exit-codes"]).code(0);
    let lines: Vec<&str> = codes.out.lines().collect();
    let at = |exit: Exit| lines.iter().position(|line| *line == format!("{:>4}  {}", exit.code(), exit.name()));
    let places: Vec<usize> = Exit::ALL.into_iter().map(|exit| at(exit).unwrap()).collect();
    assert!(places.is_sorted(), "in the order of precedence: {}", codes.out);
    // Texts fit the terminal; the page they come from is wider.
    for word in ["exit-codes", "goodput", "dispatch_lag", "server_error"] {
        let mut narrow = desk.command(&["explain", word]);
        let shown = super::ended(narrow.env("COLUMNS", "60")).code(0);
        assert!(shown.out.lines().all(|line| line.chars().count() <= 60), "{}", shown.out);
    }
}

#[test]
fn unknown_words_get_a_suggestion() {
    let desk = Desk::new();
    desk.bench(&["explain", "ttft"]).code(64).says("did you mean `ttft_ms`?");
    desk.bench(&["explain", "truncatd"]).code(64).says("did you mean `truncated`?");
    desk.bench(&["explain", "completely different"]).code(64).says("codes look like");
    desk.bench(&["explain", "B9999"]).code(64);
}

#[test]
fn completions_for_every_shell() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = desk.bench(&["completions", shell]).code(0);
        for word in ["apply", "--run-id", "bench"] {
            assert!(script.out.contains(word.trim_start_matches('-')), "{shell} does not know {word}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    let desk = Desk::new();
    let mut piped = std::process::Command::new("sh");
    // More than a pipe holds, into a reader that takes a line.
    piped.args(["-c", "{ \"$0\" schema scenario; echo \"code $?\" >&2; } | head -n 1"]);
    piped.arg(desk.command::<&str>(&[]).get_program());
    let ended = super::ended(&mut piped).code(0).says("code 0");
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
}
