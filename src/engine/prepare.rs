//! Bodies made before they are due, on a thread beside each worker.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::mpsc;

use super::window::Window;
use super::{Job, LoopPlan, priority};
use crate::measure::timeline::{Phase, RequestId};
use crate::protocol::Ask;
use crate::transport::Outgoing;
use crate::units::Nanos;
use crate::workload::{Content, History, Next};

/// Prepared requests that may wait for their time, per worker.
const AHEAD_REQUESTS: usize = 256;
/// Bytes of prepared bodies that may wait, per worker: long prompts must not fill the memory.
const AHEAD_BYTES: usize = 16 << 20;

/// A request that only waits for its time.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: RequestId,
    pub(super) class: u16,
    pub(super) phase: Phase,
    /// Intended time; a closed loop fills it in when the request comes due.
    pub(super) at: Nanos,
    pub(super) outgoing: Outgoing,
    pub(super) input_tokens_asked: u32,
    pub(super) input_tokens_counted: u32,
    pub(super) output_tokens_asked: u32,
    /// The request of the same session after this one, if there is one.
    pub(super) next: Option<Next>,
    pub(super) address: u16,
    pub(super) expected_number: Option<u32>,
}

/// Bodies of an open loop in order of time.
pub(super) struct OpenBodies {
    queue: mpsc::Receiver<Prepared>,
    stock: Arc<Stock>,
    preparer: Thread,
    first: Option<Prepared>,
}

/// How full the queue is. Its preparer sleeps from the moment it is full until half of it is used up: one that made a body
/// whenever there is room for one would be woken by every request.
#[derive(Debug, Default)]
struct Stock {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    asleep: AtomicBool,
}

impl Stock {
    fn add(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Takes one out; whether the preparer has to be woken.
    fn take(&self, bytes: usize) -> bool {
        self.requests.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.asleep.load(Ordering::SeqCst) && self.is_low()
    }

    fn is_full(&self) -> bool {
        self.requests.load(Ordering::SeqCst) >= AHEAD_REQUESTS || self.bytes.load(Ordering::SeqCst) > AHEAD_BYTES
    }

    fn is_low(&self) -> bool {
        self.requests.load(Ordering::SeqCst) <= AHEAD_REQUESTS / 2
            && self.bytes.load(Ordering::SeqCst) <= AHEAD_BYTES / 2
    }

    /// Sleeps until the queue is low, or `gone`.
    fn sleep(&self, gone: impl Fn() -> bool) {
        self.asleep.store(true, Ordering::SeqCst);
        while !self.is_low() && !gone() {
            // Nobody wakes this thread when the worker goes away.
            thread::park_timeout(Duration::from_millis(100));
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl OpenBodies {
    /// The next one; none when a finite schedule has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Prepared> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let prepared = self.queue.recv().await?;
        if self.stock.take(prepared.outgoing.body.len()) {
            self.preparer.unpark();
        }
        Some(prepared)
    }
}

impl OpenBodies {
    /// Waits for the first one, which stays the next.
    pub(super) async fn first(&mut self) {
        if self.first.is_none() {
            self.first = self.next().await;
        }
    }
}

/// Starts the preparer of one open-loop worker.
pub(super) fn open(job: &Job, window: &Arc<Window>, worker: usize) -> std::io::Result<OpenBodies> {
    let (sender, queue) = mpsc::channel(AHEAD_REQUESTS);
    let stock = Arc::new(Stock::default());
    let (job, window, filled) = (job.clone(), Arc::clone(window), Arc::clone(&stock));
    let thread = thread::Builder::new().name(format!("bench-prepare-{worker}")).spawn(move || {
        priority::behind_workers();
        let LoopPlan::Open { schedule, .. } = &job.plan else { return };
        let mine = schedule().filter(|arrival| arrival.place % job.workers as u64 == worker as u64);
        for arrival in mine {
            let phase = window.phase(arrival.place);
            let prepared = if job.source.has_sessions(arrival.class) {
                // What the later turns build on is made again where their bodies are, if there are any.
                let id = RequestId::OpenSession { index: arrival.index, turn: 0 };
                let (content, next) = job.source.turn(id, arrival.class, &mut History::default(), None);
                prepare(&job, phase, content, next, arrival.at)
            } else {
                let id = RequestId::Open { index: arrival.index };
                prepare(&job, phase, job.source.content(phase, id, arrival.class), None, arrival.at)
            };
            if filled.is_full() {
                filled.sleep(|| sender.is_closed());
            }
            filled.add(prepared.outgoing.body.len());
            if sender.blocking_send(prepared).is_err() {
                return;
            }
            // A worker on the same core goes first. Its wake-up alone would not take the core from this thread.
            thread::yield_now();
        }
    })?;
    Ok(OpenBodies { queue, stock, preparer: thread.thread().clone(), first: None })
}

/// A body that is wanted, or a session that is over.
#[derive(Debug)]
pub(super) enum Wish {
    /// The first request of a user's session, or the user's n-th request where the class has no sessions.
    Begin { user: u32, session: u32 },
    /// A later request of a session, with the answer to the one before where the history is the server's.
    Turn { id: RequestId, class: u16, answer: Option<Box<str>> },
    /// The session of this request has ended early.
    Forget { id: RequestId, class: u16 },
}

/// Bodies made on demand: of users, one turn ahead, and of the later turns of sessions.
pub(super) struct TurnBodies {
    wishes: std::sync::mpsc::Sender<Wish>,
    ready: mpsc::UnboundedReceiver<Prepared>,
}

impl TurnBodies {
    /// Asks for a body.
    pub(super) fn wish(&self, wish: Wish) {
        // A preparer that is gone shows as requests that are never dispatched, and its panic is
        // reported by the supervisor.
        let _ = self.wishes.send(wish);
    }

    /// The next one that is ready. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Prepared> {
        self.ready.recv().await
    }

    /// The next one, if it is ready.
    pub(super) fn try_next(&mut self) -> Option<Prepared> {
        self.ready.try_recv().ok()
    }
}

/// Starts the preparer of one worker's turns.
pub(super) fn turns(job: &Job, worker: usize) -> std::io::Result<TurnBodies> {
    let (wishes, wished) = std::sync::mpsc::channel::<Wish>();
    // Bounded by the users or the open sessions of the worker: one turn ahead each.
    let (sender, ready) = mpsc::unbounded_channel();
    let job = job.clone();
    thread::Builder::new().name(format!("bench-turns-{worker}")).spawn(move || {
        priority::behind_workers();
        let mut maker = TurnMaker { job, histories: HashMap::new() };
        let mut pending: VecDeque<Wish> = VecDeque::new();
        while let Ok(wish) = wished.recv() {
            pending.push_back(wish);
            pending.extend(wished.try_iter());
            while let Some(wish) = pending.pop_front() {
                if let Some(prepared) = maker.grant(wish)
                    && sender.send(prepared).is_err()
                {
                    return;
                }
                thread::yield_now();
            }
        }
    })?;
    Ok(TurnBodies { wishes, ready })
}

/// Makes the bodies of turns, and remembers what was said in the sessions that have a next turn.
struct TurnMaker {
    job: Job,
    /// By class and first request of the session.
    histories: HashMap<(u16, RequestId), History>,
}

impl TurnMaker {
    fn grant(&mut self, wish: Wish) -> Option<Prepared> {
        let source = &self.job.source;
        // One seed path for the whole point: turns never recur, whatever phase they turn out to be in.
        let phase = Phase::Measure;
        let (id, class, answer) = match wish {
            Wish::Begin { user, session } => {
                let class = source.class_of_turn(user, session);
                if !source.has_sessions(class) {
                    let content = source.content(phase, RequestId::Closed { user, turn: session }, class);
                    return Some(prepare(&self.job, phase, content, None, 0));
                }
                (RequestId::ClosedSession { user, session, turn: 0 }, class, None)
            }
            Wish::Turn { id, class, answer } => (id, class, answer),
            Wish::Forget { id, class } => {
                self.histories.remove(&(class, id.with_turn(0)));
                return None;
            }
        };
        let session = (class, id.with_turn(0));
        let history = self.histories.entry(session).or_default();
        let (content, next) = source.turn(id, class, history, answer.as_deref());
        if next.is_none() {
            self.histories.remove(&session);
        }
        Some(prepare(&self.job, phase, content, next, 0))
    }
}

fn prepare(job: &Job, phase: Phase, content: Content, next: Option<Next>, at: Nanos) -> Prepared {
    let Content {
        id,
        class,
        prompt,
        input_tokens_asked,
        input_tokens_counted,
        output_tokens_asked,
        address,
        expected_number,
    } = content;
    let target = &job.targets[usize::from(class)];
    let body = target.protocol.body(&Ask { model: &target.model, prompt: &prompt, max_tokens: output_tokens_asked });
    Prepared {
        id,
        class,
        phase,
        at,
        outgoing: Outgoing {
            url: target.urls[usize::from(address)].clone(),
            headers: target.headers.clone(),
            body,
            timeout: target.timeout,
            version: target.version,
        },
        input_tokens_asked,
        input_tokens_counted,
        output_tokens_asked,
        next,
        address,
        expected_number,
    }
}
