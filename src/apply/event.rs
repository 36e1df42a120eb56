//! What an apply tells its observer. The observer prints or ignores; the apply never does.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::engine::StopLevel;
use crate::report::model::PointReport;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A run was opened or continued.
    RunOpened {
        /// Its id.
        run_id: String,
        /// Whether it existed before.
        continued: bool,
        /// Points of the plan.
        points: usize,
        /// Points that are stored already or were taken over.
        held: usize,
        /// Where it is stored.
        location: String,
    },
    /// A server is being asked for its models and for one uncounted answer.
    Probing {
        /// The backend.
        backend: String,
        /// The model as the scenario names it.
        model: String,
    },
    /// It answered.
    Probed {
        /// The backend.
        backend: String,
        /// The resolved model.
        model: String,
        /// What it said of itself, if anything.
        software: Option<String>,
    },
    /// Something the user should know.
    Warning(String),
    /// A point was taken over from an earlier run.
    PointReused {
        /// Position in the plan, from 0.
        index: usize,
        /// Its report.
        report: Box<PointReport>,
    },
    /// A point begins.
    PointStarted {
        /// Position in the plan, from 0.
        index: usize,
        /// Points of the plan.
        total: usize,
        /// Its id.
        id: String,
        /// Its coordinates.
        coordinates: BTreeMap<String, Value>,
        /// How long it should take.
        expected: Duration,
    },
    /// A point goes on; about once a second.
    Progress(Progress),
    /// A point ended.
    PointFinished {
        /// Position in the plan, from 0.
        index: usize,
        /// Its report.
        report: Box<PointReport>,
    },
    /// A signal was taken.
    Stopping(StopLevel),
}

/// Where a point stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Position of the point in the plan, from 0.
    pub index: usize,
    /// Points of the plan.
    pub total: usize,
    /// Time since the point began, warm-up included.
    pub elapsed: Duration,
    /// How long it should take.
    pub expected: Duration,
    /// Requests that ended, warm-up included.
    pub ended: u64,
    /// Requests that ended in any other way than completed.
    pub failed: u64,
    /// Requests that ended in the last interval, per second.
    pub per_s: f64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Time left of the whole plan, as far as it can be told.
    pub plan_left: Duration,
}
