//! Which runs there are, and how far each got. One listing answers it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::layout::{self, NameError, Object, RunPath};
use super::{Created, JSON, ObjectInfo, Store, StoreError};

/// Runs cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The scenario's name or the digest cannot be part of a path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One run, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// Where it is.
    pub path: RunPath,
    /// When its plan was stored, by the store's clock.
    pub opened_at: Timestamp,
    /// When its final report was stored; `None` while it is unfinished.
    pub finished_at: Option<Timestamp>,
    /// Number of the last interrupted report, if there is one.
    pub last_partial: Option<u32>,
    /// What each point has stored, by point id.
    pub points: BTreeMap<String, PointEntry>,
}

/// What a point has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointEntry {
    /// When its report was stored: the point is finished.
    pub finished_at: Option<Timestamp>,
    /// Number of the last request records that are stored, if there are any.
    pub last_requests: Option<u32>,
}

impl RunEntry {
    /// Whether the final report is stored.
    pub fn is_finished(&self) -> bool {
        self.finished_at.is_some()
    }

    /// Ids of the points whose report is stored.
    pub fn finished_points(&self) -> impl Iterator<Item = &str> {
        self.points.iter().filter(|(_, point)| point.finished_at.is_some()).map(|(id, _)| id.as_str())
    }
}

/// The runs of a plan, newest first.
///
/// # Errors
/// [`RunsError`].
pub async fn runs_of_plan(store: &Store, scenario: &str, plan_digest: &str) -> Result<Vec<RunEntry>, RunsError> {
    let prefix = layout::runs_prefix(scenario, plan_digest)?;
    Ok(from_listing(&store.list(&prefix).await?))
}

/// The runs of a scenario under any plan, newest first: where finished points are taken over from.
///
/// # Errors
/// [`RunsError`].
pub async fn runs_of_scenario(store: &Store, scenario: &str) -> Result<Vec<RunEntry>, RunsError> {
    let prefix = layout::scenario_prefix(scenario)?;
    Ok(from_listing(&store.list(&prefix).await?))
}

/// Every run in the store, newest first.
///
/// # Errors
/// [`RunsError`].
pub async fn all_runs(store: &Store) -> Result<Vec<RunEntry>, RunsError> {
    Ok(from_listing(&store.list("").await?))
}

/// Reads a listing. A run exists once its plan is stored: what lies in other folders is not a run. Newest
/// is by the time of the plan and, within the store's resolution, by id (ours sort by time).
pub fn from_listing(objects: &[ObjectInfo]) -> Vec<RunEntry> {
    let mut found: BTreeMap<RunPath, (Option<Timestamp>, RunEntry)> = BTreeMap::new();
    for info in objects {
        let Some((path, object)) = layout::parse(&info.path) else { continue };
        let (opened, entry) = found.entry(path.clone()).or_insert_with(|| (None, RunEntry::empty(path)));
        match object {
            Object::Plan => *opened = Some(info.modified),
            Object::Report => entry.finished_at = Some(info.modified),
            Object::Partial(n) => entry.last_partial = entry.last_partial.max(Some(n)),
            Object::PointReport(id) => entry.points.entry(id).or_default().finished_at = Some(info.modified),
            Object::PointRequests(id, n) => {
                let point = entry.points.entry(id).or_default();
                point.last_requests = point.last_requests.max(Some(n));
            }
        }
    }
    let mut runs: Vec<_> = found
        .into_values()
        .filter_map(|(opened, entry)| opened.map(|opened_at| RunEntry { opened_at, ..entry }))
        .collect();
    runs.sort_by_cached_key(|run| Reverse((run.opened_at, run.path.run_id().to_string())));
    runs
}

impl RunEntry {
    fn empty(path: RunPath) -> Self {
        Self { path, opened_at: Timestamp::UNIX_EPOCH, finished_at: None, last_partial: None, points: BTreeMap::new() }
    }
}

/// Stores the report of an interruption under the next free number and returns its path. The same bytes
/// again (a retry after a kill) change nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn store_partial(store: &Store, run: &RunPath, report: Bytes) -> Result<String, StoreError> {
    let mut number = 1;
    loop {
        let path = run.partial(number);
        match store.create(&path, report.clone(), JSON).await {
            Ok(Created::New | Created::AlreadyThere) => return Ok(path),
            Err(StoreError::Conflict { .. }) => number += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str, second: i64) -> ObjectInfo {
        ObjectInfo { path: path.to_string(), size: 1, modified: Timestamp::from_second(second).unwrap() }
    }

    #[test]
    fn a_listing_becomes_runs_newest_first() {
        let runs = from_listing(&[
            object("s/p/runs/old/plan.json", 100),
            object("s/p/runs/old/report.json", 190),
            object("s/p/runs/new/plan.json", 200),
            object("s/p/runs/new/points/a/report.json", 210),
            object("s/p/runs/new/points/a/requests.jsonl.gz", 209),
            object("s/p/runs/new/points/b/requests-3.jsonl.gz", 220),
            object("s/p/runs/new/points/b/requests.jsonl.gz", 220),
            object("s/p/runs/new/report.partial.json", 221),
            object("s/p/runs/new/report.partial-2.json", 222),
            object("s/q/runs/same-b/plan.json", 200),
            object("s/q/runs/no-plan-yet/points/a/report.json", 999),
            object("README.md", 999),
        ]);
        let ids: Vec<_> = runs.iter().map(|run| run.path.run_id()).collect();
        assert_eq!(ids, ["same-b", "new", "old"], "by time, then by id");
        let new = &runs[1];
        assert!(!new.is_finished() && runs[2].is_finished());
        assert_eq!(new.finished_points().collect::<Vec<_>>(), ["a"]);
        assert!(new.points["b"].last_requests == Some(3) && new.points["b"].finished_at.is_none());
        assert_eq!(new.last_partial, Some(2));
    }
}
