//! The difference of two plans: what a pull request changes, before anything runs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::canonical::tree;
use crate::plan::change::KeyChange;
use crate::plan::model::{Coordinates, Judgements, Plan, Point, Totals};
use crate::plan::pair::Nearest;
use crate::plan::saved::{Rebuilder, SavedPlanError};

/// What changes from one plan to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanDiff {
    /// The plan before.
    pub old: PlanSide,
    /// The plan after.
    pub new: PlanSide,
    /// Points that are in both: stored measurements of them are taken over.
    pub unchanged: u64,
    /// Whether the unchanged points run in another order.
    pub reordered: bool,
    /// Points without a predecessor.
    pub added: Vec<PointRef>,
    /// Points without a successor.
    pub removed: Vec<PointRef>,
    /// Points that stand where another one stood.
    pub changed: Vec<ChangedPoint>,
    /// What measurements are judged by: nothing runs again for it.
    pub judgements: Vec<KeyChange>,
    /// What added and changed points take.
    pub work: Totals,
}

/// One of the two plans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanSide {
    /// Name of the scenario.
    pub name: String,
    /// Digest of the plan.
    pub digest: String,
    /// Sums over its points.
    pub totals: Totals,
    /// Targets that samples are too small to pass.
    pub too_small: u64,
}

/// A point, as a reader finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointRef {
    /// Its id.
    pub id: String,
    /// Its values by axis.
    pub coordinates: Coordinates,
}

/// A point that stands where another one stood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedPoint {
    /// The point before.
    pub old: PointRef,
    /// The point after.
    pub new: PointRef,
    /// Settings that differ.
    pub changes: Vec<KeyChange>,
}

impl PlanDiff {
    /// Whether the two plans are the same: same points, same order, same judgements.
    pub fn is_empty(&self) -> bool {
        self.old.digest == self.new.digest
    }

    /// The changed points by what changes in them, in the order of their first point.
    pub fn changes_by_kind(&self) -> Vec<(&[KeyChange], Vec<&ChangedPoint>)> {
        let mut kinds: Vec<(&[KeyChange], Vec<&ChangedPoint>)> = Vec::new();
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        for point in &self.changed {
            let position = *index.entry(tree(&point.changes).to_string()).or_insert_with(|| {
                kinds.push((&point.changes, Vec::new()));
                kinds.len() - 1
            });
            kinds[position].1.push(point);
        }
        kinds
    }
}

/// What changes from `old` to `new`. Points are paired by digest, then by coordinates.
///
/// # Errors
/// When a point cannot be rebuilt, which only a plan changed by hand cannot.
pub fn diff(old: &Plan, new: &Plan) -> Result<PlanDiff, SavedPlanError> {
    let digests = |plan: &Plan| -> HashSet<String> { plan.points.iter().map(|point| point.digest.clone()).collect() };
    let (in_old, in_new) = (digests(old), digests(new));
    let left: Vec<&Point> = old.points.iter().filter(|point| !in_new.contains(&point.digest)).collect();
    let mut known = Nearest::default();
    left.iter().enumerate().for_each(|(position, point)| known.add(position, &point.coordinates));
    let axes: BTreeSet<&str> = new.axes.iter().map(|axis| axis.axis.as_str()).collect();
    let index = known.index(&axes);
    let (rebuild_old, rebuild_new) = (Rebuilder::new(old), Rebuilder::new(new));
    let mut paired = BTreeSet::new();
    let (mut added, mut changed) = (Vec::new(), Vec::new());
    for point in new.points.iter().filter(|point| !in_old.contains(&point.digest)) {
        // A point has one successor: the first of those that could be it.
        match index.nearest(&point.coordinates).filter(|position| paired.insert(*position)) {
            Some(position) => changed.push(ChangedPoint {
                old: reference(left[position]),
                new: reference(point),
                changes: rebuild_old.changes(left[position], &rebuild_new, point)?,
            }),
            None => added.push(reference(point)),
        }
    }
    let removed =
        (0..left.len()).filter(|position| !paired.contains(position)).map(|position| reference(left[position]));
    let common = |plan: &Plan, other: &HashSet<String>| -> Vec<String> {
        plan.points.iter().map(|point| &point.digest).filter(|digest| other.contains(*digest)).cloned().collect()
    };
    let (kept_old, kept_new) = (common(old, &in_new), common(new, &in_old));
    Ok(PlanDiff {
        old: side(old),
        new: side(new),
        unchanged: kept_new.len() as u64,
        reordered: kept_old != kept_new,
        added,
        removed: removed.collect(),
        changed,
        judgements: judgement_changes(&old.judgements, &new.judgements),
        work: new.totals_where(|position| !in_old.contains(&new.points[position].digest)),
    })
}

fn side(plan: &Plan) -> PlanSide {
    PlanSide {
        name: plan.scenario.name.clone(),
        digest: plan.digest.clone(),
        totals: plan.totals(),
        too_small: plan.points.iter().map(|point| point.estimate.too_small.len() as u64).sum(),
    }
}

fn reference(point: &Point) -> PointRef {
    PointRef { id: point.id.clone(), coordinates: point.coordinates.clone() }
}

/// Targets one by one, under the key paths that the scenario has for them.
fn judgement_changes(old: &Judgements, new: &Judgements) -> Vec<KeyChange> {
    let flat = |judgements: &Judgements| {
        let mut leaves = BTreeMap::new();
        for (class, slo) in &judgements.slo {
            flatten(&format!("traffic.{class}.slo"), &tree(slo), &mut leaves);
        }
        flatten("errors", &tree(&judgements.errors), &mut leaves);
        flatten("validity", &tree(&judgements.validity), &mut leaves);
        leaves
    };
    let (mut old, new) = (flat(old), flat(new));
    let mut changes: Vec<KeyChange> = new
        .into_iter()
        .filter_map(|(key_path, new)| {
            let old = old.remove(&key_path);
            (old.as_ref() != Some(&new)).then_some(KeyChange { key_path, old, new: Some(new) })
        })
        .collect();
    changes.extend(old.into_iter().map(|(key_path, old)| KeyChange { key_path, old: Some(old), new: None }));
    changes.sort_by(|a, b| a.key_path.cmp(&b.key_path));
    changes
}

fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => table.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, leaves)),
        leaf => {
            leaves.insert(path.to_owned(), leaf.clone());
        }
    }
}
