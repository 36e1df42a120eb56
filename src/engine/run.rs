//! A point from start to end: the supervisor thread, the worker threads and the drain.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::backlog::{self, Timelines, backlog};
use super::clock::PointClock;
use super::gate::Gate;
use super::pacer::Pacer;
use super::request::{Counters, WorkerContext};
use super::window::Window;
use super::{
    Connections, EngineError, EngineStats, Job, LoopPlan, StampFacts, Stop, StopLevel, Target, closed, open, prepare,
    turns,
};
use crate::measure::distribution::Distribution;
use crate::measure::metric::Unit;
use crate::protocol::reason;
use crate::transport::{Ahead, Cancel, ClockSource, Pace, TransportFacts};
use crate::units::Nanos;

/// Tasks that a worker runs before it looks at its timer again.
const TASKS_IN_A_ROW: u32 = 8;
/// How often a worker measures how late its loop turns.
const LOOP_LAG_PERIOD: Nanos = 100_000_000;

/// A point under way.
#[derive(Debug)]
pub struct Running {
    /// One message per request; closes when the last worker has ended.
    pub timelines: Timelines,
    /// Requests in flight.
    pub in_flight: Arc<AtomicU64>,
    /// Brings the clock of the point once all workers are ready and it is known when it starts; closed without it when
    /// a worker could not be set up.
    pub began: std::sync::mpsc::Receiver<PointClock>,
    /// The measured window as far as it is known.
    pub window: WindowView,
    /// Kernel thread ids of the workers, complete before the clock passes zero.
    pub worker_threads: Arc<Mutex<Vec<i32>>>,
    /// What the supervisor hands over at the end.
    pub finished: Finished,
}

/// A look at the measured window from outside the engine.
#[derive(Clone, Debug)]
pub struct WindowView(Arc<Window>);

impl WindowView {
    /// Its end, once it is known: from the start, except in a closed loop.
    pub fn end(&self) -> Option<Nanos> {
        self.0.end()
    }

    /// Waits until its end is known, which in a closed loop is when it comes.
    pub async fn known_end(&self) -> Nanos {
        loop {
            if let Some(end) = self.0.end() {
                return end;
            }
            self.0.closed().await;
        }
    }
}

/// The end of a point.
#[derive(Debug)]
pub struct Finished(oneshot::Receiver<Result<EngineStats, EngineError>>);

impl Finished {
    /// Waits for the supervisor.
    ///
    /// # Errors
    /// When a worker could not be set up or panicked.
    pub async fn wait(self) -> Result<EngineStats, EngineError> {
        self.0.await.unwrap_or_else(|_| Err(EngineError::Panicked("the supervisor thread ended early".to_owned())))
    }
}

/// Starts a point on threads of its own and returns at once.
///
/// # Errors
/// When the supervisor thread cannot be created.
pub fn start(job: Job, stop: Stop, grace: Duration) -> Result<Running, EngineError> {
    let (sender, timelines) = backlog();
    let (ended, finished) = oneshot::channel();
    let in_flight = Arc::new(AtomicU64::new(0));
    let (begin, began) = std::sync::mpsc::channel();
    let shared = Shared {
        window: Arc::new(Window::new(&job.plan)),
        gates: Gate::all(
            job.targets.iter().map(|target| target.max_in_flight.clone()),
            job.max_in_flight.as_ref(),
            &in_flight,
        ),
        cancel: Cancel::default(),
        no_more: CancellationToken::new(),
        timelines: sender,
        threads: Arc::default(),
    };
    let worker_threads = Arc::clone(&shared.threads);
    let window = WindowView(Arc::clone(&shared.window));
    thread::Builder::new()
        .name("bench-point".to_owned())
        .spawn(move || {
            let stats = supervise(&job, shared, &begin, &stop, grace);
            // Nobody waits when the whole apply was abandoned.
            let _ = ended.send(stats);
        })
        .map_err(|error| EngineError::Setup(error.to_string()))?;
    Ok(Running { timelines, in_flight, began, window, worker_threads, finished: Finished(finished) })
}

#[derive(Clone)]
struct Shared {
    window: Arc<Window>,
    gates: Arc<[Gate]>,
    cancel: Cancel,
    no_more: CancellationToken,
    timelines: backlog::Sender,
    threads: Arc<Mutex<Vec<i32>>>,
}

/// A worker's side of the start: it says that it is ready, and learns when the clock starts.
struct Gun {
    ready: oneshot::Sender<()>,
    zero: watch::Receiver<Option<PointClock>>,
    pace: Arc<Pace>,
}

/// What one worker hands over.
#[derive(Debug)]
struct WorkerEnd {
    measured: Vec<u64>,
    connections: Connections,
    loop_lag: Distribution,
    clock_source: ClockSource,
    transport: TransportFacts,
}

fn supervise(
    job: &Job,
    shared: Shared,
    begin: &std::sync::mpsc::Sender<PointClock>,
    stop: &Stop,
    grace: Duration,
) -> Result<EngineStats, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| EngineError::Setup(error.to_string()))?;
    let (start_clock, zero) = watch::channel(None);
    let pace = Arc::new(Pace::default());
    let mut ready = Vec::new();
    let workers: Vec<_> = (0..job.workers.max(1))
        .map(|worker| {
            let (job, shared) = (job.clone(), shared.clone());
            let (ended, end) = oneshot::channel();
            let (is_ready, when_ready) = oneshot::channel();
            ready.push(when_ready);
            let gun = Gun { ready: is_ready, zero: zero.clone(), pace: Arc::clone(&pace) };
            thread::Builder::new()
                .name(format!("bench-worker-{worker}"))
                .spawn(move || {
                    let _ = ended.send(work(&job, &shared, worker, gun));
                })
                .map(|_| end)
                .map_err(|error| EngineError::Setup(error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let (window, cancel) = (Arc::clone(&shared.window), shared.cancel.clone());
    let no_more = shared.no_more.clone();
    drop(shared);
    runtime.block_on(async move {
        let all = futures_util::future::join_all(workers);
        tokio::pin!(all);
        // A worker that cannot be set up closes its side unready; it has ended then, and says why.
        let stopped_early = tokio::select! {
            biased;
            ready = futures_util::future::join_all(ready) => ready.iter().any(Result::is_err),
            () = stop.reached(StopLevel::Drain) => true,
        };
        let lead = if stopped_early { Duration::ZERO } else { job.lead };
        if stopped_early {
            // Connections that are being opened would hold the end up.
            cancel.cancel(reason::INTERRUPTED);
            no_more.cancel();
        }
        let clock = PointClock::starting_in(u64::try_from(lead.as_nanos()).unwrap_or(Nanos::MAX));
        let _ = begin.send(clock);
        start_clock.send_replace(Some(clock));
        let (interrupted, early) = tokio::select! {
            biased;
            ends = &mut all => (false, Some(ends)),
            () = stop.reached(StopLevel::Drain) => (true, None),
            () = window_over(job, &window, clock) => (false, None),
        };
        let now = clock.now();
        if early.is_some() {
            window.all_left(now);
        }
        no_more.cancel();
        let ends = if let Some(ends) = early {
            ends
        } else {
            if interrupted {
                // What is in flight may finish; a second signal or the end of the grace ends it.
                tokio::select! {
                    biased;
                    ends = &mut all => return collect(ends, job.targets.len(), &window, Some(now)),
                    () = stop.reached(StopLevel::Cancel) => {}
                    () = tokio::time::sleep(grace) => {}
                }
            }
            cancel.cancel(if interrupted {
                reason::INTERRUPTED
            } else if window.all_ended() {
                reason::WINDOW_OVER
            } else {
                reason::DRAIN_LIMIT
            });
            all.await
        };
        collect(ends, job.targets.len(), &window, interrupted.then_some(now))
    })
}

/// Returns when the window has closed and its requests have ended, or the drain has lasted too long.
async fn window_over(job: &Job, window: &Window, clock: PointClock) {
    let sleep_until = async |at: Nanos| tokio::time::sleep(Duration::from_nanos(clock.until(at))).await;
    if let LoopPlan::Closed(plan) = &job.plan {
        let by_time = async {
            for end in [Some(plan.rule.soft_end), plan.rule.hard_end].into_iter().flatten() {
                sleep_until(end).await;
                window.pass(end);
            }
            // It waits for requests: the one that comes due after the last of them closes it.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = window.closed() => {}
            () = by_time => {}
        }
    }
    let end = window.end().unwrap_or_else(|| clock.now());
    sleep_until(end).await;
    window.over();
    tokio::select! {
        biased;
        () = window.ended() => {}
        () = sleep_until(end.saturating_add(job.drain_max)) => {}
    }
}

type Ends = Vec<Result<Result<WorkerEnd, EngineError>, oneshot::error::RecvError>>;

fn collect(
    ends: Ends,
    classes: usize,
    window: &Window,
    interrupted_at: Option<Nanos>,
) -> Result<EngineStats, EngineError> {
    let mut stats = EngineStats {
        window_start: window.start(),
        window_end: 0,
        planned: window.planned(),
        interrupted: interrupted_at.is_some(),
        clock_source: ClockSource::HttpClient,
        planned_by_class: vec![0; classes],
        loop_lag: Distribution::new(Unit::Time),
        connections: Connections::default(),
        stamps: StampFacts::default(),
    };
    for end in ends {
        let end = end.map_err(|_| EngineError::Panicked("a worker thread ended early".to_owned()))??;
        for (planned, measured) in stats.planned_by_class.iter_mut().zip(end.measured) {
            *planned += measured;
        }
        stats.connections.add(end.connections);
        stats.connections.opened += end.transport.opened_ahead;
        // A worker that read nothing has no say; workers that differ have stamped as the worse of them.
        if end.transport.stamps.reads > 0 || stats.stamps.reads == 0 {
            let first = stats.stamps.reads == 0;
            stats.clock_source = if first { end.clock_source } else { stats.clock_source.worse(end.clock_source) };
        }
        stats.stamps.add(&end.transport.stamps);
        stats.loop_lag.merge(&end.loop_lag);
    }
    stats.window_end = match (interrupted_at, window.end()) {
        (Some(at), Some(end)) => at.clamp(window.start(), end),
        (Some(at), None) => at.max(window.start()),
        (None, end) => end.unwrap_or_else(|| window.start()),
    };
    if interrupted_at.is_some() {
        stats.planned = stats.planned_by_class.iter().sum();
    }
    Ok(stats)
}

fn work(job: &Job, shared: &Shared, worker: usize, gun: Gun) -> Result<WorkerEnd, EngineError> {
    shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread_id());
    let setup = |error: std::io::Error| EngineError::Setup(error.to_string());
    // After so many tasks the runtime looks at due requests and at the sockets again. Its default of 61 lets a request that
    // is due wait for 61 reads, half a millisecond; eight cost one more system call for eight reads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(TASKS_IN_A_ROW)
        .build()
        .map_err(setup)?;
    let share = (worker, job.workers.max(1));
    runtime.block_on(async {
        let transport = (job.transport)()?;
        let mut bodies = match &job.plan {
            LoopPlan::Open { .. } => {
                let arrivals = prepare::open(job, &shared.window, worker).map_err(setup)?;
                if job.has_sessions() {
                    Bodies::Sessions(arrivals, prepare::turns(job, worker).map_err(setup)?)
                } else {
                    Bodies::Open(arrivals)
                }
            }
            LoopPlan::Closed(plan) => {
                Bodies::Closed(closed::Lineup::new(prepare::turns(job, worker).map_err(setup)?, plan.clone(), share))
            }
        };
        // Timers before connections, which may take every descriptor that is left.
        let unset = PointClock::starting_in(0);
        let (pacer, lag) = (Pacer::new(unset).map_err(setup)?, Pacer::new(unset).map_err(setup)?);
        // Connections stand and first bodies wait before anything is due.
        transport.open_ahead(&ahead(&job.targets, share), &gun.pace, &shared.cancel).await;
        tokio::select! {
            () = bodies.first() => {}
            _ = shared.cancel.cancelled() => {}
        }
        let _ = gun.ready.send(());
        let mut zero = gun.zero;
        let clock = match zero.wait_for(Option::is_some).await {
            Ok(clock) => clock.ok_or_else(|| EngineError::Setup("the clock did not start".to_owned()))?,
            Err(_) => return Err(EngineError::Panicked("the supervisor thread ended early".to_owned())),
        };
        let context = Arc::new(WorkerContext {
            clock,
            gates: Arc::clone(&shared.gates),
            window: Arc::clone(&shared.window),
            transport,
            targets: Arc::clone(&job.targets),
            cancel: shared.cancel.clone(),
            timelines: shared.timelines.clone(),
            counters: Counters::default(),
        });
        let pacer = pacer.of(clock);
        // Users may all leave before arrivals are stopped.
        let no_more_lag = shared.no_more.child_token();
        let lag = tokio::spawn(loop_lag(lag.of(clock), clock, no_more_lag.clone()));
        let no_more = shared.no_more.clone();
        let measured = match bodies {
            Bodies::Open(bodies) => open::work(Arc::clone(&context), pacer, bodies, no_more).await,
            Bodies::Sessions(arrivals, bodies) => {
                let turns = turns::Turns::new(Arc::clone(&context), bodies, None);
                turns.run(&pacer, Some(arrivals), &no_more).await
            }
            Bodies::Closed(lineup) => closed::work(Arc::clone(&context), pacer, lineup, no_more).await,
        };
        no_more_lag.cancel();
        Ok(WorkerEnd {
            measured,
            connections: context.counters.read(),
            loop_lag: lag.await.unwrap_or_else(|_| Distribution::new(Unit::Time)),
            clock_source: context.transport.clock_source(),
            transport: context.transport.facts(),
        })
    })
}

/// Bodies of one worker.
enum Bodies {
    Open(prepare::OpenBodies),
    /// Arrivals that begin sessions, and their later turns.
    Sessions(prepare::OpenBodies, prepare::TurnBodies),
    Closed(closed::Lineup),
}

impl Bodies {
    /// Returns when what is due first has its body.
    async fn first(&mut self) {
        match self {
            Self::Open(bodies) | Self::Sessions(bodies, _) => bodies.first().await,
            Self::Closed(lineup) => lineup.first().await,
        }
    }
}

/// A worker's share of the connections to open ahead.
fn ahead(targets: &[Target], (worker, workers): (usize, usize)) -> Vec<Ahead> {
    let share = |all: u32| {
        let (worker, workers) = (u32::try_from(worker).unwrap_or(u32::MAX), u32::try_from(workers).unwrap_or(u32::MAX));
        all / workers + u32::from(worker < all % workers)
    };
    targets
        .iter()
        .flat_map(|target| target.urls.iter().map(move |url| (target, url)))
        .map(|(target, url)| Ahead {
            url: url.clone(),
            version: target.version,
            connections: share(target.connections_ahead),
        })
        .filter(|ahead| ahead.connections > 0)
        .collect()
}

/// How late this worker's loop turns, on a timer of its own, until arrivals end.
async fn loop_lag(pacer: Pacer, clock: PointClock, no_more: CancellationToken) -> Distribution {
    let mut lags = Distribution::new(Unit::Time);
    let mut due = clock.now() + LOOP_LAG_PERIOD;
    loop {
        tokio::select! {
            biased;
            () = no_more.cancelled() => {
                // A loop that was held up until the very end was late too.
                if clock.now() > due {
                    lags.record(clock.now() - due);
                }
                return lags;
            }
            () = pacer.sleep_until(due) => {}
        }
        lags.record(clock.now().saturating_sub(due));
        due = clock.now() + LOOP_LAG_PERIOD;
    }
}

#[cfg(target_os = "linux")]
fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

#[cfg(not(target_os = "linux"))]
fn thread_id() -> i32 {
    0
}
