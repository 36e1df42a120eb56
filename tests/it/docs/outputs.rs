//! Outputs shown on a page are those of the program.
//!
//! A comment before a block names the command: `<!-- output: validate FILE -->`, or `<!-- output 20: … -->` for the
//! first twenty lines. `UPDATE=1` rewrites the block.

use std::fs;
use std::process::Command;

use super::{blocks, pages, root, shown};

/// What `bench` prints in the root of the repository, both streams.
fn output_of(line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(line.split_whitespace())
        .current_dir(root())
        .env("NO_COLOR", "1")
        .env("COLUMNS", "110")
        .env("BENCH_CALIBRATION", "")
        .env_remove("BENCH_URL")
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Number of lines and command of a marker.
fn marker(line: &str) -> Option<(usize, &str)> {
    let text = line.strip_prefix("<!-- output")?.strip_suffix("-->")?.trim();
    let (count, command) = text.split_once(':')?;
    Some((if count.is_empty() { usize::MAX } else { count.trim().parse().unwrap() }, command.trim()))
}

#[test]
fn shown_outputs_are_real() {
    let mut seen = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let mut rewritten = page.clone();
        for block in blocks(&page) {
            let Some((lines, command)) = marker(&block.before) else { continue };
            seen += 1;
            let output = output_of(command);
            let mut expected = String::new();
            for line in output.lines().take(lines) {
                expected.push_str(line.trim_end());
                expected.push('\n');
            }
            let at = format!("{}\n```text\n", block.before);
            let expected = expected.trim_end().to_owned() + "\n";
            if std::env::var_os("UPDATE").is_some() {
                rewritten = rewritten.replace(&format!("{at}{}```", block.text), &format!("{at}{expected}```"));
            } else {
                assert_eq!(block.text, expected, "{}:{}: `bench {command}`", shown(&path), block.line);
            }
        }
        if rewritten != page {
            fs::write(&path, rewritten).unwrap();
        }
    }
    assert!(seen >= 2, "the README shows a mistake and a report");
}

/// The shown report was measured with the scenario as it is now.
#[test]
fn the_shown_report_is_of_the_quickstart() {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let report = read(&fs::read_to_string(root().join("tests/fixtures/readme/report.json")).unwrap());
    let plan = read(&output_of("plan scenarios/quickstart.toml --format json"));
    assert_eq!(report["plan"]["digest"], plan["digest"], "measure it again: see CONTRIBUTING.md");
}
