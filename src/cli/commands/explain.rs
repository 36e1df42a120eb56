//! `bench explain`: what a code, a metric, a reason or the exit codes mean.

use crate::cli::args::ExplainArgs;
use crate::cli::exit::{self, Exit, Retry};
use crate::cli::output;
use crate::diagnostic::{codes, text};
use crate::measure::help::metric_names;
use crate::measure::timeline::Outcome;
use crate::measure::{metric_help, validity};
use crate::protocol::reason;

/// Runs the command.
pub fn run(args: &ExplainArgs) -> Exit {
    let Some(explanation) = explain(&args.what) else {
        let mut message = format!("error: nothing is known about {}", text::quote(&args.what));
        if let Some(hint) = text::nearest(&args.what, &names()) {
            message.push_str(&format!("; did you mean `{hint}`?"));
        } else {
            message.push_str("; codes look like `B0203`, metrics like `ttft_ms`; `exit-codes` explains the exit codes");
        }
        output::message(&message);
        return Exit::Usage;
    };
    output::result(&explanation);
    Exit::Success
}

fn explain(what: &str) -> Option<String> {
    if what == "exit-codes" {
        return Some(exit::markdown());
    }
    codes::explain(&what.to_ascii_uppercase())
        .or_else(|| metric_help(what).map(|text| format!("{what}\n\n{text}")))
        .or_else(|| reason::explain(what).map(|text| format!("{what}: {text}")))
        .or_else(|| outcome(what))
        .or_else(|| WORDS.iter().find(|(word, _)| *word == what).map(|(word, text)| format!("{word}: {text}")))
        .or_else(|| exit_code(what))
}

/// Words of reports that are neither metric nor reason.
const WORDS: &[(&str, &str)] = &[
    ("valid", "The client did its part: the numbers are the server's."),
    (
        "suspect",
        "The client may have made part of a number; the reasons beside it say which. Fails with `--strict` (101).",
    ),
    ("invalid", "The client, not the server, made a number; the reasons beside it say which. Exit code 101."),
    ("pass", "The target was met, and the sample proves it at 95 % confidence."),
    ("fail", "The target was missed, and the sample proves it at 95 % confidence. Exit code 99."),
    (
        "inconclusive",
        "The sample is too small to prove the target met or missed. Shown as `met?` (exit code 0, with `--strict` 99) or \
         `missed?` (99).",
    ),
    (
        "prompts_seen_before",
        "The store holds a measurement of the same point from the last 24 hours, with the same prompts: a prefix cache of \
         the server may still hold them. `prompts.salt = \"run\"` gives each run prompts of its own.",
    ),
];

fn outcome(what: &str) -> Option<String> {
    let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == what)?;
    let reasons: Vec<String> = reason::ALL
        .iter()
        .filter(|reason| reason.outcome == outcome)
        .map(|reason| format!("- {}: {}", reason.code, reason.meaning))
        .collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!("\n\nReasons:\n{}", reasons.join("\n")) };
    Some(format!("{what}: an outcome of a request. {}{reasons}", outcome.meaning()))
}

/// `99` as a shell shows it.
fn exit_code(what: &str) -> Option<String> {
    let exit = Exit::from_code(what.parse().ok()?)?;
    let retry = match exit.retry() {
        Retry::NotNeeded => "",
        Retry::Useless => " Starting the same command again does not help.",
        Retry::Resumes => " Starting the same command again may help; it goes on where it stopped.",
    };
    Some(format!("exit code {}, {}: {}{retry}", exit.code(), exit.name(), exit.meaning()))
}

fn names() -> Vec<String> {
    codes::all()
        .map(|code| code.id.to_owned())
        .chain(metric_names().map(str::to_owned))
        .chain(validity::CODES.iter().map(|code| (*code).to_owned()))
        .chain(reason::ALL.iter().map(|reason| reason.code.to_owned()))
        .chain(Outcome::ALL.into_iter().map(|outcome| outcome.name().to_owned()))
        .chain(WORDS.iter().map(|(word, _)| (*word).to_owned()))
        .chain(["exit-codes".to_owned()])
        .collect()
}
