//! The documentation is true: commands parse, scenarios load, links lead somewhere, outputs are those of the program,
//! generated pages are current, and ARCHITECTURE.md says who knows whom.
//!
//! `UPDATE=1 cargo test` rewrites what is generated.

mod commands;
mod generated;
mod links;
mod outputs;
mod scenarios;
mod tidy;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` (relative to the root) with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|found| found == extension) {
                found.push(entry);
            }
        }
    }
    found.sort();
    found
}

/// Every page that people read.
fn pages() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    top.iter().map(|name| root().join(name)).chain(files("docs", "md")).chain(files("tests", "md")).collect()
}

/// The path as messages show it.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// A code block of a page.
#[derive(Debug)]
struct Block {
    /// After the opening fence; `indented` for a block without one.
    info: String,
    text: String,
    /// Line of its first line of text, from 1.
    line: usize,
    /// The line before the block, such as a marker in a comment.
    before: String,
}

/// Fenced and indented blocks of a page.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence = None;
    let (mut last, mut previous_blank) = (String::new(), true);
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            fence = match fence {
                Some(()) => None,
                None => {
                    let before = last.clone();
                    blocks.push(Block { info: info.to_owned(), text: String::new(), line: number + 2, before });
                    Some(())
                }
            };
        } else if fence.is_some() {
            let block = blocks.last_mut().unwrap();
            block.text.push_str(line);
            block.text.push('\n');
        } else if let Some(code) = line.strip_prefix("    ") {
            let goes_on = blocks
                .last()
                .is_some_and(|block| block.info == "indented" && block.line + block.text.lines().count() == number + 1);
            if goes_on {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(code);
                block.text.push('\n');
            } else if previous_blank {
                let (info, before) = ("indented".to_owned(), last.clone());
                blocks.push(Block { info, text: format!("{code}\n"), line: number + 1, before });
            }
        }
        previous_blank = line.trim().is_empty();
        if !previous_blank {
            line.clone_into(&mut last);
        }
    }
    assert!(fence.is_none(), "a block is never closed");
    blocks
}

/// Inline code of a page, outside of blocks, with its line.
fn inline_code(text: &str) -> Vec<(usize, String)> {
    let inside: Vec<_> = blocks(text).iter().map(|block| block.line..block.line + block.text.lines().count()).collect();
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    let outside =
        lines.filter(|(number, line)| !line.starts_with("```") && !inside.iter().any(|block| block.contains(number)));
    outside
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |code| (number, code.to_owned())))
        .collect()
}

/// Compares a generated text with the committed one; `UPDATE=1` rewrites it.
fn committed(name: &str, now: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, now).unwrap();
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    assert!(old == now, "{name} is old (UPDATE=1 cargo test rewrites it); now:\n{now}");
}
