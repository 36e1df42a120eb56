//! Pages that the program writes are the committed ones, and they are complete.

use std::fs;

use clap::{Command, CommandFactory};
use llm_bench::cli::exit::Exit;
use llm_bench::cli::{Cli, reference};

use super::{committed, root};

#[test]
fn the_reference_of_the_command_line_is_current() {
    committed("docs/cli.md", &reference::cli_markdown());
}

#[test]
fn the_list_of_reasons_is_current() {
    committed("docs/reasons.md", &reference::reasons_markdown());
}

#[test]
fn the_table_of_faults_is_current() {
    committed("docs/faults.md", &crate::faults::page::page());
}

#[test]
fn every_option_is_in_the_reference() {
    let page = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let mut root = Cli::command();
    root.build();
    let mut seen = 0;
    let mut open: Vec<&Command> = vec![&root];
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().filter(|command| command.get_name() != "help"));
        let section = match command.get_name() {
            "bench" => page.split("\n## `").next().unwrap(),
            name => {
                let start =
                    page.find(&format!("\n## `bench {name}`\n")).unwrap_or_else(|| panic!("`{name}` is missing"));
                page[start + 1..].split("\n## ").next().unwrap()
            }
        };
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let id = argument.get_id().as_str();
            if matches!(id, "help" | "version") || (argument.is_global_set() && command.get_name() != "bench") {
                continue;
            }
            let named = match argument.get_long() {
                Some(long) => section.contains(&format!("--{long}")),
                None => {
                    argument.get_value_names().unwrap().iter().all(|name| section.contains(&name.replace('|', "\\|")))
                }
            };
            assert!(named, "`{id}` of `{}` is missing", command.get_name());
            assert!(argument.get_help().is_some(), "`{id}` of `{}` has no help", command.get_name());
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} arguments were found");
}

#[test]
fn every_exit_code_has_its_row() {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    for exit in Exit::ALL {
        assert!(page.contains(&format!("| {} | {} |", exit.code(), exit.name())), "{exit:?} is missing");
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).count();
    assert_eq!(rows, Exit::ALL.len());
}
