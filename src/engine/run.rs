//! A point from start to end: the supervisor thread, the worker threads and the drain.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::clock::PointClock;
use super::gate::Gate;
use super::pacer::Pacer;
use super::request::{Counters, WorkerContext};
use super::window::Window;
use super::{Connections, EngineError, EngineStats, Job, LoopPlan, Stop, StopLevel, closed, open, prepare};
use crate::measure::timeline::Timeline;
use crate::protocol::reason;
use crate::transport::{Cancel, ClockSource};
use crate::units::Nanos;

/// Timelines that may wait for the collector.
const BACKLOG: usize = 4096;
/// How often a worker measures how late its loop turns.
const LOOP_LAG_PERIOD: Nanos = 100_000_000;

/// A point under way.
#[derive(Debug)]
pub struct Running {
    /// One message per request; closes when the last worker has ended.
    pub timelines: mpsc::Receiver<Timeline>,
    /// Requests in flight.
    pub in_flight: Arc<AtomicU64>,
    /// The clock of the point.
    pub clock: PointClock,
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
    let (sender, timelines) = mpsc::channel(BACKLOG);
    let (ended, finished) = oneshot::channel();
    let in_flight = Arc::new(AtomicU64::new(0));
    let clock = PointClock::starting_in(u64::try_from(job.lead.as_nanos()).unwrap_or(Nanos::MAX));
    let shared = Shared {
        clock,
        window: Arc::new(Window::new(&job.plan)),
        gate: Gate::new(
            job.max_in_flight.as_ref().map(|bound| bound.limit),
            job.drops_when_full(),
            Arc::clone(&in_flight),
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
            let stats = supervise(&job, shared, &stop, grace);
            // Nobody waits when the whole apply was abandoned.
            let _ = ended.send(stats);
        })
        .map_err(|error| EngineError::Setup(error.to_string()))?;
    Ok(Running { timelines, in_flight, clock, window, worker_threads, finished: Finished(finished) })
}

#[derive(Clone)]
struct Shared {
    clock: PointClock,
    window: Arc<Window>,
    gate: Gate,
    cancel: Cancel,
    no_more: CancellationToken,
    timelines: mpsc::Sender<Timeline>,
    threads: Arc<Mutex<Vec<i32>>>,
}

/// What one worker hands over.
#[derive(Debug)]
struct WorkerEnd {
    measured: Vec<u64>,
    connections: Connections,
    loop_lag: Histogram<u64>,
    clock_source: ClockSource,
}

fn supervise(job: &Job, shared: Shared, stop: &Stop, grace: Duration) -> Result<EngineStats, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| EngineError::Setup(error.to_string()))?;
    let workers: Vec<_> = (0..job.workers.max(1))
        .map(|worker| {
            let (job, shared) = (job.clone(), shared.clone());
            let (ended, end) = oneshot::channel();
            thread::Builder::new()
                .name(format!("bench-worker-{worker}"))
                .spawn(move || {
                    let _ = ended.send(work(&job, &shared, worker));
                })
                .map(|_| end)
                .map_err(|error| EngineError::Setup(error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let (window, cancel, clock) = (Arc::clone(&shared.window), shared.cancel.clone(), shared.clock);
    let no_more = shared.no_more.clone();
    drop(shared);
    runtime.block_on(async move {
        let all = futures_util::future::join_all(workers);
        tokio::pin!(all);
        let (interrupted, early) = tokio::select! {
            biased;
            ends = &mut all => (false, Some(ends)),
            () = stop.reached(StopLevel::Drain) => (true, None),
            () = window_over(job, &window, clock) => (false, None),
        };
        let now = clock.now();
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
    window.check();
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
        loop_lag: new_histogram(),
        connections: Connections::default(),
    };
    for end in ends {
        let end = end.map_err(|_| EngineError::Panicked("a worker thread ended early".to_owned()))??;
        for (planned, measured) in stats.planned_by_class.iter_mut().zip(end.measured) {
            *planned += measured;
        }
        stats.connections.add(end.connections);
        stats.clock_source = end.clock_source;
        // Both histograms resize themselves, so adding cannot fail.
        let _ = stats.loop_lag.add(&end.loop_lag);
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

/// Histograms of the engine's own lags: nanoseconds, three digits, resizing.
fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are valid")
}

fn work(job: &Job, shared: &Shared, worker: usize) -> Result<WorkerEnd, EngineError> {
    shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread_id());
    let setup = |error: std::io::Error| EngineError::Setup(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup)?;
    runtime.block_on(async {
        let context = Arc::new(WorkerContext {
            clock: shared.clock,
            gate: shared.gate.clone(),
            window: Arc::clone(&shared.window),
            transport: (job.transport)()?,
            targets: Arc::clone(&job.targets),
            cancel: shared.cancel.clone(),
            timelines: shared.timelines.clone(),
            counters: Counters::default(),
        });
        let pacer = Pacer::new(shared.clock).map_err(setup)?;
        let lag = tokio::spawn(loop_lag(Pacer::new(shared.clock).map_err(setup)?, shared.clone()));
        let no_more = shared.no_more.clone();
        let measured = match &job.plan {
            LoopPlan::Open { .. } => {
                let bodies = prepare::open(job, &shared.window, worker).map_err(setup)?;
                open::work(Arc::clone(&context), pacer, bodies, no_more).await
            }
            LoopPlan::Closed(plan) => {
                let bodies = prepare::closed(job, worker).map_err(setup)?;
                let share = (worker, job.workers.max(1));
                closed::work(Arc::clone(&context), pacer, bodies, *plan, no_more, share).await
            }
        };
        Ok(WorkerEnd {
            measured,
            connections: context.counters.read(),
            loop_lag: lag.await.unwrap_or_else(|_| new_histogram()),
            clock_source: context.transport.clock_source(),
        })
    })
}

/// How late this worker's loop turns, on a timer of its own, until arrivals end.
async fn loop_lag(pacer: Pacer, shared: Shared) -> Histogram<u64> {
    let mut lags = new_histogram();
    let mut due = shared.clock.now() + LOOP_LAG_PERIOD;
    loop {
        tokio::select! {
            biased;
            () = shared.no_more.cancelled() => return lags,
            () = pacer.sleep_until(due) => {}
        }
        lags.saturating_record(shared.clock.now().saturating_sub(due).max(1));
        due = shared.clock.now() + LOOP_LAG_PERIOD;
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
