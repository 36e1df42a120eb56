//! `bench explain`: what a code, a metric, a reason or the exit codes mean.

use crate::cli::args::ExplainArgs;
use crate::cli::env::Env;
use crate::cli::exit::{Exit, Retry};
use crate::cli::output;
use crate::diagnostic::{codes, text};
use crate::measure::help::metric_names;
use crate::measure::timeline::Outcome;
use crate::measure::{metric_help, validity};
use crate::protocol::reason;
use crate::report::terminal::wrap;

/// Runs the command.
pub fn run(args: &ExplainArgs, env: &Env) -> Exit {
    let Some(explanation) = explain(&args.what, env.width) else {
        let mut message = format!("error: nothing is known about {}", text::quote(&args.what));
        if let Some(hint) = text::nearest(&args.what, &names()) {
            message.push_str(&format!("; did you mean `{hint}`?"));
        } else {
            message.push_str("; codes look like `B0203`, metrics like `ttft_ms`; `exit-codes` explains the exit codes");
        }
        output::message(&message);
        return Exit::Usage;
    };
    output::result(&fit(&explanation, env.width));
    Exit::Success
}

/// Reflows paragraphs that are wider than the terminal: those of a list under their text, examples never.
fn fit(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    let mut lines = text.lines().peekable();
    while let Some(first) = lines.next() {
        let mut block = vec![first];
        let flows = !first.is_empty() && !first.starts_with("    ");
        while let Some(next) = lines.next_if(|next| {
            flows && !next.is_empty() && !next.starts_with("- ") && !next.starts_with("    ") && !next.starts_with('|')
        }) {
            block.push(next);
        }
        if !flows || block.iter().all(|line| line.chars().count() <= width) {
            block.iter().for_each(|line| fitted.push_str(&format!("{line}\n")));
            continue;
        }
        let hang = if first.starts_with("- ") { "  " } else { "" };
        let whole = block.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        for (index, line) in wrap(&whole, width.saturating_sub(hang.len()), "").lines().enumerate() {
            fitted.push_str(if index > 0 { hang } else { "" });
            fitted.push_str(line);
            fitted.push('\n');
        }
    }
    fitted
}

/// Every exit code in the order of precedence: the page of the documentation is a table too wide for a
/// terminal.
fn exit_codes(width: usize) -> String {
    let mut text = String::from("When several apply, the first of this list wins.\n");
    for exit in Exit::ALL {
        let retry = match exit.retry() {
            Retry::Resumes => " Trying again resumes.",
            Retry::NotNeeded | Retry::Useless => "",
        };
        text.push_str(&format!("\n{:>4}  {}\n", exit.code(), exit.name()));
        text.push_str(&wrap(&format!("{}{retry}", exit.meaning()), width, "      "));
    }
    text.push_str("\nThe exit code of `bench apply` is a function of the report: applying a finished plan again ends with it again.\n");
    text
}

fn explain(what: &str, width: usize) -> Option<String> {
    if what == "exit-codes" {
        return Some(exit_codes(width));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_paragraphs_flow_and_examples_stand() {
        let text =
            "aaaa bbbb cccc dddd eeee ffff\ngggg\n\n- hhhh iiii jjjj kkkk llll\n- short\n\n    kind = \"an example\"\n";
        let fitted = "aaaa bbbb cccc dddd\neeee ffff gggg\n\n- hhhh iiii jjjj\n  kkkk llll\n- short\n\n    kind = \"an example\"\n";
        assert_eq!(fit(text, 22), fitted);
        assert_eq!(fit(text, 200), text);
    }
}
