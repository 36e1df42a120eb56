//! A plan as `bench plan` prints it: a line a point, totals, and what to know before it runs.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::plan::estimate::{NOMINAL_TPOT_S, NOMINAL_TTFT_S};
use crate::plan::model::{Plan, Point};
use crate::plan::render::table::{Align, Table};
use crate::plan::render::{clip, number, points, short_digest, side};
use crate::plan::state::PointState;

/// Characters of a cell with a coordinate.
const COORDINATE_WIDTH: usize = 32;

/// The plan as text of about `width` columns. `states` has one entry a point, or is empty when the plan was
/// not compared with a store.
pub fn human(plan: &Plan, states: &[PointState], width: usize) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {}, plan {}\n",
        plan.scenario.name,
        points(plan.points.len() as u64),
        short_digest(&plan.digest)
    );
    let wide = table(plan, states, &Layout::new(plan, states, true));
    let table = if wide.width() <= width { wide } else { table(plan, states, &Layout::new(plan, states, false)) };
    table.write(&mut text);
    summary(&mut text, plan, states);
    changes(&mut text, states);
    samples(&mut text, plan);
    if plan.totals().nominal {
        let _ = writeln!(
            text,
            "\n~ closed loop: counted as if an answer took {} ms and {} ms a token; the server decides.",
            NOMINAL_TTFT_S * 1e3,
            NOMINAL_TPOT_S * 1e3
        );
    }
    text
}

/// Which columns there are.
struct Layout {
    /// Key path and heading of each axis.
    axes: Vec<(String, String)>,
    split_tokens: bool,
    cost: bool,
    state: bool,
}

impl Layout {
    fn new(plan: &Plan, states: &[PointState], wide: bool) -> Self {
        let last = |axis: &str| axis.rsplit('.').next().unwrap_or(axis).to_owned();
        let heading = |axis: &str| {
            let unique = plan.axes.iter().filter(|other| last(&other.axis) == last(axis)).count() == 1;
            if wide || !unique { axis.to_owned() } else { last(axis) }
        };
        Self {
            axes: plan.axes.iter().map(|axis| (axis.axis.clone(), heading(&axis.axis))).collect(),
            split_tokens: wide,
            cost: plan.points.iter().any(|point| point.estimate.cost_usd.is_some()),
            state: !states.is_empty(),
        }
    }
}

fn table(plan: &Plan, states: &[PointState], layout: &Layout) -> Table {
    let right = |name: &str| (name.to_owned(), Align::Right);
    let left = |name: &str| (name.to_owned(), Align::Left);
    let mut columns = vec![left("point")];
    columns.extend(layout.axes.iter().map(|(_, heading)| right(heading)));
    columns.push(right("requests"));
    if layout.split_tokens {
        columns.extend([right("tokens in"), right("tokens out")]);
    } else {
        columns.push(right("tokens"));
    }
    columns.push(right("time"));
    if layout.cost {
        columns.push(right("cost"));
    }
    if layout.state {
        columns.push(left("state"));
    }
    let mut table = Table::new(columns);
    for (index, point) in plan.points.iter().enumerate() {
        table.row(row(point, states.get(index), layout));
    }
    if plan.points.len() > 1 {
        table.row(total_row(plan, layout));
    }
    table
}

fn row(point: &Point, state: Option<&PointState>, layout: &Layout) -> Vec<String> {
    let estimate = &point.estimate;
    let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), number::short);
    let mark = if estimate.nominal { "~" } else { "" };
    let mut cells = vec![point.id.clone()];
    cells.extend(layout.axes.iter().map(|(axis, _)| {
        point.coordinates.get(axis).map_or_else(String::new, |value| clip(&number::setting(value), COORDINATE_WIDTH))
    }));
    cells.push(format!("{mark}{}", number::count(estimate.requests())));
    if layout.split_tokens {
        cells.extend([tokens(estimate.input_tokens), tokens(estimate.output_tokens)]);
    } else {
        cells.push(tokens(estimate.tokens()));
    }
    cells.push(number::time(estimate.wall_s));
    if layout.cost {
        cells.push(cost(estimate.cost_usd, estimate.cost_partial));
    }
    if layout.state {
        cells.push(state.map_or_else(String::new, state_cell));
    }
    cells
}

fn total_row(plan: &Plan, layout: &Layout) -> Vec<String> {
    let totals = plan.totals();
    let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), number::short);
    let mark = if totals.nominal { "~" } else { "" };
    let mut cells = vec!["total".to_owned()];
    cells.extend(layout.axes.iter().map(|_| String::new()));
    cells.push(format!("{mark}{}", number::count(totals.requests)));
    if layout.split_tokens {
        cells.extend([tokens(totals.input_tokens), tokens(totals.output_tokens)]);
    } else {
        cells.push(tokens(totals.tokens()));
    }
    cells.push(number::time(totals.wall_s));
    if layout.cost {
        cells.push(cost(totals.cost_usd, totals.cost_partial));
    }
    if layout.state {
        cells.push(String::new());
    }
    cells
}

fn cost(usd: Option<f64>, partial: bool) -> String {
    match usd {
        Some(usd) if partial => format!("≥ {}", number::usd(usd)),
        Some(usd) => number::usd(usd),
        None => "?".to_owned(),
    }
}

fn state_cell(state: &PointState) -> String {
    match state {
        PointState::New { unusable: Some((run_id, why)) } => format!("new ({why} in run {run_id})"),
        PointState::New { unusable: None } => "new".to_owned(),
        PointState::Done { run_id, .. } => format!("done (run {run_id})"),
        PointState::Changed { changes: Some(changes), .. } => match changes.as_slice() {
            [] => "changed".to_owned(),
            [only] => format!("changed ({})", only.key_path),
            [first, rest @ ..] => format!("changed ({} and {} more)", first.key_path, rest.len()),
        },
        PointState::Changed { changes: None, .. } => "changed".to_owned(),
    }
}

/// One sentence about what is left to measure.
fn summary(text: &mut String, plan: &Plan, states: &[PointState]) {
    if states.is_empty() {
        return;
    }
    let count = |word: &str| states.iter().filter(|state| state.word() == word).count() as u64;
    let work = plan.totals_where(|index| states[index].has_work());
    let counts = ["new", "changed", "done"].map(|word| (count(word), word));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| format!("{} {word}", number::count(*count))).collect();
    let _ = write!(text, "\n{}", counts.join(", "));
    if work.points == 0 {
        text.push_str(": nothing to measure.\n");
        return;
    }
    let _ = write!(
        text,
        ": {} to measure, {}{} requests, about {}",
        points(work.points),
        if work.nominal { "~" } else { "" },
        number::count(work.requests),
        number::time(work.wall_s)
    );
    if let Some(usd) = work.cost_usd {
        let _ = write!(text, ", {}", cost(Some(usd), work.cost_partial));
    }
    text.push_str(".\n");
}

/// What changed since the stored points, each set of changes once.
fn changes(text: &mut String, states: &[PointState]) {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for state in states {
        if let PointState::Changed { changes: Some(changes), run_id, .. } = state {
            let mut block = format!(" since run {run_id}:\n");
            for change in changes {
                let (old, new) = (side(change, change.old.as_ref()), side(change, change.new.as_ref()));
                let _ = writeln!(block, "  {}: {old} → {new}", change.key_path);
            }
            *kinds.entry(block).or_default() += 1;
        }
    }
    for (block, count) in kinds {
        let _ = write!(text, "\n{} changed{block}", points(count));
    }
}

/// Targets that samples are too small to pass, each once.
fn samples(text: &mut String, plan: &Plan) {
    /// Points concerned, smallest sample, samples needed.
    type Gap = (u64, u64, Option<u64>);
    let mut gaps: BTreeMap<(&str, &str, &str), Gap> = BTreeMap::new();
    for gap in plan.points.iter().flat_map(|point| &point.estimate.too_small) {
        let entry = gaps.entry((&gap.class, &gap.metric, &gap.target)).or_insert((0, u64::MAX, gap.needed));
        entry.0 += 1;
        entry.1 = entry.1.min(gap.samples);
    }
    if !gaps.is_empty() {
        text.push_str("\nwarning: samples too small to prove a target met, however good the server:\n");
    }
    let mut finite = false;
    for ((class, metric, target), (concerned, smallest, needed)) in gaps {
        let _ = write!(text, "  {class}: {metric}.{target} in {}", points(concerned));
        let _ = match needed {
            Some(needed) => {
                writeln!(text, ", smallest sample {}, needed {}", number::count(smallest), number::count(needed))
            }
            None => writeln!(text, ": no sample proves a share of 1"),
        };
        finite |= needed.is_some();
    }
    if finite {
        text.push_str("  lengthen `phases.measure`, or ask for a lower quantile\n");
    }
}
