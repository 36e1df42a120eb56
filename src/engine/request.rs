//! One request from its dispatch to its timeline.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use tokio_util::task::TaskTracker;

use super::backlog;
use super::clock::PointClock;
use super::gate::Gate;
use super::prepare::Prepared;
use super::window::Window;
use super::{Connections, Target};
use crate::measure::timeline::{Answer, ConnectionUse, Outcome, Phase, Stamps, Timeline};
use crate::protocol::reason;
use crate::transport::{Cancel, Transport};
use crate::units::Nanos;

/// What the requests of one worker share.
#[derive(Debug)]
pub(super) struct WorkerContext {
    pub(super) clock: PointClock,
    /// By class.
    pub(super) gates: Arc<[Gate]>,
    pub(super) window: Arc<Window>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) targets: Arc<[Target]>,
    pub(super) cancel: Cancel,
    pub(super) timelines: backlog::Sender,
    pub(super) counters: Counters,
}

/// Connection counts of one worker.
#[derive(Debug, Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    reused: AtomicU64,
    resent: AtomicU64,
    failed: AtomicU64,
    backed_off: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Connections {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Connections {
            opened: read(&self.opened),
            reused: read(&self.reused),
            resent: read(&self.resent),
            failed: read(&self.failed),
            backed_off: read(&self.backed_off),
        }
    }

    /// A user waits longer before its next turn.
    pub(super) fn back_off(&self) {
        self.backed_off.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, connection: ConnectionUse, resent: bool, failed: bool) {
        let add = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match connection {
            ConnectionUse::Opened => add(&self.opened),
            ConnectionUse::Reused => add(&self.reused),
            ConnectionUse::Unknown => {}
        }
        if resent {
            add(&self.resent);
        }
        if failed {
            add(&self.failed);
        }
    }
}

/// Runs `request` up to its first wait at once, and the rest as a task. A task that is only spawned stands behind all
/// that is ready already, and its request would leave late.
pub(super) fn launch(requests: &TaskTracker, request: impl Future<Output = ()> + Send + 'static) {
    let mut request = Box::pin(request);
    // The task polls again and leaves its own waker, so this one need not wake anybody.
    let mut nobody = Context::from_waker(Waker::noop());
    if request.as_mut().poll(&mut nobody).is_pending() {
        requests.spawn(request);
    }
}

impl WorkerContext {
    /// Carries out a request that was taken up at `dispatched`. Returns when it ended; the caller
    /// hands the timeline over with [`Self::deliver`].
    pub(super) async fn perform(&self, prepared: Prepared, dispatched: Nanos) -> Timeline {
        let mut stamps = Stamps { intended: prepared.at, dispatched: Some(dispatched), ..Stamps::default() };
        let target = &self.targets[usize::from(prepared.class)];
        let admitted = tokio::select! {
            biased;
            admitted = self.gates[usize::from(prepared.class)].admit() => admitted,
            why = self.cancel.cancelled() => {
                stamps.end = Some(self.clock.now());
                return self.timeline(&prepared, target, stamps, Answer::none(Outcome::Cancelled, why, None));
            }
        };
        let Some(_admitted) = admitted else {
            stamps.end = Some(self.clock.now());
            return self.timeline(
                &prepared,
                target,
                stamps,
                Answer::none(Outcome::NotSent, reason::IN_FLIGHT_LIMIT, None),
            );
        };
        stamps.slot = Some(self.clock.now());
        let mut decoder = target.protocol.decoder();
        let exchange = self.transport.exchange(&prepared.outgoing, decoder.as_mut(), &self.clock, &self.cancel).await;
        stamps.connect_start = exchange.connect_start;
        stamps.connected = exchange.connected;
        stamps.tls = exchange.tls;
        stamps.sent = exchange.sent;
        stamps.headers = exchange.headers;
        stamps.end = Some(exchange.end);
        let answer = match exchange.ended {
            Ok(end) => decoder.finish(end),
            Err(failure) => Answer::none(Outcome::ConnectFailed, failure.code, Some(failure.detail)),
        };
        let failed = answer.outcome == Outcome::ConnectFailed;
        self.counters.count(exchange.connection, exchange.resent, failed);
        let mut timeline = self.timeline(&prepared, target, stamps, answer);
        timeline.connection = exchange.connection;
        timeline
    }

    /// A planned request that the client never got to send.
    pub(super) fn never_sent(&self, prepared: &Prepared, code: &'static str) -> Timeline {
        let stamps = Stamps { intended: prepared.at, ..Stamps::default() };
        let target = &self.targets[usize::from(prepared.class)];
        self.timeline(prepared, target, stamps, Answer::none(Outcome::NotSent, code, None))
    }

    fn timeline(&self, prepared: &Prepared, target: &Target, stamps: Stamps, answer: Answer) -> Timeline {
        Timeline {
            id: prepared.id,
            class: prepared.class,
            phase: prepared.phase,
            stamps,
            answer,
            streamed: target.protocol.streams(),
            input_tokens_asked: prepared.input_tokens_asked,
            input_tokens_counted: Some(prepared.input_tokens_counted),
            output_tokens_asked: prepared.output_tokens_asked,
            expected_number: prepared.expected_number,
            connection: ConnectionUse::Unknown,
            address: prepared.address,
        }
    }

    /// Hands a timeline to the collector and counts its end.
    pub(super) async fn deliver(&self, timeline: Timeline) {
        let measured = timeline.phase == Phase::Measure;
        self.timelines.send(timeline).await;
        if measured {
            self.window.measured_ended();
        }
    }
}
