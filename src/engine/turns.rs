//! Requests that come due when an answer has ended: the users of a closed loop, and the later turns of sessions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open;
use super::pacer::Pacer;
use super::prepare::{OpenBodies, Prepared, TurnBodies, Wish};
use super::request::{WorkerContext, launch};
use crate::measure::timeline::{ContentKind, Outcome, Phase, RequestId, Timeline};
use crate::protocol::reason;
use crate::units::Nanos;
use crate::workload::{ClosedLoop, Next};

/// What a user whose request found no connection waits before its next turn, on top of its think time; twice as long after
/// each further one in a row.
const FIRST_BACK_OFF: Nanos = 10_000_000;
/// The longest such wait.
const LONGEST_BACK_OFF: Nanos = 200_000_000;

/// Who asks one request after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Asker {
    /// A user of a closed loop.
    User(u32),
    /// The session that an arrival of a class began.
    Session(u16, u64),
}

/// A request that ended, as far as what comes after it is concerned.
struct Ended {
    id: RequestId,
    class: u16,
    next: Option<Next>,
    end: Nanos,
    completed: bool,
    connected: bool,
    answer: Option<Box<str>>,
}

/// The askers of one worker.
pub(super) struct Turns {
    context: Arc<WorkerContext>,
    bodies: TurnBodies,
    /// What a user does after a session; none in an open loop, where that was all.
    plan: Option<ClosedLoop>,
    /// When each idle asker asks next.
    due: BinaryHeap<Reverse<(Nanos, Asker)>>,
    /// Bodies that wait for their asker.
    ready: HashMap<Asker, Prepared>,
    /// Askers who came due before their body was ready: the client's own lag.
    late: HashMap<Asker, (Nanos, Phase)>,
    /// Requests whose body is being made although their session has ended early.
    void: HashSet<(u16, RequestId)>,
    /// Requests in a row that found no connection, of users whose last one did not.
    unconnected: HashMap<u32, u32>,
    requests: TaskTracker,
    /// Requests under way.
    asking: usize,
    ended: mpsc::UnboundedSender<Ended>,
    ends: mpsc::UnboundedReceiver<Ended>,
    measured: Vec<u64>,
}

impl Turns {
    /// Nobody asks yet.
    pub(super) fn new(context: Arc<WorkerContext>, bodies: TurnBodies, plan: Option<ClosedLoop>) -> Self {
        let (ended, ends) = mpsc::unbounded_channel();
        let measured = vec![0; context.targets.len()];
        Self {
            context,
            bodies,
            plan,
            due: BinaryHeap::new(),
            ready: HashMap::new(),
            late: HashMap::new(),
            void: HashSet::new(),
            unconnected: HashMap::new(),
            requests: TaskTracker::new(),
            asking: 0,
            ended,
            ends,
            measured,
        }
    }

    /// `asker` comes due at `at` with the body that is ready for them.
    pub(super) fn line_up(&mut self, asker: Asker, at: Nanos, body: Option<Prepared>) {
        self.due.push(Reverse((at, asker)));
        self.ready.extend(body.map(|body| (asker, body)));
    }

    /// Runs until `no_more`, then waits for what is in flight. `arrivals` come at times of their own. Returns the measured
    /// requests that came due, by class.
    pub(super) async fn run(
        mut self,
        pacer: &Pacer,
        mut arrivals: Option<OpenBodies>,
        no_more: &CancellationToken,
    ) -> Vec<u64> {
        let mut held: Option<Prepared> = None;
        // A closed loop is over when every user has left for good; after the arrivals of an open one its window goes on.
        while self.plan.is_none() || self.is_awaited() {
            let turn = self.due.peek().map(|Reverse((at, _))| *at);
            let arrival = held.as_ref().map(|arrival| arrival.at);
            let next = turn.into_iter().chain(arrival).min();
            tokio::select! {
                biased;
                () = no_more.cancelled() => break,
                Some(ended) = self.ends.recv() => self.follow(ended),
                // Asked for only when somebody waits for it: else each body would wake this worker.
                Some(prepared) = self.bodies.next(), if !self.late.is_empty() => self.take_body(prepared),
                next = next_arrival(&mut arrivals), if held.is_none() && arrivals.is_some() => {
                    held = next;
                    if held.is_none() {
                        arrivals = None;
                    }
                }
                () = pacer.sleep_until(next.unwrap_or(Nanos::MAX)), if next.is_some() => {
                    match held.take_if(|arrival| turn.is_none_or(|turn| arrival.at <= turn)) {
                        Some(arrival) => self.dispatch(arrival),
                        None => self.come_due(),
                    }
                    // Answers get their turn between two requests, also when many are due at once.
                    tokio::task::yield_now().await;
                }
            }
        }
        if let Some(arrivals) = arrivals {
            open::not_sent(&self.context, held, arrivals, &mut self.measured).await;
        }
        self.give_up_late().await;
        self.requests.close();
        self.requests.wait().await;
        self.measured
    }

    /// Whether somebody will ask again, or waits for an answer.
    fn is_awaited(&self) -> bool {
        !self.due.is_empty() || !self.late.is_empty() || self.asking > 0
    }

    fn come_due(&mut self) {
        let Some(Reverse((at, asker))) = self.due.pop() else { return };
        let phase = self.context.window.come_due(at);
        if !self.ready.contains_key(&asker) {
            while let Some(prepared) = self.bodies.try_next() {
                self.take_body(prepared);
            }
        }
        match self.ready.remove(&asker) {
            Some(prepared) => self.dispatch(Prepared { at, phase, ..prepared }),
            None => {
                self.late.insert(asker, (at, phase));
            }
        }
    }

    fn take_body(&mut self, prepared: Prepared) {
        if self.void.remove(&(prepared.class, prepared.id)) {
            return;
        }
        let asker = asker(prepared.class, prepared.id);
        match self.late.remove(&asker) {
            Some((at, phase)) => self.dispatch(Prepared { at, phase, ..prepared }),
            None => {
                self.ready.insert(asker, prepared);
            }
        }
    }

    fn dispatch(&mut self, prepared: Prepared) {
        self.count(&prepared);
        let (id, class, next) = (prepared.id, prepared.class, prepared.next);
        self.asking += 1;
        let dispatched = self.context.clock.now();
        let (context, ended) = (Arc::clone(&self.context), self.ended.clone());
        launch(&self.requests, async move {
            let timeline = context.perform(prepared, dispatched).await;
            let end = timeline.stamps.end.unwrap_or_else(|| context.clock.now());
            let completed = timeline.answer.outcome == Outcome::Completed;
            let answer = next.filter(|next| completed && next.needs_answer).map(|_| text_of(&timeline));
            let connected = timeline.answer.outcome != Outcome::ConnectFailed;
            // Before the user goes on: where the collector falls far behind, users wait for it, which shows as late
            // dispatches, instead of filling the memory.
            context.deliver(timeline).await;
            // The worker has left its loop when nobody listens: nothing comes after this request.
            let _ = ended.send(Ended { id, class, next, end, completed, connected, answer });
        });
        // What does not depend on the answer is made while it streams.
        match next {
            Some(next) if next.needs_answer => {}
            Some(_) => self.bodies.wish(Wish::Turn { id: id.after(), class, answer: None }),
            None => self.wish_next_session(id),
        }
    }

    /// What comes after a request: the next turn, or the user's next session.
    fn follow(&mut self, ended: Ended) {
        let Ended { id, class, next, end, completed, connected, answer } = ended;
        self.asking -= 1;
        if let Some(next) = next {
            if completed {
                if next.needs_answer {
                    self.bodies.wish(Wish::Turn { id: id.after(), class, answer });
                }
                self.due.push(Reverse((end.saturating_add(next.think_time_ns), asker(class, id))));
                return;
            }
            // The session ends here. The body of its next turn may be ready, or still come.
            if !next.needs_answer && self.ready.remove(&asker(class, id)).is_none() {
                self.void.insert((class, id.after()));
            }
            self.bodies.wish(Wish::Forget { id, class });
            self.wish_next_session(id);
        }
        if self.plan.is_some()
            && let Some((user, session)) = user_and_session(id)
        {
            let end = self.back_off(user, end, connected);
            let next = self.plan.as_ref().and_then(|plan| plan.next_due(user, session, end));
            self.due.extend(next.map(|at| Reverse((at, Asker::User(user)))));
        }
    }

    /// When the pause of a user begins whose request ended at `end`. Without a connection nothing holds a user up: it would
    /// ask again at once, thousands of times a second, and a server that comes back would meet a storm.
    fn back_off(&mut self, user: u32, end: Nanos, connected: bool) -> Nanos {
        if connected {
            self.unconnected.remove(&user);
            return end;
        }
        let failures = self.unconnected.entry(user).or_default();
        let pause = FIRST_BACK_OFF.checked_shl(*failures).unwrap_or(LONGEST_BACK_OFF).min(LONGEST_BACK_OFF);
        *failures = (*failures + 1).min(8);
        self.context.counters.back_off();
        end.saturating_add(pause)
    }

    fn wish_next_session(&self, id: RequestId) {
        if let Some((user, session)) = user_and_session(id) {
            self.bodies.wish(Wish::Begin { user, session: session + 1 });
        }
    }

    fn count(&mut self, prepared: &Prepared) {
        self.measured[usize::from(prepared.class)] += u64::from(prepared.phase == Phase::Measure);
    }

    /// Those who came due but whose body was still being made when the point ended.
    async fn give_up_late(&mut self) {
        while !self.late.is_empty() {
            let Some(prepared) = self.bodies.next().await else { return };
            if self.void.remove(&(prepared.class, prepared.id)) {
                continue;
            }
            if let Some((at, phase)) = self.late.remove(&asker(prepared.class, prepared.id)) {
                let prepared = Prepared { at, phase, ..prepared };
                self.count(&prepared);
                self.context.deliver(self.context.never_sent(&prepared, reason::CLIENT_LATE)).await;
            }
        }
    }
}

async fn next_arrival(arrivals: &mut Option<OpenBodies>) -> Option<Prepared> {
    arrivals.as_mut()?.next().await
}

/// Whose request it is.
fn asker(class: u16, id: RequestId) -> Asker {
    match id {
        RequestId::Open { index } | RequestId::OpenSession { index, .. } => Asker::Session(class, index),
        RequestId::Closed { user, .. } | RequestId::ClosedSession { user, .. } => Asker::User(user),
    }
}

/// The user of a closed loop and the number of their session; without sessions each request is one.
fn user_and_session(id: RequestId) -> Option<(u32, u32)> {
    match id {
        RequestId::Closed { user, turn } => Some((user, turn)),
        RequestId::ClosedSession { user, session, .. } => Some((user, session)),
        RequestId::Open { .. } | RequestId::OpenSession { .. } => None,
    }
}

/// What the server answered, without its reasoning and tool calls: what a client would put into the history.
fn text_of(timeline: &Timeline) -> Box<str> {
    if let Some(text) = &timeline.answer.body_text {
        return text.clone();
    }
    let texts = timeline.answer.events.iter().filter(|event| event.kind == ContentKind::Text);
    texts.map(|event| &*event.text).collect::<String>().into()
}
