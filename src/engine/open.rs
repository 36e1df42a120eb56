//! The open-loop worker: sends each arrival at its time, whatever became of the earlier ones.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pacer::Pacer;
use super::prepare::{OpenBodies, Prepared};
use super::request::{WorkerContext, launch};
use crate::measure::timeline::Phase;
use crate::protocol::reason;

/// Runs until `no_more`, then waits for what is in flight. Returns the measured requests that came due,
/// by class.
pub(super) async fn work(
    context: Arc<WorkerContext>,
    pacer: Pacer,
    mut bodies: OpenBodies,
    no_more: CancellationToken,
) -> Vec<u64> {
    let requests = TaskTracker::new();
    let mut due = vec![0; context.targets.len()];
    let mut held = None;
    loop {
        let next = tokio::select! {
            biased;
            () = no_more.cancelled() => break,
            next = bodies.next() => next,
        };
        let Some(prepared) = next else {
            no_more.cancelled().await;
            break;
        };
        tokio::select! {
            biased;
            () = no_more.cancelled() => { held = Some(prepared); break }
            () = pacer.sleep_until(prepared.at) => {}
        }
        due[usize::from(prepared.class)] += u64::from(prepared.phase == Phase::Measure);
        let dispatched = context.clock.now();
        let context = Arc::clone(&context);
        launch(&requests, async move {
            let timeline = context.perform(prepared, dispatched).await;
            context.deliver(timeline).await;
        });
        // Answers get their turn between two requests, also when this worker is behind and the next one is overdue: a client
        // that only sends would never see that anything is answered.
        tokio::task::yield_now().await;
    }
    not_sent(&context, held, bodies, &mut due).await;
    requests.close();
    requests.wait().await;
    due
}

/// Requests that had come due when arrivals stopped, but that this worker had not got to: the
/// client's own fault, and each still ends in one outcome.
pub(super) async fn not_sent(context: &WorkerContext, held: Option<Prepared>, mut bodies: OpenBodies, due: &mut [u64]) {
    let stopped_at = context.clock.now();
    let mut next = held;
    loop {
        let prepared = match next.take() {
            Some(prepared) => prepared,
            None => match bodies.next().await {
                Some(prepared) => prepared,
                None => return,
            },
        };
        if prepared.at > stopped_at || prepared.phase == Phase::Drain {
            return;
        }
        due[usize::from(prepared.class)] += u64::from(prepared.phase == Phase::Measure);
        let timeline = context.never_sent(&prepared, reason::CLIENT_LATE);
        context.deliver(timeline).await;
    }
}
