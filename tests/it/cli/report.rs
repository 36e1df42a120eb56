//! `bench report`.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Desk, SCENARIO, report_path};

/// A store with two runs of a scenario of two points; measured once for all tests, which only read it.
struct Stored {
    desk: Desk,
    /// Paths of the two reports, older first.
    paths: [String; 2],
}

static STORED: LazyLock<Stored> = LazyLock::new(|| {
    let desk = Desk::new();
    desk.write("tried.toml", &format!("{SCENARIO}\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [40, 50]\n"));
    let older = report_path(&desk.bench(&["apply", "tried.toml", "-q", "--run-id", "older"]).code(0));
    let newer = report_path(&desk.bench(&["apply", "tried.toml", "-q", "--run-id", "newer"]).code(0));
    Stored { desk, paths: [older, newer] }
});

#[test]
fn the_last_run_and_its_difference_to_the_one_before() {
    let Stored { desk, .. } = &*STORED;
    let shown = desk.bench(&["report"]).code(0).shows("run newer").shows("Difference to run older");
    assert!(shown.err.is_empty());
    assert!(shown.out.contains("rate_per_s") && shown.out.contains("TTFT p50") && shown.out.contains("SLO"));
    assert!(!shown.out.contains('\u{1b}'), "no colour into a pipe");
    let first = desk.bench(&["report", "reports", "--run-id", "older"]).code(0).shows("run older");
    assert!(!first.out.contains("Difference"), "{}", first.out);
    assert!(desk.bench(&["report", "--color", "always"]).code(0).out.contains('\u{1b}'));
}

#[test]
fn a_folder_of_a_store_shows_what_is_in_it() {
    let Stored { desk, paths } = &*STORED;
    desk.bench(&["report", "reports/tried"]).code(0).shows("run newer").shows("Difference to run older");
    let run = paths[0].strip_suffix("/report.json").unwrap();
    let plan = run.strip_suffix("/runs/older").unwrap();
    desk.bench(&["report", run]).code(0).shows("run older");
    desk.bench(&["report", plan]).code(0).shows("run newer");
    desk.bench(&["report", plan, "--run-id", "older"]).code(0).shows("run older");
    // A report as a file stands alone.
    let file = desk.bench(&["report", &paths[1]]).code(0).shows("run newer");
    assert!(!file.out.contains("Difference"));
}

#[test]
fn every_format() {
    let Stored { desk, paths } = &*STORED;
    desk.bench(&["report", "--format", "terminal"]).code(0).shows("Points\n");
    desk.bench(&["report", "--format", "md"]).code(0).shows("# tried\n").shows("## Points").shows("## Difference");
    let csv = desk.bench(&["report", "--format", "csv"]).code(0).out;
    assert_eq!(csv.lines().count(), 5, "a header, and `all` and one class for each of two points: {csv}");
    let columns = |line: &str| line.split(',').count();
    assert!(csv.lines().all(|line| columns(line) == columns(csv.lines().next().unwrap())), "{csv}");
    desk.bench(&["report", "--format", "junit"]).code(0).shows("<testsuite").shows("</testsuites>");
    let json: Value = serde_json::from_str(&desk.bench(&["report", "--format", "json"]).code(0).out).unwrap();
    assert_eq!(json, serde_json::from_str::<Value>(&desk.read(&paths[1])).unwrap());
}

#[test]
fn files_go_into_a_folder() {
    let Stored { desk, .. } = &*STORED;
    let args = ["report", "-o", "deep/out", "--format", "terminal,md,csv,junit,json", "--color", "always"];
    let ended = desk.bench(&args).code(0).says("wrote deep/out/report.md");
    assert!(ended.out.is_empty());
    assert_eq!(desk.files("deep/out"), ["report.csv", "report.json", "report.md", "report.txt", "report.xml"]);
    assert!(!desk.read("deep/out/report.txt").contains('\u{1b}'), "no colour into a file");
    desk.write("file", "");
    desk.bench(&["report", "--output", "file/below"]).code(73).says("cannot write");
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let Stored { desk, .. } = &*STORED;
    desk.bench(&["report", "--scenario", "tired"]).code(78).says("did you mean `tried`?");
    desk.bench(&["report", "--scenario", "zzz"]).code(78).says("scenarios there: `tried`");
    desk.bench(&["report", "--run-id", "nope"]).code(78).says("the newest are `newer`, `older`");
    desk.bench(&["report", "--scenario", "tried", "--run-id", "older"]).code(0).shows("run older");
    desk.bench(&["report", "nowhere"]).code(78).says("there is no folder or file `nowhere`");
    desk.bench(&["report", "tried.toml"]).code(78).says("is a scenario");
    std::fs::create_dir_all(desk.path("empty")).unwrap();
    desk.bench(&["report", "empty"]).code(78).says("no report in empty").says("bench apply FILE");
    desk.write("other.json", "{}");
    desk.bench(&["report", "other.json"]).code(78).says("other.json");
    Desk::new().bench(&["report"]).code(78).says("./reports");
}

#[test]
fn widths_are_kept() {
    let Stored { desk, paths } = &*STORED;
    for width in ["1", "40", "80", "120", "400"] {
        let mut command = desk.command(&["report", paths[1].as_str()]);
        let shown = super::ended(command.env("COLUMNS", width)).code(0);
        let width: usize = width.parse().unwrap();
        let table = shown.out.lines().filter(|line| line.starts_with("  "));
        assert!(table.clone().count() > 3);
        if width >= 40 {
            for line in table {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
    // No width is no reason to print a column of words.
    let mut command = desk.command(&["report", paths[1].as_str()]);
    let shown = super::ended(command.env("COLUMNS", "0")).code(0);
    assert!(shown.out.lines().any(|line| line.chars().count() > 60), "{}", shown.out);
}
