//! The axes of a scenario: their values, their zip groups, and what is left out.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::plan::base::{AxisOrigin, Base};
use crate::plan::error::PlanError;
use crate::scenario::file::{ScenarioFile, SweepConfig};
use crate::scenario::range::range_values;

/// An axis with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Index in `[[sweep]]`.
    pub index: usize,
    /// Key path as written.
    pub key_path: String,
    /// JSON pointer of the setting in the document.
    pub pointer: String,
    /// Values in the order they run; at least one.
    pub values: Vec<Value>,
    /// Whether a range made them.
    pub from_range: bool,
    /// Axes with the same word advance together.
    pub zip: Option<String>,
}

impl Axis {
    /// Where the value at `index` was written.
    pub fn origin(&self, index: usize) -> AxisOrigin {
        AxisOrigin { axis: self.index, value: (!self.from_range).then_some(index) }
    }
}

/// Top-level keys that say which points there are, or whose sweep could have no meaning.
const NOT_SETTINGS: [&str; 9] =
    ["schema", "name", "description", "extends", "labels", "store", "limits", "sweep", "exclude"];

/// The axes of `file`, resolved in `base`, in their order.
///
/// # Errors
/// Every axis that cannot be one.
pub fn compile_axes<B: Base>(file: &ScenarioFile, base: &mut B) -> Result<Vec<Axis>, Vec<PlanError<B::Error>>> {
    let mut axes: Vec<Axis> = Vec::with_capacity(file.sweep.len());
    let mut errors = Vec::new();
    for (index, sweep) in file.sweep.iter().enumerate() {
        match compile_axis(index, sweep, base) {
            Ok(axis) => {
                if let Some(other) = axes.iter().find(|other| overlap(&axis.pointer, &other.pointer)) {
                    errors.push(PlanError::Overlap {
                        axis: index,
                        key_path: axis.key_path,
                        other: other.key_path.clone(),
                    });
                } else {
                    axes.push(axis);
                }
            }
            Err(error) => errors.push(error),
        }
    }
    errors.extend(zip_errors(&axes));
    if errors.is_empty() { Ok(axes) } else { Err(errors) }
}

fn compile_axis<B: Base>(index: usize, sweep: &SweepConfig, base: &mut B) -> Result<Axis, PlanError<B::Error>> {
    let SweepConfig { axis: key_path, values, range, zip } = sweep;
    let top = key_path.split('.').next().unwrap_or_default();
    if NOT_SETTINGS.contains(&top) {
        return Err(PlanError::NotASetting { axis: index, key_path: key_path.clone() });
    }
    let pointer = base.resolve(key_path).map_err(|error| PlanError::AxisKey {
        axis: index,
        key_path: key_path.clone(),
        error,
    })?;
    let (values, from_range) = match (values, range) {
        (Some(values), None) if !values.is_empty() => (values.clone(), false),
        (None, Some(range)) => {
            let values = range_values(range, takes_whole_numbers(&pointer))
                .map_err(|error| PlanError::Range { axis: index, error })?;
            (values, true)
        }
        _ => return Err(PlanError::ValuesOrRange { axis: index, key_path: key_path.clone() }),
    };
    let axis = Axis { index, key_path: key_path.clone(), pointer, values, from_range, zip: zip.clone() };
    match twice(&axis) {
        Some((position, value)) => {
            Err(PlanError::ValueTwice { origin: axis.origin(position), key_path: axis.key_path, value })
        }
        None => Ok(axis),
    }
}

/// The first value of an unzipped axis that equals an earlier one. Zipped axes repeat values by design.
fn twice(axis: &Axis) -> Option<(usize, String)> {
    if axis.zip.is_some() || axis.from_range {
        return None;
    }
    let mut seen = BTreeMap::new();
    axis.values.iter().enumerate().find_map(|(position, value)| {
        let key = crate::plan::canonical::to_string(&crate::plan::canonical::normalised(value));
        seen.insert(key, position).map(|_| (position, value.to_string()))
    })
}

fn overlap(a: &str, b: &str) -> bool {
    let inside = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    a == b || inside(a, b) || inside(b, a)
}

fn zip_errors<E>(axes: &[Axis]) -> Vec<PlanError<E>> {
    let mut first: BTreeMap<&str, &Axis> = BTreeMap::new();
    let mut errors = Vec::new();
    for axis in axes {
        let Some(zip) = &axis.zip else { continue };
        let leader = *first.entry(zip).or_insert(axis);
        if leader.values.len() != axis.values.len() {
            errors.push(PlanError::ZipLength {
                axis: axis.index,
                zip: zip.clone(),
                first: leader.key_path.clone(),
                first_len: leader.values.len(),
                key_path: axis.key_path.clone(),
                len: axis.values.len(),
            });
        }
    }
    errors
}

/// What one exclusion matches: a value for each of some positions in the list of axes.
pub type Exclusion = Vec<(usize, Value)>;

/// The exclusions as (position in `axes`, value) lists.
///
/// # Errors
/// Every exclusion of something that is not an axis: a typo there would run what should not run.
pub fn compile_excludes<E>(file: &ScenarioFile, axes: &[Axis]) -> Result<Vec<Exclusion>, Vec<PlanError<E>>> {
    let mut errors = Vec::new();
    let mut excludes = Vec::with_capacity(file.exclude.len());
    for (exclude, config) in file.exclude.iter().enumerate() {
        let mut pairs = Vec::with_capacity(config.matching.len());
        for (key, value) in &config.matching {
            match exclude_pair(exclude, key, value, axes) {
                Ok(pair) => pairs.push(pair),
                Err(error) => errors.push(error),
            }
        }
        excludes.push(pairs);
    }
    if errors.is_empty() { Ok(excludes) } else { Err(errors) }
}

fn exclude_pair<E>(exclude: usize, key: &str, value: &Value, axes: &[Axis]) -> Result<(usize, Value), PlanError<E>> {
    let Some(position) = axes.iter().position(|axis| axis.key_path == key) else {
        let names: Vec<String> = axes.iter().map(|axis| format!("`{}`", axis.key_path)).collect();
        let axes = if names.is_empty() { "none: there is no `[[sweep]]`".to_owned() } else { names.join(", ") };
        return Err(PlanError::ExcludeAxis { exclude, key: key.to_owned(), axes });
    };
    Ok((position, value.clone()))
}

/// Whether the schema of a scenario lets the setting at `pointer` hold integers and nothing else.
fn takes_whole_numbers(pointer: &str) -> bool {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<ScenarioFile>();
    let root = schema.as_value();
    let mut at = vec![root];
    for segment in pointer.split('/').skip(1) {
        at = at
            .iter()
            .flat_map(|schema| alternatives(root, schema))
            .filter_map(|schema| step(schema, segment))
            .collect();
    }
    let leaves: Vec<&Value> = at.iter().flat_map(|schema| alternatives(root, schema)).collect();
    let integer = |schema: &&Value| match &schema["type"] {
        Value::String(name) => name == "integer",
        Value::Array(names) => names.iter().all(|name| name == "integer" || name == "null"),
        _ => false,
    };
    let null = |schema: &&&Value| schema["type"] == "null";
    let mut leaves = leaves.iter().filter(|schema| !null(schema)).peekable();
    leaves.peek().is_some() && leaves.all(integer)
}

/// `schema` with references followed and choices opened.
fn alternatives<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(Vec::new, |target| alternatives(root, target));
    }
    let choices: Vec<&Value> = ["oneOf", "anyOf", "allOf"]
        .iter()
        .filter_map(|word| schema.get(*word).and_then(Value::as_array))
        .flatten()
        .flat_map(|choice| alternatives(root, choice))
        .collect();
    if choices.is_empty() { vec![schema] } else { choices }
}

fn step<'s>(schema: &'s Value, segment: &str) -> Option<&'s Value> {
    let property = schema.get("properties").and_then(|properties| properties.get(segment));
    let further = || schema.get("additionalProperties").filter(|further| further.is_object());
    property.or_else(further).or_else(|| schema.get("items"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_which_settings_are_whole() {
        for whole in [
            "/load/users",
            "/load/max_in_flight/limit",
            "/phases/measure/requests",
            "/workloads/chat/input_tokens/value",
            "/workloads/chat/prompts/shared_prefix_tokens",
            "/seed",
        ] {
            assert!(takes_whole_numbers(whole), "{whole}");
        }
        for other in [
            "/load/rate_per_s",
            "/traffic/0/weight",
            "/workloads/chat/input_tokens/median",
            "/backends/a/url",
            "/nothing",
        ] {
            assert!(!takes_whole_numbers(other), "{other}");
        }
    }

    #[test]
    fn overlap_is_by_whole_segments() {
        assert!(overlap("/load", "/load/rate_per_s") && overlap("/load/rate_per_s", "/load") && overlap("/a", "/a"));
        assert!(!overlap("/load", "/loader") && !overlap("/traffic/1/weight", "/traffic/11/weight"));
    }
}
