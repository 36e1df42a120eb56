//! The difference of two plans as a comment on a pull request.

use std::fmt::Write;

use serde_json::Value;

use crate::plan::change::KeyChange;
use crate::plan::diff::{PlanDiff, PointRef};
use crate::plan::render::diff_human::{summary, totals};
use crate::plan::render::{number, place, points, short_digest, side};

/// Points listed by name in each group: a comment has a size limit.
const LISTED: usize = 40;

/// Sets of changes shown in full.
const KINDS: usize = 20;

/// The difference as GitHub markdown.
pub fn diff_markdown(diff: &PlanDiff) -> String {
    let mut text = format!("### bench plan: {}\n\n", code(&diff.new.name));
    if diff.is_empty() {
        let _ = writeln!(
            text,
            "No change: the same {} and the same judgements (plan {}).",
            points(diff.new.totals.points),
            code(short_digest(&diff.new.digest))
        );
        return text;
    }
    let _ = writeln!(text, "{}\n", summary(diff));
    text.push_str("| | before | after | difference |\n|---|--:|--:|--:|\n");
    let plans = [code(short_digest(&diff.old.digest)), code(short_digest(&diff.new.digest))];
    let _ = writeln!(text, "| plan | {} | {} | |", plans[0], plans[1]);
    for [name, old, new, difference] in totals(diff) {
        let _ = writeln!(text, "| {name} | {old} | {new} | {difference} |");
    }
    changed(&mut text, diff);
    if !diff.judgements.is_empty() {
        text.push_str("\n**Judged differently** (stored measurements are judged again, nothing runs for it)\n\n");
        changes_table(&mut text, &diff.judgements);
    }
    list(&mut text, "added", &diff.added);
    list(&mut text, "removed", &diff.removed);
    text
}

fn changed(text: &mut String, diff: &PlanDiff) {
    let kinds = diff.changes_by_kind();
    for (changes, concerned) in kinds.iter().take(KINDS) {
        let which = match concerned.as_slice() {
            [only] => format!("at {}", code(&place(&only.new.coordinates))),
            all if all.len() as u64 == diff.new.totals.points => format!("in all {}", points(all.len() as u64)),
            some => format!("in {}", points(some.len() as u64)),
        };
        let _ = writeln!(text, "\n**Changed** {which}\n");
        changes_table(text, changes);
        if concerned.len() > 1 && (concerned.len() as u64) < diff.new.totals.points {
            let refs: Vec<PointRef> = concerned.iter().map(|point| point.new.clone()).collect();
            list(text, "changed", &refs);
        }
    }
    if kinds.len() > KINDS {
        let _ = writeln!(text, "\n… and {} more sets of changes", kinds.len() - KINDS);
    }
}

fn changes_table(text: &mut String, changes: &[KeyChange]) {
    text.push_str("| setting | before | after |\n|---|---|---|\n");
    let shown = |change: &KeyChange, value: Option<&Value>| match value {
        Some(_) => cell(&side(change, value)),
        None => "not set".to_owned(),
    };
    for change in changes {
        let (old, new) = (shown(change, change.old.as_ref()), shown(change, change.new.as_ref()));
        let _ = writeln!(text, "| {} | {old} | {new} |", cell(&change.key_path));
    }
}

fn list(text: &mut String, word: &str, refs: &[PointRef]) {
    if refs.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n<details><summary>{} {word}</summary>\n", points(refs.len() as u64));
    for point in refs.iter().take(LISTED) {
        let _ = writeln!(text, "- {} {}", code(&point.id), code(&place(&point.coordinates)));
    }
    if refs.len() > LISTED {
        let _ = writeln!(text, "- … and {} more", number::count((refs.len() - LISTED) as u64));
    }
    text.push_str("\n</details>\n");
}

/// A code span that does not end early, whatever the scenario says.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    let line = text.replace(['\n', '\r'], " ");
    format!("{fence}{space}{line}{space}{fence}")
}

/// A code span inside a table, where a bar would end the cell.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}
