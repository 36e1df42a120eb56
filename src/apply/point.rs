//! One point: engine, collector, host sampler; ends with a measurement and a file of records.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::ApplyError;
use super::mask::Mask;
use crate::engine::clock::PointClock;
use crate::engine::{self, EngineStats, Job, LoopPlan, Running, Stop, Timelines, TransportFactory, WindowView};
use crate::measure::correctness;
use crate::measure::timeline::{Outcome, Phase, Timeline};
use crate::measure::{Accumulator, ClientFacts, EngineFacts, MeasureSpec, PointMeasurement};
use crate::observe::host::{self, HostFacts, ThreadFacts, WatchedThread};
use crate::protocol::reason;
use crate::report::model::{ClockSource, Connections, Descriptors, Ports, Reads, TcpReport, WorkerReport};
use crate::report::requests::RequestsWriter;
use crate::transport::{self, Direct, Stamping};
use crate::units::Nanos;

/// So many timelines at once mean that more will come soon.
const BUSY: usize = 4;
/// How long they may gather then. The queue holds what 400,000 requests a second leave in this time.
const PAUSE: Duration = Duration::from_millis(10);

/// A point under way or done, as its observer sees it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that ended, warm-up and drain included.
    pub ended: AtomicU64,
    /// Those that did not complete, except for those that the end of the window cut.
    pub failed: AtomicU64,
}

/// What a point left behind.
#[derive(Debug)]
pub struct Measured {
    /// The numbers.
    pub measurement: PointMeasurement,
    /// One line a measured request, gzip.
    pub records: PathBuf,
    /// Whether a signal ended it early.
    pub interrupted: bool,
}

/// A point that has started.
#[derive(Debug)]
pub struct Started {
    /// Counts so far.
    pub counts: Arc<Counts>,
    /// Requests in flight.
    pub in_flight: Arc<AtomicU64>,
    done: oneshot::Receiver<Result<Measured, ApplyError>>,
}

impl Started {
    /// Waits for the end. Cancel safe.
    ///
    /// # Errors
    /// When the engine failed or a record could not be written.
    pub async fn wait(&mut self) -> Result<Measured, ApplyError> {
        (&mut self.done).await.unwrap_or_else(|_| Err(ApplyError::Internal("the collector thread ended early".into())))
    }
}

/// Connections of the workers, the same for every point and for a calibration.
pub fn transports(stamping: Stamping) -> TransportFactory {
    Arc::new(move || Ok(Box::new(Direct::new(stamping))))
}

/// What the workload knows of its prompts at the end of a point.
#[derive(Clone, Copy, Debug, Default)]
pub struct PromptFacts {
    /// Prompts that repeat unasked.
    pub repeated: u64,
    /// Measured requests of classes whose prompts an earlier point of the run sent to the same server.
    pub of_earlier_points: u64,
    /// Prompts that were tokenised once more, and those of them whose count was another.
    pub recounts: (u64, u64),
}

/// Asks the workload about its prompts, from the measured requests of each class.
pub type CountRepeats = Box<dyn FnOnce(&[u64]) -> PromptFacts + Send>;

/// Starts a point. Everything runs on threads of its own; nothing here blocks the caller.
///
/// # Errors
/// When a thread or the record file cannot be created.
pub fn start(
    job: Job,
    spec: MeasureSpec,
    repeats: CountRepeats,
    mask: Mask,
    records: PathBuf,
    stop: &Stop,
    grace: Duration,
) -> Result<Started, ApplyError> {
    let file = File::create(&records)
        .map_err(|error| ApplyError::Spool { path: records.display().to_string(), reason: error.to_string() })?;
    let window_start = match &job.plan {
        LoopPlan::Open { window, .. } => window.warmup_end_ns,
        LoopPlan::Closed(plan) => plan.rule.warmup_end,
    };
    let mut running = engine::start(job, stop.clone(), grace)?;
    let in_flight = Arc::clone(&running.in_flight);
    let counts = Arc::new(Counts::default());
    let (ended, done) = oneshot::channel();
    let collector = Collector {
        accumulator: Accumulator::new(spec),
        writer: RequestsWriter::new(BufWriter::new(file)).pausing(thread::yield_now),
        counts: Arc::clone(&counts),
        not_started: 0,
        without_descriptor: 0,
        without_port: 0,
        mask,
        window_open: true,
        failure: None,
    };
    thread::Builder::new()
        .name("bench-collect".to_owned())
        .spawn(move || {
            engine::priority::behind_workers();
            // Closed without a clock when a worker could not be set up; the supervisor says why.
            let clock = running.began.recv().ok();
            let host = clock.and_then(|clock| watch_host(&running, clock, window_start));
            let collected = collector.collect(&mut running.timelines, &running.window);
            let result = finish(collected, running, clock, host, repeats, records);
            // Nobody waits when the whole apply was abandoned.
            let _ = ended.send(result);
        })
        .map_err(|error| ApplyError::Internal(error.to_string()))?;
    Ok(Started { counts, in_flight, done })
}

/// Folds timelines as they come: memory does not grow with their number.
struct Collector {
    accumulator: Accumulator,
    writer: RequestsWriter<BufWriter<File>>,
    counts: Arc<Counts>,
    not_started: u64,
    without_descriptor: u64,
    without_port: u64,
    mask: Mask,
    window_open: bool,
    failure: Option<std::io::Error>,
}

impl Collector {
    /// Folds all timelines of a point. A thread that gets only what nobody else uses does it as long as it keeps up; on a busy
    /// machine that can be nothing at all, so this one takes over when much has piled up and when the workers are done.
    fn collect(mut self, timelines: &mut Timelines, window: &WindowView) -> std::io::Result<Self> {
        loop {
            let aside = thread::scope(|scope| {
                let aside = thread::Builder::new().name("bench-collect".to_owned()).spawn_scoped(scope, || {
                    engine::priority::after_workers();
                    self.fold(timelines, window, Timelines::is_pressed)
                });
                aside.map(|aside| aside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            });
            // Without a thread for it, it is done here.
            let over = aside.unwrap_or(false) || self.fold(timelines, window, Timelines::is_empty);
            if over {
                break;
            }
        }
        match self.failure {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }

    /// Folds timelines until there are no more, which is true, or until `enough` of them.
    fn fold(&mut self, timelines: &mut Timelines, window: &WindowView, enough: fn(&Timelines) -> bool) -> bool {
        while let Some(first) = timelines.blocking_recv() {
            let mut next = Some(first);
            let mut taken = 0;
            while let Some(timeline) = next {
                self.take(timeline, window);
                if enough(timelines) {
                    return false;
                }
                // A worker on the same core goes first. Its wake-up alone need not take the core from this thread.
                thread::yield_now();
                taken += 1;
                next = timelines.try_recv();
            }
            // Waiting for each single timeline would cost every worker a system call to wake this thread, and the core two
            // switches.
            if taken >= BUSY {
                thread::sleep(PAUSE);
            }
        }
        true
    }

    fn take(&mut self, mut timeline: Timeline, window: &WindowView) {
        self.mask.timeline(&mut timeline);
        correctness::check(&mut timeline);
        if let (true, Some(end)) = (self.window_open, window.end()) {
            self.accumulator.close_window(end);
            self.window_open = false;
        }
        self.count(&timeline);
        if let Some(record) = self.accumulator.record(timeline)
            && self.failure.is_none()
        {
            // What cannot be written must not stop the reading: workers would wait and the measurement would change. It is
            // told at the end.
            self.failure = self.writer.write(&record).err();
        }
    }

    fn count(&mut self, timeline: &Timeline) {
        self.counts.ended.fetch_add(1, Ordering::Relaxed);
        let reason = timeline.answer.reason.as_ref().map(|reason| reason.code.as_str());
        if timeline.answer.outcome != Outcome::Completed && reason != Some(reason::WINDOW_OVER) {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        if timeline.phase == Phase::Measure {
            self.not_started += u64::from(reason.is_some_and(reason::is_clients_own));
            self.without_descriptor += u64::from(reason == Some(reason::NO_DESCRIPTORS));
            self.without_port += u64::from(reason == Some(reason::NO_PORTS));
        }
    }
}

fn finish(
    collected: std::io::Result<Collector>,
    running: Running,
    clock: Option<PointClock>,
    host: Option<HostWindow>,
    repeats: CountRepeats,
    records: PathBuf,
) -> Result<Measured, ApplyError> {
    let zero_at = clock.map_or_else(Timestamp::now, wall_clock_of_zero);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| ApplyError::Internal(error.to_string()))?;
    let stats = runtime.block_on(running.finished.wait())?;
    let host = host.and_then(HostWindow::end).unwrap_or_default();
    let spool =
        |error: std::io::Error| ApplyError::Spool { path: records.display().to_string(), reason: error.to_string() };
    let collector = collected.map_err(spool)?;
    collector.writer.finish().map_err(spool)?;
    let mut facts = facts(&stats, &host, zero_at, repeats(&stats.planned_by_class));
    facts.client.without_descriptor = collector.without_descriptor;
    facts.client.without_port = collector.without_port;
    facts.not_started_by_client = collector.not_started;
    Ok(Measured { measurement: collector.accumulator.finish(facts), records, interrupted: stats.interrupted })
}

fn facts(stats: &EngineStats, host: &HostFacts, zero_at: Timestamp, prompts: PromptFacts) -> EngineFacts {
    let mut planned = stats.planned_by_class.clone();
    // What the schedule planned and no worker saw come due breaks the sum, as it must.
    let lost = stats.planned.saturating_sub(planned.iter().sum());
    if let Some(first) = planned.first_mut() {
        *first += lost;
    }
    EngineFacts {
        window_start_ns: stats.window_start,
        window_end_ns: stats.window_end,
        window_started_at: zero_at.checked_add(Duration::from_nanos(stats.window_start)).unwrap_or(zero_at),
        planned,
        not_started_by_client: 0,
        clock: match stats.clock_source {
            transport::ClockSource::Kernel => ClockSource::Kernel,
            transport::ClockSource::User => ClockSource::User,
            transport::ClockSource::HttpClient => ClockSource::HttpClient,
        },
        client: ClientFacts {
            loop_lag: stats.loop_lag.clone(),
            stamp_lag: stats.stamps.lag.clone(),
            reads: Reads {
                total: stats.stamps.reads,
                kernel: stats.stamps.kernel,
                missing: stats.stamps.missing,
                discarded: stats.stamps.discarded,
            },
            observed_s: (host.window_s > 0.0).then_some(host.window_s),
            usable_cpus: host.usable_cpus,
            cpu_share: host.cpu_share,
            busiest_core_share: host.busiest_thread_share(),
            workers: host.threads.iter().map(worker).collect(),
            throttled_share: host.throttled_share,
            throttled_periods: host.throttled_periods,
            steal_share: host.steal_share,
            peak_rss_bytes: host.peak_rss_bytes,
            rss_begin_bytes: host.rss_begin_bytes,
            rss_end_bytes: host.rss_end_bytes,
            descriptors: (host.descriptors_peak.zip(host.descriptors_limit))
                .map(|(open_peak, limit)| Descriptors { open_peak, limit }),
            ports: (host.ports_range.zip(host.ports_used_bound)).map(|(range, used_bound)| Ports { range, used_bound }),
            tcp: host.tcp.map(|tcp| TcpReport {
                segments_sent: tcp.segments_sent,
                segments_retransmitted: tcp.segments_retransmitted,
                timeouts: tcp.timeouts,
                syn_retransmitted: tcp.syn_retransmitted,
                lost_retransmits: tcp.lost_retransmits,
                listen_overflows: tcp.listen_overflows,
                time_wait_peak: tcp.time_wait_peak,
            }),
            without_descriptor: 0,
            without_port: 0,
            connections: Connections {
                opened: stats.connections.opened,
                reused: stats.connections.reused,
                resent: stats.connections.resent,
                failed: stats.connections.failed,
                backed_off: stats.connections.backed_off,
            },
            prompts_repeated: prompts.repeated,
            prompts_of_earlier_points: prompts.of_earlier_points,
            prompts_recounted: prompts.recounts.0,
            prompts_miscounted: prompts.recounts.1,
        },
    }
}

fn worker(thread: &ThreadFacts) -> WorkerReport {
    WorkerReport {
        name: thread.name.clone(),
        cpu_share: thread.busy_share,
        peak_cpu_share: thread.peak_busy_share,
        run_queue_share: thread.run_queue_share,
        peak_run_queue_share: thread.peak_run_queue_share,
        run_queue_mean_ms: thread.run_queue_mean_ns.map(|wait| wait / 1e6),
        voluntary_switches: thread.voluntary_switches,
        involuntary_switches: thread.involuntary_switches,
    }
}

/// Wall-clock time at which the point's clock was 0.
fn wall_clock_of_zero(clock: PointClock) -> Timestamp {
    let now = Timestamp::now();
    now.checked_sub(Duration::from_nanos(clock.now())).unwrap_or(now)
}

/// Samples the host from the start of the window to its end, on a thread of its own.
struct HostWindow {
    stop: oneshot::Sender<()>,
    sampler: thread::JoinHandle<Option<HostFacts>>,
}

impl HostWindow {
    fn end(self) -> Option<HostFacts> {
        drop(self.stop);
        self.sampler.join().ok().flatten()
    }
}

fn watch_host(running: &Running, clock: PointClock, window_start: Nanos) -> Option<HostWindow> {
    let (stop, stopped) = oneshot::channel::<()>();
    let window = running.window.clone();
    let threads = Arc::clone(&running.worker_threads);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    let sample = async move {
        let sleep_until = async |at: Nanos| tokio::time::sleep(Duration::from_nanos(clock.until(at))).await;
        // However the point ends, the sender is dropped.
        let stopped = stopped.map(|_| ()).shared();
        tokio::select! {
            biased;
            () = stopped.clone() => return None,
            () = sleep_until(window_start) => {}
        }
        let ids = threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let watched = ids
            .into_iter()
            .enumerate()
            .map(|(worker, id)| WatchedThread { name: format!("worker-{worker}"), tid: id })
            .collect();
        // Ends with the window while the workers still live: a thread that is gone tells nothing.
        let over = async {
            tokio::select! {
                biased;
                () = stopped => {}
                end = window.known_end() => sleep_until(end).await,
            }
        };
        Some(host::watch(watched, over).await)
    };
    let sampler = thread::Builder::new().name("bench-host".to_owned()).spawn(move || runtime.block_on(sample));
    sampler.ok().map(|sampler| HostWindow { stop, sampler })
}
