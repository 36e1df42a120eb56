//! The load generator: pacing, phases, stamps, shutdown. Neither prints nor uploads.
//!
//! Each worker is one thread with its own runtime, connections and kernel timer. A preparer thread
//! beside it makes request bodies ahead of time, so that a due request is only a write. One message
//! per request leaves a worker through a queue bounded by what waits in it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

use crate::measure::distribution::Distribution;
use crate::measure::timeline::{Phase, RequestId};
use crate::protocol::Protocol;
use crate::transport::{ClockSource, HttpVersion, StampFacts, Transport};
use crate::units::Nanos;
use crate::workload::load::MaxInFlight;
use crate::workload::{self, Arrival, ClosedLoop, Content, History, Next};

mod backlog;
pub mod clock;
mod closed;
mod gate;
mod open;
pub mod pacer;
mod prepare;
pub mod priority;
mod request;
mod run;
pub mod stop;
mod turns;
mod window;

#[cfg(test)]
mod tests;

pub use backlog::Timelines;
pub use run::{Finished, Running, WindowView, start};
pub use stop::{Stop, StopLevel};

/// What fills the requests of a point: pure functions of identity.
pub trait Source: Debug + Send + Sync {
    /// Prompt and lengths of a request.
    fn content(&self, phase: Phase, id: RequestId, class: u16) -> Content;
    /// Class of a closed-loop turn; of a user's n-th session, where some class has sessions.
    fn class_of_turn(&self, user: u32, turn: u32) -> u16;
    /// Whether the requests of a class belong to sessions.
    fn has_sessions(&self, _class: u16) -> bool {
        false
    }
    /// A request of a session and whether another one follows. `history` is what was said before, or new; `answer` is the
    /// server's to the turn before, where the history is the server's.
    fn turn(
        &self,
        id: RequestId,
        class: u16,
        _history: &mut History,
        _answer: Option<&str>,
    ) -> (Content, Option<Next>) {
        (self.content(Phase::Measure, id, class), None)
    }
}

/// An endless or finite open-loop schedule in order of time.
pub type Schedule = Box<dyn Iterator<Item = Arrival> + Send>;

/// Makes the same schedule again for each worker.
pub type ScheduleFactory = Arc<dyn Fn() -> Schedule + Send + Sync>;

/// When requests are due.
#[derive(Clone)]
pub enum LoopPlan {
    /// Absolute times that no answer can move.
    Open {
        /// The global process; workers take every W-th arrival of it.
        schedule: ScheduleFactory,
        /// The measured window, known from the schedule alone.
        window: workload::Window,
    },
    /// Users who wait for their answers.
    Closed(ClosedLoop),
}

/// Connections that an open loop opens ahead: streams that it surely has soon. Its warm-up opens the rest.
pub const OPEN_LOOP_CONNECTIONS_AHEAD: u32 = 64;

/// Where a class sends its requests.
#[derive(Clone, Debug)]
pub struct Target {
    /// Full addresses of the endpoint, at least one; each request says which of them it goes to.
    pub urls: Arc<[Url]>,
    /// Headers, secrets resolved and marked sensitive.
    pub headers: HeaderMap,
    /// How it speaks.
    pub protocol: Arc<dyn Protocol>,
    /// Resolved model name.
    pub model: String,
    /// Time from first byte sent to last byte received.
    pub timeout: Duration,
    /// Version of HTTP.
    pub version: HttpVersion,
    /// Connections to open before the clock of the point starts, over all workers, to each of the addresses.
    pub connections_ahead: u32,
    /// Bound on the requests of the class in flight.
    pub max_in_flight: Option<MaxInFlight>,
}

/// Makes a transport for a worker, inside that worker's runtime.
pub type TransportFactory = Arc<dyn Fn() -> Result<Box<dyn Transport>, EngineError> + Send + Sync>;

/// Everything a point needs to run.
#[derive(Clone)]
pub struct Job {
    /// When requests are due.
    pub plan: LoopPlan,
    /// What they contain.
    pub source: Arc<dyn Source>,
    /// One target per traffic class.
    pub targets: Arc<[Target]>,
    /// Bound on requests in flight, over all classes.
    pub max_in_flight: Option<MaxInFlight>,
    /// Longest drain after the window.
    pub drain_max: Nanos,
    /// Worker threads; at least 1.
    pub workers: usize,
    /// Connections of the workers.
    pub transport: TransportFactory,
    /// Time between the moment all workers are ready and zero of the clock, for the first bodies.
    pub lead: Duration,
}

/// Why a point could not run at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A worker thread or its runtime, timer or client could not be set up.
    #[error("cannot set up a worker: {0}")]
    Setup(String),
    /// A thread of the engine panicked; the text says which.
    #[error("internal error in the load engine: {0}")]
    Panicked(String),
}

impl Job {
    /// Whether some class has sessions.
    fn has_sessions(&self) -> bool {
        (0..self.targets.len()).any(|class| u16::try_from(class).is_ok_and(|class| self.source.has_sessions(class)))
    }
}

/// What the engine knows at the end beside the timelines.
#[derive(Clone, Debug)]
pub struct EngineStats {
    /// End of warm-up = start of the window.
    pub window_start: Nanos,
    /// End of the window.
    pub window_end: Nanos,
    /// Measured requests of the schedule (open loop, with the later turns of sessions that came due) or that came due
    /// (closed loop, or interrupted).
    pub planned: u64,
    /// Measured requests that the workers saw come due, by class. Their sum is `planned` unless the
    /// engine lost one.
    pub planned_by_class: Vec<u64>,
    /// Whether a signal ended the point before its window did.
    pub interrupted: bool,
    /// Where stamps were taken.
    pub clock_source: ClockSource,
    /// Lateness of the worker loops: how long after it was due a loop turned, sampled every 100 ms.
    pub loop_lag: Distribution,
    /// Connections, as far as the transport can tell.
    pub connections: Connections,
    /// Stamps of received data.
    pub stamps: StampFacts,
}

/// Connections of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Opened.
    pub opened: u64,
    /// Requests on a kept-alive one.
    pub reused: u64,
    /// Requests sent a second time after a kept-alive connection turned out closed.
    pub resent: u64,
    /// Requests without one.
    pub failed: u64,
    /// Turns of a closed loop that came due later because the request before them had found no connection.
    pub backed_off: u64,
}

impl Connections {
    /// Adds another worker's counts.
    pub fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.reused += other.reused;
        self.resent += other.resent;
        self.failed += other.failed;
        self.backed_off += other.backed_off;
    }
}
