//! The closed-loop worker: each of its users asks again after an answer and a pause.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pacer::Pacer;
use super::prepare::{ClosedBodies, Prepared};
use super::request::{WorkerContext, launch};
use crate::measure::timeline::{Phase, RequestId};
use crate::protocol::reason;
use crate::units::Nanos;
use crate::workload::ClosedLoop;

/// The users of one worker (`worker`, `worker + workers`, …) before the clock starts.
pub(super) struct Lineup {
    bodies: ClosedBodies,
    plan: ClosedLoop,
    users: Vec<u32>,
    ready: HashMap<u32, Prepared>,
}

impl Lineup {
    /// Asks for everybody's first body.
    pub(super) fn new(bodies: ClosedBodies, plan: ClosedLoop, (worker, workers): (usize, usize)) -> Self {
        let users: Vec<u32> = (0..plan.users).filter(|user| *user as usize % workers == worker).collect();
        for user in &users {
            bodies.wish(*user, 0);
        }
        Self { bodies, plan, ready: HashMap::with_capacity(users.len()), users }
    }

    /// Waits until everybody has one.
    pub(super) async fn first(&mut self) {
        while self.ready.len() < self.users.len() {
            let Some(prepared) = self.bodies.next().await else { return };
            let RequestId::Closed { user, .. } = prepared.id else { continue };
            self.ready.insert(user, prepared);
        }
    }
}

/// Runs the users until `no_more`, then waits for what is in flight. Returns the measured requests that came due, by
/// class.
pub(super) async fn work(
    context: Arc<WorkerContext>,
    pacer: Pacer,
    lineup: Lineup,
    no_more: CancellationToken,
) -> Vec<u64> {
    let (ended, ends) = mpsc::unbounded_channel();
    let classes = context.targets.len();
    let Lineup { bodies, plan, users, ready } = lineup;
    let mut users = Users {
        context,
        bodies,
        plan,
        due: users.into_iter().filter_map(|user| Some(Reverse((plan.first_due(user)?, user)))).collect(),
        ready,
        late: HashMap::new(),
        requests: TaskTracker::new(),
        ended,
        measured: vec![0; classes],
    };
    users.run(&pacer, ends, &no_more).await;
    users.requests.close();
    users.requests.wait().await;
    users.measured
}

/// User, turn and end of an answer.
type Ended = (u32, u32, Nanos);

struct Users {
    context: Arc<WorkerContext>,
    bodies: ClosedBodies,
    plan: ClosedLoop,
    /// When each idle user asks next.
    due: BinaryHeap<Reverse<(Nanos, u32)>>,
    /// Bodies that wait for their user.
    ready: HashMap<u32, Prepared>,
    /// Users who came due before their body was ready: the client's own lag.
    late: HashMap<u32, (Nanos, Phase)>,
    requests: TaskTracker,
    ended: mpsc::UnboundedSender<Ended>,
    measured: Vec<u64>,
}

impl Users {
    async fn run(&mut self, pacer: &Pacer, mut ends: mpsc::UnboundedReceiver<Ended>, no_more: &CancellationToken) {
        loop {
            let next = self.due.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                biased;
                () = no_more.cancelled() => return self.give_up_late().await,
                Some((user, turn, end)) = ends.recv() => {
                    self.due.extend(self.plan.next_due(user, turn, end).map(|at| Reverse((at, user))));
                }
                // Asked for only when somebody waits for it: else each body would wake this worker.
                Some(prepared) = self.bodies.next(), if !self.late.is_empty() => self.take_body(prepared),
                () = pacer.sleep_until(next.unwrap_or(Nanos::MAX)), if next.is_some() => {
                    self.come_due();
                    // Answers get their turn between two requests, also when many users are due at once.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn come_due(&mut self) {
        let Some(Reverse((at, user))) = self.due.pop() else { return };
        let phase = self.context.window.come_due(at);
        if !self.ready.contains_key(&user) {
            while let Some(prepared) = self.bodies.try_next() {
                self.take_body(prepared);
            }
        }
        match self.ready.remove(&user) {
            Some(prepared) => self.dispatch(prepared, at, phase),
            None => {
                self.late.insert(user, (at, phase));
            }
        }
    }

    fn take_body(&mut self, prepared: Prepared) {
        let RequestId::Closed { user, .. } = prepared.id else { return };
        match self.late.remove(&user) {
            Some((at, phase)) => self.dispatch(prepared, at, phase),
            None => {
                self.ready.insert(user, prepared);
            }
        }
    }

    fn dispatch(&mut self, mut prepared: Prepared, at: Nanos, phase: Phase) {
        let RequestId::Closed { user, turn } = prepared.id else { return };
        (prepared.at, prepared.phase) = (at, phase);
        self.count(&prepared);
        let dispatched = self.context.clock.now();
        let (context, ended) = (Arc::clone(&self.context), self.ended.clone());
        launch(&self.requests, async move {
            let timeline = context.perform(prepared, dispatched).await;
            let end = timeline.stamps.end.unwrap_or_else(|| context.clock.now());
            // The worker has left its loop when nobody listens: the user has no further turn.
            let _ = ended.send((user, turn, end));
            context.deliver(timeline).await;
        });
        self.bodies.wish(user, turn + 1);
    }

    fn count(&mut self, prepared: &Prepared) {
        self.measured[usize::from(prepared.class)] += u64::from(prepared.phase == Phase::Measure);
    }

    /// Users who came due but whose body was still being made when the point ended.
    async fn give_up_late(&mut self) {
        while !self.late.is_empty() {
            let Some(mut prepared) = self.bodies.next().await else { return };
            let RequestId::Closed { user, .. } = prepared.id else { continue };
            if let Some((at, phase)) = self.late.remove(&user) {
                (prepared.at, prepared.phase) = (at, phase);
                self.count(&prepared);
                self.context.deliver(self.context.never_sent(&prepared, reason::CLIENT_LATE)).await;
            }
        }
    }
}
