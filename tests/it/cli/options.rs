//! No option without a test: the command lines in this folder are compared with what clap knows.

use std::collections::BTreeMap;

use clap::CommandFactory;
use llm_bench::cli::Cli;

/// The literals of every `["command", "…"]` list in the sources of these tests, by command.
fn exercised() -> BTreeMap<String, Vec<String>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/cli");
    let mut by_command: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        // A long list begins on a line of its own.
        for list in source.split('[').filter_map(|list| list.trim_start().strip_prefix('"')) {
            let list = list.split(']').next().unwrap_or_default();
            let mut words = list.split('"').step_by(2).map(str::to_owned);
            let Some(command) = words.next() else { continue };
            by_command.entry(command).or_default().extend(words);
        }
    }
    by_command
}

#[test]
fn every_option_of_every_command_is_exercised() {
    let exercised = exercised();
    let mut missing = Vec::new();
    let cli = Cli::command();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        let words = exercised.get(command.get_name()).cloned().unwrap_or_default();
        for option in command.get_arguments().chain(cli.get_arguments().filter(|arg| arg.is_global_set())) {
            let Some(long) = option.get_long() else { continue };
            let known = format!("--{long}");
            // Global options are proven once.
            let words =
                if option.is_global_set() { exercised.values().flatten().cloned().collect() } else { words.clone() };
            if !words.contains(&known) {
                missing.push(format!("bench {} {known}", command.get_name()));
            }
        }
    }
    assert!(missing.is_empty(), "no test in tests/it/cli uses: {missing:#?}");
}

#[test]
fn the_comparison_can_fail() {
    let exercised = exercised();
    assert!(exercised["apply"].contains(&"--rerun".to_owned()));
    assert!(!exercised["apply"].contains(&"--port".to_owned()));
    assert!(exercised["simulate"].contains(&"--port".to_owned()));
}
