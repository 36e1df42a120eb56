//! Arguments, environment, terminal, exit codes: the only module that knows clap and the process.

pub mod args;
pub mod commands;
pub mod env;
pub mod exit;
pub mod load;
pub mod output;
pub mod progress;
pub mod reference;
pub mod stores;

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Parser;
use clap::error::ErrorKind;

pub use args::Cli;
use args::Command;
use env::Env;
use exit::Exit;

/// Parses the command line of the process, runs the command and returns its exit code. A panic is an
/// internal error like any other, never an exit code of its own.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wanted = matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            // A closed pipe is the reader's good right.
            let _ = error.print();
            return if wanted && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                Exit::Success
            } else {
                Exit::Usage
            };
        }
    };
    let env = Env::read();
    guarded(|| run(&cli, &env))
}

/// Runs `command`; a panic in it ends as an internal error.
fn guarded(command: impl FnOnce() -> Exit) -> Exit {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        output::message("internal error: this is a bug of `bench`; please report it with the lines above");
        Exit::Internal
    })
}

/// Runs a parsed command line.
pub fn run(cli: &Cli, env: &Env) -> Exit {
    match &cli.command {
        Command::Validate(args) => commands::validate::run(args, env, cli.color),
        Command::Plan(args) => commands::plan::run(args, env, cli.color),
        Command::Apply(args) => commands::apply::run(args, env, cli.color),
        Command::Report(args) => commands::report::run(args, env, cli.color),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Calibrate(args) => commands::calibrate::run(args, env),
        Command::Import(args) => commands::import::run(args),
        Command::Schema(args) => commands::schema::run(args),
        Command::Explain(args) => commands::explain::run(args, env),
        Command::Init(args) => commands::init::run(args, env),
        Command::Completions(args) => commands::completions::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error() {
        assert_eq!(guarded(|| panic!("on purpose")), Exit::Internal);
        assert_eq!(guarded(|| panic!("on purpose")).code(), 1);
        assert_eq!(guarded(|| Exit::SloMissed), Exit::SloMissed);
    }
}
