//! The closed-loop worker: each of its users asks again after an answer and a pause.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::pacer::Pacer;
use super::prepare::{Prepared, TurnBodies, Wish};
use super::request::WorkerContext;
use super::turns::{Asker, Turns};
use crate::measure::timeline::RequestId;
use crate::workload::ClosedLoop;

/// The users of one worker (`worker`, `worker + workers`, …) before the clock starts.
pub(super) struct Lineup {
    bodies: TurnBodies,
    plan: ClosedLoop,
    users: Vec<u32>,
    ready: HashMap<u32, Prepared>,
}

impl Lineup {
    /// Asks for everybody's first body.
    pub(super) fn new(bodies: TurnBodies, plan: ClosedLoop, (worker, workers): (usize, usize)) -> Self {
        let users: Vec<u32> = (0..plan.users).filter(|user| *user as usize % workers == worker).collect();
        for user in &users {
            bodies.wish(Wish::Begin { user: *user, session: 0 });
        }
        Self { bodies, plan, ready: HashMap::with_capacity(users.len()), users }
    }

    /// Waits until everybody has one.
    pub(super) async fn first(&mut self) {
        while self.ready.len() < self.users.len() {
            let Some(prepared) = self.bodies.next().await else { return };
            let (RequestId::Closed { user, .. } | RequestId::ClosedSession { user, .. }) = prepared.id else {
                continue;
            };
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
    let Lineup { bodies, plan, users, mut ready } = lineup;
    let first: Vec<_> = users.into_iter().filter_map(|user| Some((user, plan.first_due(user)?))).collect();
    let mut turns = Turns::new(context, bodies, Some(plan));
    for (user, at) in first {
        turns.line_up(Asker::User(user), at, ready.remove(&user));
    }
    turns.run(&pacer, None, &no_more).await
}
