//! `bench explain`: what a code, a metric, a reason or the exit codes mean.

use crate::cli::args::ExplainArgs;
use crate::cli::exit::{self, Exit};
use crate::cli::output;
use crate::diagnostic::{codes, text};
use crate::measure::help::metric_names;
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
        .or_else(|| metric_help(what).map(str::to_owned))
        .or_else(|| reason::explain(what).map(|text| format!("{what}: {text}")))
}

fn names() -> Vec<String> {
    codes::all()
        .map(|code| code.id.to_owned())
        .chain(metric_names().map(str::to_owned))
        .chain(validity::CODES.iter().map(|code| (*code).to_owned()))
        .chain(reason::ALL.iter().map(|reason| reason.code.to_owned()))
        .chain(["exit-codes".to_owned()])
        .collect()
}
