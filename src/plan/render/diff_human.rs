//! The difference of two plans for a terminal.

use std::fmt::Write;

use crate::plan::change::KeyChange;
use crate::plan::diff::{PlanDiff, PointRef};
use crate::plan::render::table::{Align, Table};
use crate::plan::render::{number, place, points, short_digest, side};

/// Points listed by name in each group.
const LISTED: usize = 40;

/// The difference as plain text.
pub fn diff_human(diff: &PlanDiff) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: plan {} → {}",
        diff.new.name,
        short_digest(&diff.old.digest),
        short_digest(&diff.new.digest)
    );
    if diff.is_empty() {
        text.push_str("same points, same judgements: nothing changes\n");
        return text;
    }
    let _ = writeln!(text, "{}\n", summary(diff));
    let column = |name: &str| (name.to_owned(), Align::Right);
    let mut table =
        Table::new(vec![(String::new(), Align::Left), column("before"), column("after"), column("difference")]);
    for row in totals(diff) {
        table.row(row.into());
    }
    table.write(&mut text);
    list(&mut text, "added", &diff.added);
    list(&mut text, "removed", &diff.removed);
    for (changes, concerned) in diff.changes_by_kind() {
        let _ = writeln!(text, "\nchanged in {}:", points(concerned.len() as u64));
        lines(&mut text, changes);
    }
    if !diff.judgements.is_empty() {
        text.push_str("\njudged differently (nothing runs again for it):\n");
        lines(&mut text, &diff.judgements);
    }
    text
}

/// `1 added, 2 changed, 3 unchanged; 3 points to measure, …`.
pub(super) fn summary(diff: &PlanDiff) -> String {
    let counts = [
        (diff.added.len() as u64, "added"),
        (diff.removed.len() as u64, "removed"),
        (diff.changed.len() as u64, "changed"),
        (diff.unchanged, "unchanged"),
    ];
    let mut parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", number::count(*count)))
        .collect();
    if diff.reordered {
        parts.push("in another order".to_owned());
    }
    let mut text = format!("Points: {}.", parts.join(", "));
    if diff.work.points == 0 {
        text.push_str(" Nothing to measure.");
    } else {
        let _ = write!(
            text,
            " To measure: {}, {} requests, about {}",
            points(diff.work.points),
            number::count(diff.work.requests),
            number::time(diff.work.wall_s)
        );
        if let Some(usd) = diff.work.cost_usd {
            let least = if diff.work.cost_partial { "at least " } else { "" };
            let _ = write!(text, ", {least}{}", number::usd(usd));
        }
        text.push('.');
    }
    if !diff.judgements.is_empty() {
        let _ = write!(text, " Judgements changed: {}.", diff.judgements.len());
    }
    if diff.new.too_small > diff.old.too_small {
        let _ = write!(
            text,
            " Warning: {} more SLO targets have too few samples to pass.",
            number::count(diff.new.too_small - diff.old.too_small)
        );
    }
    text
}

/// Rows of name, before, after, difference.
pub(super) fn totals(diff: &PlanDiff) -> Vec<[String; 4]> {
    let (old, new) = (&diff.old.totals, &diff.new.totals);
    let counts = |name: &str, old: Option<u64>, new: Option<u64>, show: fn(u64) -> String| {
        let cell = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), show);
        let difference = match (old, new) {
            (Some(old), Some(new)) if new >= old => signed("+", new - old, show),
            (Some(old), Some(new)) => signed("-", old - new, show),
            _ => "?".to_owned(),
        };
        [name.to_owned(), cell(old), cell(new), difference]
    };
    let floats = |name: &str, old: f64, new: f64, show: fn(f64) -> String| {
        let sign = if new >= old { "+" } else { "-" };
        let difference =
            if show(old) == show(new) { "0".to_owned() } else { format!("{sign}{}", show((new - old).abs())) };
        [name.to_owned(), show(old), show(new), difference]
    };
    let mut rows = vec![
        counts("points", Some(old.points), Some(new.points), number::count),
        counts("requests", Some(old.requests), Some(new.requests), number::count),
        counts("input tokens", old.input_tokens, new.input_tokens, number::short),
        counts("output tokens", old.output_tokens, new.output_tokens, number::short),
        floats("time", old.wall_s, new.wall_s, number::time),
    ];
    if old.cost_usd.is_some() || new.cost_usd.is_some() {
        rows.push(floats("cost", old.cost_usd.unwrap_or(0.0), new.cost_usd.unwrap_or(0.0), number::usd));
    }
    rows
}

fn signed(sign: &str, difference: u64, show: fn(u64) -> String) -> String {
    if difference == 0 { "0".to_owned() } else { format!("{sign}{}", show(difference)) }
}

fn list(text: &mut String, word: &str, refs: &[PointRef]) {
    if refs.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{word}:");
    for point in refs.iter().take(LISTED) {
        let _ = writeln!(text, "  {}  {}", point.id, place(&point.coordinates));
    }
    if refs.len() > LISTED {
        let _ = writeln!(text, "  … and {} more", number::count((refs.len() - LISTED) as u64));
    }
}

fn lines(text: &mut String, changes: &[KeyChange]) {
    for change in changes {
        let (old, new) = (side(change, change.old.as_ref()), side(change, change.new.as_ref()));
        let _ = writeln!(text, "  {}: {old} → {new}", change.key_path);
    }
}
