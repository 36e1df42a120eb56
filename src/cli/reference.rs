//! Pages of docs/ that the program itself writes: the command line and the reasons of failures.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::Cli;
use crate::protocol::reason;

/// The page `docs/cli.md`: every command with every argument.
pub fn cli_markdown() -> String {
    let mut page = String::from(CLI_HEAD);
    let mut root = Cli::command();
    root.build();
    let global: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    page.push_str("\n## With every command\n\n");
    table(&mut page, &global);
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        section(&mut page, command);
    }
    page
}

fn section(page: &mut String, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n    ");
    page.push_str(&format!("\n## `bench {}`\n\n{}.\n\n    {usage}\n", command.get_name(), about.trim_end_matches('.')));
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set()).collect();
    let own: Vec<&Arg> = own.into_iter().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")).collect();
    if !own.is_empty() {
        page.push('\n');
        table(page, &own);
    }
}

fn table(page: &mut String, args: &[&Arg]) {
    page.push_str("| argument | values | default | |\n|---|---|---|---|\n");
    for arg in args {
        let values: Vec<String> = arg.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        let values = if takes_value(arg) { values.join(", ") } else { String::new() };
        let defaults: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        let default =
            if takes_value(arg) && !defaults.is_empty() { format!("`{}`", defaults.join(",")) } else { String::new() };
        page.push_str(&format!("| `{}` | {values} | {default} | {} |\n", name(arg), help(arg)));
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// `-o, --output FILE`, or the value alone for an argument by position.
fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    // A bar would end the cell.
    let value = value.replace('|', "\\|");
    let names: Vec<String> =
        [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))]
            .into_iter()
            .flatten()
            .collect();
    match (names.is_empty(), takes_value(arg)) {
        (true, _) => value,
        (false, true) => format!("{} {value}", names.join(", ")),
        (false, false) => names.join(", "),
    }
}

fn help(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('\n', " ");
    if let Some(variable) = arg.get_env() {
        help.push_str(&format!(" Also the variable `{}`.", variable.to_string_lossy()));
    }
    help
}

/// The page `docs/reasons.md`: why requests do not complete.
pub fn reasons_markdown() -> String {
    let mut page = String::from(REASONS_HEAD);
    for reason in reason::ALL {
        page.push_str(&format!("| `{}` | `{}` | {} |\n", reason.code, reason.outcome.name(), reason.meaning));
    }
    page.push_str(REASONS_TAIL);
    page
}

const CLI_HEAD: &str = "\
<!-- Generated from src/cli/args.rs; `UPDATE=1 cargo test` writes it anew. -->
# Command line

Results go to stdout, progress and mistakes to stderr. Colour is off where the output is no terminal or `NO_COLOR` is
set. Exit codes: [exit-codes.md](exit-codes.md). `bench completions SHELL` prints completions.
";

const REASONS_HEAD: &str = "\
<!-- Generated from src/protocol/reason.rs; `UPDATE=1 cargo test` writes it anew. -->
# Why a request did not complete

Every planned request ends in exactly one outcome. Those that did not complete carry a reason: `requests.jsonl.gz` has
it per request, `errors.reasons` of a report counts them with the first detail line the server gave.
`bench explain REASON` prints a line of this table.

| reason | outcome | meaning |
|---|---|---|
";

const REASONS_TAIL: &str = "\
| `http_NNN` | `server_error`, `rate_limited` | The server answered with this HTTP status: 429 is `rate_limited`, every other one `server_error`. |
| `other` | any | Counted together, because a point had more than 100 different reasons. |

A decoder written outside this project may give codes of its own. The codes of *validity* (whether to believe a point)
are in [metrics.md](metrics.md).
";
