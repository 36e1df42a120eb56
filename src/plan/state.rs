//! What of a plan the store already holds: `new`, `done` or `changed`, point by point.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::Value;

use crate::plan::change::{KeyChange, key_changes};
use crate::plan::model::{Coordinates, Plan, Point};
use crate::plan::pair::Nearest;
use crate::plan::saved::{Rebuilder, SavedPlanError};

/// A point that the store holds, as far as a listing and the reports of its runs tell.
///
/// One listing gives run, plan and point id; the run's `report.json` (one object for all its points) the
/// rest. What is missing is looked up in [`Stored::plans`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPoint {
    /// The run that measured it.
    pub run_id: String,
    /// The plan it was measured under: a folder of the store.
    pub plan_digest: String,
    /// Its id: a folder of the store, and the beginning of its digest.
    pub point_id: String,
    /// Its whole digest, where known.
    pub digest: Option<String>,
    /// Its values by axis, where known.
    pub coordinates: Option<Coordinates>,
    /// Its canonical form, where known.
    pub canonical: Option<Value>,
    /// Its report is stored.
    pub complete: bool,
    /// Its measurement is valid or suspect.
    pub valid: bool,
    /// It did not break its error budget.
    pub within_budget: bool,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl StoredPoint {
    /// Why the point must be measured again; `None`: it may be taken over.
    pub fn unusable(&self) -> Option<&'static str> {
        match (self.complete, self.valid, self.within_budget) {
            (false, _, _) => Some("incomplete"),
            (_, false, _) => Some("invalid"),
            (_, _, false) => Some("over its error budget"),
            (true, true, true) => None,
        }
    }

    /// Orders attempts at the same point: usable before not, then by age. Run ids sort by time as well.
    fn rank(&self) -> (bool, Option<Timestamp>, &str) {
        (self.unusable().is_none(), self.finished_at, &self.run_id)
    }
}

/// The stored points of a scenario, with the plans they were measured under.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Points of every run.
    pub points: Vec<StoredPoint>,
    /// Plans by digest; only needed to name what changed.
    pub plans: BTreeMap<String, Plan>,
}

/// What the store holds of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum PointState {
    /// Nothing usable: it will be measured.
    New {
        /// A run that measured this very point without usable result, and why it is not usable.
        unusable: Option<(String, &'static str)>,
    },
    /// The same point is stored and will be taken over.
    Done {
        /// The run that measured it.
        run_id: String,
        /// When it ended.
        finished_at: Option<Timestamp>,
    },
    /// Another point stands at its coordinates: it will be measured.
    Changed {
        /// The run that measured the other one.
        run_id: String,
        /// Id of the other one.
        point_id: String,
        /// What differs; `None` when the plan of the other one was not at hand.
        changes: Option<Vec<KeyChange>>,
    },
}

impl PointState {
    /// `new`, `done` or `changed`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::New { .. } => "new",
            Self::Done { .. } => "done",
            Self::Changed { .. } => "changed",
        }
    }

    /// Whether `apply` has to measure the point.
    pub fn has_work(&self) -> bool {
        !matches!(self, Self::Done { .. })
    }
}

/// The state of every point of `plan`, in its order.
///
/// # Errors
/// When a point of `plan` itself cannot be rebuilt, which only a plan changed by hand cannot.
pub fn states(plan: &Plan, stored: &Stored) -> Result<Vec<PointState>, SavedPlanError> {
    let lookup = Lookup::new(plan, stored);
    let rebuilder = Rebuilder::new(plan);
    plan.points.iter().map(|point| lookup.state(&rebuilder, point)).collect()
}

struct Lookup<'a> {
    stored: &'a Stored,
    by_id: HashMap<&'a str, Vec<&'a StoredPoint>>,
    nearest: crate::plan::pair::Index,
    /// Every point of the stored plans, with what rebuilds it.
    planned: HashMap<&'a str, (Rebuilder<'a>, HashMap<&'a str, &'a Point>)>,
}

impl<'a> Lookup<'a> {
    fn new(plan: &Plan, stored: &'a Stored) -> Self {
        let mut by_id: HashMap<&str, Vec<&StoredPoint>> = HashMap::with_capacity(stored.points.len());
        for point in &stored.points {
            by_id.entry(&point.point_id).or_default().push(point);
        }
        let planned: HashMap<_, _> = stored
            .plans
            .iter()
            .map(|(digest, plan)| {
                let points = plan.points.iter().map(|point| (point.id.as_str(), point)).collect();
                (digest.as_str(), (Rebuilder::new(plan), points))
            })
            .collect();
        let mut ranked: Vec<usize> = (0..stored.points.len()).collect();
        ranked.sort_by_key(|&position| stored.points[position].rank());
        let mut known = Nearest::default();
        for position in ranked {
            let point = &stored.points[position];
            let coordinates = point.coordinates.as_ref().or_else(|| {
                let (_, points): &(_, HashMap<&str, &Point>) = planned.get(point.plan_digest.as_str())?;
                Some(&points.get(point.point_id.as_str())?.coordinates)
            });
            if let Some(coordinates) = coordinates {
                known.add(position, coordinates);
            }
        }
        let axes: BTreeSet<&str> = plan.axes.iter().map(|axis| axis.axis.as_str()).collect();
        Self { stored, by_id, nearest: known.index(&axes), planned }
    }

    fn state(&self, rebuilder: &Rebuilder<'_>, point: &Point) -> Result<PointState, SavedPlanError> {
        let same = self.by_id.get(point.id.as_str()).into_iter().flatten();
        let same = same.filter(|stored| stored.digest.as_ref().is_none_or(|digest| *digest == point.digest));
        if let Some(best) = same.max_by_key(|stored| stored.rank()) {
            let run_id = best.run_id.clone();
            return Ok(match best.unusable() {
                None => PointState::Done { run_id, finished_at: best.finished_at },
                Some(why) => PointState::New { unusable: Some((run_id, why)) },
            });
        }
        let Some(position) = self.nearest.nearest(&point.coordinates) else {
            return Ok(PointState::New { unusable: None });
        };
        let other = &self.stored.points[position];
        let changes = self.changes(other, rebuilder, point)?;
        Ok(PointState::Changed { run_id: other.run_id.clone(), point_id: other.point_id.clone(), changes })
    }

    /// What differs between a stored point and one of the plan; `None` when nobody knows the stored one.
    fn changes(
        &self,
        old: &StoredPoint,
        rebuilder: &Rebuilder<'_>,
        new: &Point,
    ) -> Result<Option<Vec<KeyChange>>, SavedPlanError> {
        if let Some(canonical) = &old.canonical {
            return Ok(Some(key_changes(canonical, &rebuilder.canonical(new)?)));
        }
        let planned = self.planned.get(old.plan_digest.as_str());
        let planned = planned.and_then(|(rebuilder, points)| Some((rebuilder, points.get(old.point_id.as_str())?)));
        planned.map(|(rebuild_old, old)| rebuild_old.changes(old, rebuilder, new)).transpose()
    }
}
