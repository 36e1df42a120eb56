//! Rules of `[[sweep]]` and `[[exclude]]`: axes name settings, and every value fits its setting.

use serde_json::Value;

use super::super::document::{Document, Patch, SettingKind, set};
use super::super::keypath::{self, Pointer};
use super::super::partial::Partial;
use super::super::schema;
use super::super::tree::{Item, Node};
use crate::diagnostic::text::{quote, suggestion};
use crate::diagnostic::{Diagnostic, Diagnostics, Span, codes};
use crate::scenario::file::{ExcludeConfig, RangeConfig, SweepConfig};
use crate::scenario::range::{RangeError, range_values};

/// An axis that names a setting, with the values it takes and where each is written.
struct Axis<'a> {
    index: usize,
    config: &'a SweepConfig,
    pointer: Pointer,
    values: Vec<(Value, Span)>,
}

/// Where the values of each axis stand, and the setting they are for: for finding credentials in them.
pub(in crate::scenario) fn axis_paths(tree: &Node) -> Vec<(Vec<String>, Vec<String>)> {
    let Some(Item::Array(sweeps)) = tree.get("sweep").map(|node| &node.item) else { return Vec::new() };
    let path = |(index, sweep): (usize, &Node)| {
        let axis = keypath::split(sweep.get("axis")?.text()?).ok()?;
        let place = vec!["sweep".to_owned(), index.to_string(), "values".to_owned()];
        Some((place, axis.into_iter().map(|(key, _)| key).collect()))
    };
    sweeps.iter().enumerate().filter_map(path).collect()
}

/// Checks all axes. `base_valid` says that every fault of a patched document is the patch's.
pub(in crate::scenario) fn check(
    partial: &Partial<'_>,
    document: &Document,
    base_valid: bool,
    found: &mut Diagnostics,
) {
    let mut axes: Vec<Axis<'_>> = Vec::new();
    for (index, config) in partial.sweep() {
        if let Some(axis) = axis(document, index, config, found) {
            match axes
                .iter()
                .find(|other| axis.pointer.is_within(&other.pointer) || other.pointer.is_within(&axis.pointer))
            {
                Some(other) => {
                    let message = format!("two axes over {}", quote(&config.axis));
                    let span = |index: usize| place(document, index, &["axis"]);
                    let diagnostic = Diagnostic::error(&codes::AXIS_TWICE, message).at(span(index), "the second");
                    found.push(diagnostic.also(span(other.index), "the first"));
                }
                None => axes.push(axis),
            }
        }
    }
    zip_lengths(document, &axes, found);
    for group in groups(&axes) {
        values(document, &group, base_valid, found);
    }
    let known: Vec<&SweepConfig> = partial.sweep().map(|(_, config)| config).collect();
    for (index, exclude) in partial.exclude() {
        exclusion(document, index, exclude, &known, &axes, partial.has("sweep"), found);
    }
}

fn place(document: &Document, index: usize, keys: &[&str]) -> Span {
    let index = index.to_string();
    let parts = ["sweep", &index].iter().chain(keys).map(|part| (*part).to_owned()).collect::<Vec<_>>();
    document.origin(&parts).value
}

/// One axis on its own; `None` when its values cannot be judged further.
fn axis<'a>(document: &Document, index: usize, config: &'a SweepConfig, found: &mut Diagnostics) -> Option<Axis<'a>> {
    let at_axis = place(document, index, &["axis"]);
    let pointer = match document.resolve(&config.axis) {
        Ok(pointer) => Some(pointer),
        Err(_) if document.behind_unknown_kind(&config.axis) => None,
        Err(diagnostic) => {
            found.push(diagnostic.at(at_axis, ""));
            None
        }
    };
    if let Some(reason) = pointer.as_ref().and_then(|pointer| document.not_sweepable(pointer)) {
        let message = format!("{} cannot be an axis", quote(&config.axis));
        found.push(Diagnostic::error(&codes::NOT_SWEEPABLE, message).at(at_axis, reason));
        return None;
    }
    let kind = pointer.as_ref().map(|pointer| document.setting_kind(pointer));
    let values = match (&config.values, &config.range) {
        (Some(values), None) => {
            let span = |at: usize| place(document, index, &["values", &at.to_string()]);
            values.iter().enumerate().map(|(at, value)| (value.clone(), span(at))).collect()
        }
        (None, Some(range)) => ranged(document, index, config, range, kind, found)?,
        (both, _) => {
            let what = if both.is_some() { "has both `values` and `range`" } else { "has no values" };
            let diagnostic = Diagnostic::error(&codes::AXIS_VALUES, format!("the axis {} {what}", quote(&config.axis)));
            found.push(diagnostic.at(at_axis, "exactly one of `values` and `range`"));
            return None;
        }
    };
    twice(config, &values, found);
    Some(Axis { index, config, pointer: pointer?, values })
}

fn ranged(
    document: &Document,
    index: usize,
    config: &SweepConfig,
    range: &RangeConfig,
    kind: Option<SettingKind>,
    found: &mut Diagnostics,
) -> Option<Vec<(Value, Span)>> {
    let (RangeConfig::Linear(bounds) | RangeConfig::Log(bounds)) = range;
    let ends = [("from", bounds.from), ("to", bounds.to)];
    let mut fail = |key: &str, message: String, label: &str| {
        found.push(Diagnostic::error(&codes::AXIS_RANGE, message).at(place(document, index, &["range", key]), label));
    };
    let name = quote(&config.axis);
    if kind == Some(SettingKind::Other) {
        fail("kind", format!("{name} is no number, so it cannot have a `range`"), "list the `values` instead");
        return None;
    }
    if matches!(range, RangeConfig::Log(_)) {
        for (key, end) in ends.into_iter().filter(|(_, end)| *end <= 0.0) {
            fail(key, format!("a logarithmic range cannot have {end} as an end"), "must be above 0");
        }
        if ends.iter().any(|(_, end)| *end <= 0.0) {
            return None;
        }
    }
    let whole = kind == Some(SettingKind::WholeNumber);
    if let Some((key, end)) = ends.into_iter().find(|(_, end)| whole && end.fract() != 0.0) {
        fail(
            key,
            format!("{name} takes whole numbers, so its range cannot have {end} as an end"),
            "expected a whole number",
        );
        return None;
    }
    let values = match range_values(range, whole) {
        Ok(values) => values,
        Err(RangeError::Twice { value, .. }) => {
            let message = format!("the range of {name} gives {value} more than once");
            fail("count", message, "fewer values, or ends further apart");
            return None;
        }
        Err(RangeError::NotFinite | RangeError::NotPositive { .. }) => return None,
    };
    let (from, to) = (place(document, index, &["range", "from"]), place(document, index, &["range", "to"]));
    let last = values.len() - 1;
    Some(values.into_iter().enumerate().map(|(at, value)| (value, if at == last { to } else { from })).collect())
}

fn twice(config: &SweepConfig, values: &[(Value, Span)], found: &mut Diagnostics) {
    if config.values.is_none() {
        return;
    }
    let mut seen: std::collections::HashMap<String, Span> = std::collections::HashMap::new();
    for (value, span) in values {
        let key = value.as_f64().map_or_else(|| value.to_string(), |number| format!("{number:?}"));
        if let Some(first) = seen.insert(key, *span) {
            let message = format!("the axis {} has {} twice", quote(&config.axis), quote(&value.to_string()));
            let diagnostic = Diagnostic::error(&codes::VALUE_TWICE, message).at(*span, "the second");
            found.push(diagnostic.also(first, "the first"));
        }
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn zip_lengths(document: &Document, axes: &[Axis<'_>], found: &mut Diagnostics) {
    for (at, axis) in axes.iter().enumerate() {
        let Some(zip) = &axis.config.zip else { continue };
        let first = axes[..at].iter().find(|other| other.config.zip.as_ref() == Some(zip));
        if let Some(first) = first.filter(|first| first.values.len() != axis.values.len()) {
            let (have, need) = (axis.values.len(), first.values.len());
            let message = format!("{} has {have} values and is zipped with {need}", quote(&axis.config.axis));
            let span = |axis: &Axis<'_>| {
                let key = if axis.config.values.is_some() { "values" } else { "range" };
                place(document, axis.index, &[key])
            };
            let diagnostic = Diagnostic::error(&codes::ZIP_LENGTH, message).at(span(axis), format!("{have} values"));
            found.push(diagnostic.also(span(first), format!("{need} values")));
        }
    }
}

/// Axes that move together.
fn groups<'g, 'a>(axes: &'g [Axis<'a>]) -> Vec<Vec<&'g Axis<'a>>> {
    let mut groups: Vec<Vec<&Axis<'_>>> = Vec::new();
    for axis in axes {
        let twin = groups.iter_mut().find(|group| axis.config.zip.is_some() && group[0].config.zip == axis.config.zip);
        match twin {
            Some(group) => group.push(axis),
            None => groups.push(vec![axis]),
        }
    }
    groups
}

/// Every value of a group against the schema, in the document as it is without the other axes.
fn values(document: &Document, group: &[&Axis<'_>], base_valid: bool, found: &mut Diagnostics) {
    let count = group.iter().map(|axis| axis.values.len()).min().unwrap_or_default();
    let only_ends = group.iter().all(|axis| axis.config.range.is_some());
    let mut patched = document.value().clone();
    for at in 0..count {
        // Bounds are intervals, so the values between the ends of a range fit when the ends do.
        if only_ends && at != 0 && at != count - 1 {
            continue;
        }
        for axis in group {
            set(&mut patched, axis.pointer.parts(), axis.values[at].0.clone());
        }
        if schema::validator().is_valid(&patched) {
            continue;
        }
        let patch = |axis: &&Axis<'_>| Patch {
            pointer: axis.pointer.clone(),
            value: axis.values[at].0.clone(),
            origin: axis.values[at].1,
        };
        let patches: Vec<Patch> = group.iter().map(patch).collect();
        for finding in schema::errors::find(&document.with(&patches)) {
            let inside = patches.iter().any(|patch| finding.pointer.is_within(&patch.pointer));
            if inside {
                found.push(finding.diagnostic);
            } else if base_valid {
                let mut diagnostic = finding.diagnostic;
                if let Some(label) = diagnostic.primary.take() {
                    diagnostic = diagnostic.also(label.span, label.text.clone());
                }
                found.push(diagnostic.at(patches[0].origin, "with this value of the axis"));
            }
        }
    }
}

fn exclusion(
    document: &Document,
    index: usize,
    exclude: &ExcludeConfig,
    known: &[&SweepConfig],
    axes: &[Axis<'_>],
    all_known: bool,
    found: &mut Diagnostics,
) {
    for (key, value) in &exclude.matching {
        let origin = document.origin(&["exclude".to_owned(), index.to_string(), "match".to_owned(), key.clone()]);
        if !known.iter().any(|sweep| sweep.axis == *key) {
            if all_known {
                let names: Vec<&str> = known.iter().map(|sweep| sweep.axis.as_str()).collect();
                let diagnostic = Diagnostic::error(&codes::EXCLUDE_AXIS, format!("no axis is named {}", quote(key)))
                    .at(origin.key.unwrap_or(origin.value), "");
                found.push(match suggestion(key, &names, "axes of this scenario") {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic.help("this scenario has no `[[sweep]]`"),
                });
            }
            continue;
        }
        let axis = axes.iter().find(|axis| axis.config.axis == *key);
        if axis.is_some_and(|axis| !axis.values.iter().any(|(candidate, _)| same(candidate, value))) {
            let message = format!("{} never is {}, so nothing is left out", quote(key), quote(&value.to_string()));
            found.push(
                Diagnostic::warning(&codes::EXCLUDES_NOTHING, message).at(origin.value, "not a value of the axis"),
            );
        }
    }
}
