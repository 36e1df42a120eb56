//! Whether the client had the processor when it needed it: CPU time, throttling, run-queue delay, memory.
//!
//! A [`HostWatch`] reads a few small files when the window begins, once a second, and when it ends, on a
//! thread of its own. Workers do nothing for it and share nothing with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cgroup::{Cgroups, Throttling};
use super::procfs::{self, MachineTicks, SchedStat};
use crate::units::{NANOS_PER_SEC, Nanos};

/// Time between two samples of a [`HostWatch`].
const PERIOD: Duration = Duration::from_secs(1);

/// A worker thread to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedThread {
    /// Name in the facts.
    pub name: String,
    /// The kernel's thread id.
    pub tid: i32,
}

impl WatchedThread {
    /// The calling thread.
    pub fn current(name: impl Into<String>) -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let tid = nix::unistd::gettid().as_raw();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let tid = 0;
        Self { name: name.into(), tid }
    }
}

/// What the host did to the client over a window. What the system does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// Length of the observation in seconds.
    pub window_s: f64,
    /// Processors this process may use: affinity, cut by the CPU quota.
    pub usable_cpus: Option<f64>,
    /// Processor time of the process in the window, seconds.
    pub cpu_s: Option<f64>,
    /// Processor time over the time of all usable processors: 1 is a client that could not do more.
    pub cpu_share: Option<f64>,
    /// Time held back by a CPU quota over the window, at most 1. The kernel sums it over processors, so it
    /// overstates the pause of a client with several busy threads, and never understates it.
    pub throttled_share: Option<f64>,
    /// Enforcement periods in which the quota held the client back.
    pub throttled_periods: Option<u64>,
    /// Time of the machine's processors that the hypervisor gave to somebody else, as a share.
    pub steal_share: Option<f64>,
    /// Largest resident set of the process so far, bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Resident set when the window began, bytes.
    pub rss_begin_bytes: Option<u64>,
    /// Resident set when the window ended, bytes.
    pub rss_end_bytes: Option<u64>,
    /// The watched threads, in the order given.
    pub threads: Vec<ThreadFacts>,
}

impl HostFacts {
    /// Share of the window in which the busiest watched thread ran.
    pub fn busiest_thread_share(&self) -> Option<f64> {
        self.threads.iter().filter_map(|thread| thread.busy_share).max_by(f64::total_cmp)
    }
}

/// What one watched thread did over the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadFacts {
    /// Its name.
    pub name: String,
    /// Time on a processor over the window.
    pub busy_share: Option<f64>,
    /// The same in its busiest second.
    pub peak_busy_share: Option<f64>,
    /// Time ready to run but waiting for a processor, over the window.
    pub run_queue_share: Option<f64>,
    /// Times it gave up the processor.
    pub voluntary_switches: Option<u64>,
    /// Times the processor was taken from it.
    pub involuntary_switches: Option<u64>,
}

/// Cumulative counters at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
struct Snapshot {
    cpu_ns: Option<u64>,
    machine: Option<MachineTicks>,
    throttling: Vec<Throttling>,
    rss_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
    /// `None` for a thread that has ended or cannot be read.
    threads: Vec<Option<ThreadCounters>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ThreadCounters {
    run_ns: Option<u64>,
    wait_ns: Option<u64>,
    voluntary: Option<u64>,
    involuntary: Option<u64>,
}

/// Reads the counters. `root` is `/`, or a fixture.
#[derive(Clone, Debug)]
struct Reader {
    root: PathBuf,
    ticks_per_s: u64,
    threads: Vec<WatchedThread>,
    cgroups: Cgroups,
}

impl Reader {
    fn new(root: &Path, threads: Vec<WatchedThread>) -> Self {
        let ticks_per_s = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
        let ticks_per_s = ticks_per_s.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks > 0);
        Self { root: root.to_owned(), ticks_per_s: ticks_per_s.unwrap_or(100), threads, cgroups: Cgroups::find(root) }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn ticks_ns(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(NANOS_PER_SEC / self.ticks_per_s)
    }

    fn snapshot(&self) -> Snapshot {
        let stat = self.text("proc/self/stat").and_then(|text| procfs::parse_stat(&text));
        let status = self.text("proc/self/status").map(|text| procfs::parse_status(&text)).unwrap_or_default();
        Snapshot {
            cpu_ns: stat.map(|ticks| self.ticks_ns(ticks.total())),
            machine: self.text("proc/stat").and_then(|text| procfs::parse_machine_stat(&text)),
            throttling: self.cgroups.throttling(),
            rss_bytes: status.rss_bytes,
            peak_rss_bytes: status.peak_rss_bytes,
            threads: self.threads.iter().map(|thread| self.thread(thread.tid)).collect(),
        }
    }

    fn thread(&self, tid: i32) -> Option<ThreadCounters> {
        let folder = format!("proc/self/task/{tid}");
        let stat = procfs::parse_stat(&self.text(&format!("{folder}/stat"))?)?;
        let scheduler = self.text(&format!("{folder}/schedstat")).and_then(|text| procfs::parse_schedstat(&text));
        let status = self.text(&format!("{folder}/status")).map(|text| procfs::parse_status(&text)).unwrap_or_default();
        // Ticks are 10 ms, the scheduler's own count is exact; some sandboxes have ticks alone, or a file of zeros.
        let scheduler = scheduler.filter(|SchedStat { run_ns, .. }| *run_ns > 0 || stat.total() == 0);
        Some(ThreadCounters {
            run_ns: Some(scheduler.map_or_else(|| self.ticks_ns(stat.total()), |counts| counts.run_ns)),
            wait_ns: scheduler.map(|counts| counts.wait_ns),
            voluntary: status.voluntary_switches,
            involuntary: status.involuntary_switches,
        })
    }
}

/// Collects [`HostFacts`] from samples that its owner takes.
#[derive(Debug)]
pub struct HostSampler {
    reader: Reader,
    began: Instant,
    state: Accumulator,
}

impl HostSampler {
    /// Begins the window now, watching `threads`.
    pub fn start(threads: Vec<WatchedThread>) -> Self {
        let reader = Reader::new(Path::new("/"), threads);
        let state = Accumulator::begin(reader.snapshot());
        Self { reader, began: Instant::now(), state }
    }

    /// Takes a sample; once a second is enough for the peaks.
    pub fn sample(&mut self) {
        let at = self.elapsed();
        self.state.add(at, self.reader.snapshot());
    }

    /// Ends the window now.
    pub fn finish(mut self) -> HostFacts {
        self.sample();
        let usable = usable_cpus(&self.reader.root, &self.reader.cgroups);
        self.state.facts(&self.reader.threads, usable)
    }

    fn elapsed(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A [`HostSampler`] on a thread of its own.
#[derive(Debug)]
pub struct HostWatch {
    stop: mpsc::Sender<()>,
    sampler: thread::JoinHandle<HostFacts>,
}

impl HostWatch {
    /// Begins the window now, watching `threads`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn begin(threads: Vec<WatchedThread>) -> std::io::Result<Self> {
        // Started here, so that the window begins now and not when the thread first runs.
        let mut sampler = HostSampler::start(threads);
        let (stop, stopped) = mpsc::channel();
        let sampler = thread::Builder::new().name("bench-host".to_owned()).spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
                sampler.sample();
            }
            sampler.finish()
        })?;
        Ok(Self { stop, sampler })
    }

    /// Ends the window now. Call it before the watched threads end: what a thread did between the last
    /// sample and its end is not seen.
    pub fn end(self) -> HostFacts {
        drop(self.stop);
        self.sampler.join().unwrap_or_default()
    }
}

/// Turns snapshots into facts: pure.
#[derive(Debug)]
struct Accumulator {
    first: Snapshot,
    last_at: Nanos,
    last: Snapshot,
    /// Largest resident set among the samples, for systems that keep no peak.
    rss_seen: Option<u64>,
    /// The last counters seen of each thread, and its busiest interval so far.
    threads: Vec<(Option<ThreadCounters>, Option<f64>)>,
}

/// Shorter intervals would turn one tick of rounding into a peak.
const SHORTEST_PEAK_INTERVAL: Nanos = NANOS_PER_SEC / 2;

impl Accumulator {
    fn begin(first: Snapshot) -> Self {
        let threads = first.threads.iter().map(|counters| (*counters, None)).collect();
        Self { rss_seen: first.rss_bytes, last: first.clone(), first, last_at: 0, threads }
    }

    fn add(&mut self, at: Nanos, snapshot: Snapshot) {
        let interval = at.saturating_sub(self.last_at);
        for ((seen, peak), now) in self.threads.iter_mut().zip(&snapshot.threads) {
            let (Some(before), Some(now)) = (seen.as_mut(), now) else { continue };
            if interval >= SHORTEST_PEAK_INTERVAL {
                let busy = delta(before.run_ns, now.run_ns).map(|run| busy_share(run, interval));
                *peak = larger(*peak, busy);
            }
            *before = *now;
        }
        self.rss_seen = self.rss_seen.max(snapshot.rss_bytes);
        self.last_at = at;
        self.last = snapshot;
    }

    fn facts(&self, threads: &[WatchedThread], usable_cpus: Option<f64>) -> HostFacts {
        let window = self.last_at;
        let window_s = seconds(window);
        let cpu_s = delta(self.first.cpu_ns, self.last.cpu_ns).map(seconds);
        let (throttled_share, throttled_periods) = self.throttling(window);
        HostFacts {
            window_s,
            usable_cpus,
            cpu_s,
            cpu_share: cpu_s.zip(usable_cpus).filter(|_| window > 0).map(|(cpu, usable)| cpu / (window_s * usable)),
            throttled_share,
            throttled_periods,
            steal_share: self.steal_share(),
            peak_rss_bytes: self.last.peak_rss_bytes.or(self.rss_seen),
            rss_begin_bytes: self.first.rss_bytes,
            rss_end_bytes: self.last.rss_bytes,
            threads: threads
                .iter()
                .enumerate()
                .map(|(index, thread)| self.thread(index, &thread.name, window))
                .collect(),
        }
    }

    /// Groups nest: the one that held the process back most counts.
    fn throttling(&self, window: Nanos) -> (Option<f64>, Option<u64>) {
        let deltas = self.first.throttling.iter().zip(&self.last.throttling).map(|(first, last)| Throttling {
            throttled_ns: last.throttled_ns.saturating_sub(first.throttled_ns),
            periods_throttled: last.periods_throttled.saturating_sub(first.periods_throttled),
        });
        let Some(worst) = deltas.max_by_key(|group| group.throttled_ns) else { return (None, None) };
        (Some(share(worst.throttled_ns, window).min(1.0)), Some(worst.periods_throttled))
    }

    fn steal_share(&self) -> Option<f64> {
        let (first, last) = self.first.machine.zip(self.last.machine)?;
        let total = last.total.checked_sub(first.total).filter(|ticks| *ticks > 0)?;
        Some(last.steal.saturating_sub(first.steal) as f64 / total as f64)
    }

    fn thread(&self, index: usize, name: &str, window: Nanos) -> ThreadFacts {
        let name = name.to_owned();
        let first = self.first.threads.get(index).copied().flatten();
        let Some((Some(last), peak)) = self.threads.get(index) else {
            return ThreadFacts { name, ..ThreadFacts::default() };
        };
        let first = first.unwrap_or_default();
        let busy_share = delta(first.run_ns, last.run_ns).map(|run| busy_share(run, window));
        ThreadFacts {
            name,
            busy_share,
            // A window below a second has no interval of its own.
            peak_busy_share: larger(*peak, busy_share),
            run_queue_share: delta(first.wait_ns, last.wait_ns).map(|wait| share(wait, window)),
            voluntary_switches: delta(first.voluntary, last.voluntary),
            involuntary_switches: delta(first.involuntary, last.involuntary),
        }
    }
}

fn delta(first: Option<u64>, last: Option<u64>) -> Option<u64> {
    last?.checked_sub(first?)
}

fn larger(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    left.into_iter().chain(right).max_by(f64::total_cmp)
}

fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / NANOS_PER_SEC as f64
}

fn share(part: Nanos, whole: Nanos) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A thread is never busier than all the time: what is above that is the moment between reading the clock and reading
/// the thread, or one tick of 10 ms.
fn busy_share(run: Nanos, whole: Nanos) -> f64 {
    share(run, whole).min(1.0)
}

/// Processors that the process may use: what it is bound to, cut by the tightest quota.
pub(super) fn usable_cpus(root: &Path, cgroups: &Cgroups) -> Option<f64> {
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let allowed = procfs::parse_status(&status).allowed_cpus.map(f64::from);
    let allowed = allowed.or_else(|| thread::available_parallelism().ok().map(|cpus| cpus.get() as f64));
    match (allowed, cgroups.cpu_quota()) {
        (Some(allowed), Some(quota)) => Some(allowed.min(quota)),
        (allowed, quota) => allowed.or(quota),
    }
}

#[cfg(test)]
pub(super) mod fixture;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod quota_tests;
