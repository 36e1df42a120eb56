//! Whether the client had the processor when it needed it: CPU time, throttling, run-queue delay, memory.
//!
//! [`watch`] reads a few small files when the window begins, once a second, and when it ends, on a
//! thread of its own. Workers do nothing for it and share nothing with it. No file is read whose cost grows with
//! the number of connections: `/proc/net/tcp` takes a processor for 6 ms when it is empty and for 130 ms at 38,000
//! sockets, in which a worker on the same core could not run.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cgroup::{Cgroups, Throttling};
use super::procfs::{self, MachineTicks, SchedStat, Sockets};
use crate::units::{NANOS_PER_SEC, Nanos};

/// Time between two samples of [`watch`].
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
    /// Most descriptors open at a sample.
    pub descriptors_peak: Option<u64>,
    /// How many the process may open.
    pub descriptors_limit: Option<u64>,
    /// Local ports that connections to one address may take.
    pub ports_range: Option<u64>,
    /// No more ports than this were taken at any sample: sockets of the process and connections in `TIME_WAIT`.
    pub ports_used_bound: Option<u64>,
    /// What TCP did in the network namespace.
    pub tcp: Option<TcpFacts>,
    /// The watched threads, in the order given.
    pub threads: Vec<ThreadFacts>,
}

impl HostFacts {
    /// Share of the window in which the busiest watched thread ran.
    pub fn busiest_thread_share(&self) -> Option<f64> {
        self.threads.iter().filter_map(|thread| thread.busy_share).max_by(f64::total_cmp)
    }
}

/// What TCP counted over the window in the network namespace of the process: other processes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpFacts {
    /// Segments sent, those sent again apart.
    pub segments_sent: u64,
    /// Segments sent again.
    pub segments_retransmitted: u64,
    /// Retransmission timeouts: 200 ms and more of silence each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<u64>,
    /// Handshakes that had to be sent again: 1 s of waiting each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_retransmitted: Option<u64>,
    /// Segments sent again that were lost again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_retransmits: Option<u64>,
    /// Connections that a full accept queue of this namespace (a server on this machine) turned away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_overflows: Option<u64>,
    /// Most connections in `TIME_WAIT` at a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_wait_peak: Option<u64>,
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
    /// The same in the second in which it waited most.
    pub peak_run_queue_share: Option<f64>,
    /// Mean wait before it got a processor, nanoseconds. The kernel keeps no distribution.
    pub run_queue_mean_ns: Option<f64>,
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
    descriptors: Option<u64>,
    sockets: Option<Sockets>,
    /// Read at the ends of the window alone.
    tcp: Option<TcpFacts>,
    /// `None` for a thread that has ended or cannot be read.
    threads: Vec<Option<ThreadCounters>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ThreadCounters {
    run_ns: Option<u64>,
    wait_ns: Option<u64>,
    turns: Option<u64>,
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
    /// Whether the size of `/proc/self/fd` is the number of descriptors (Linux 6.2): 7 µs, however many are open.
    descriptors_sized: bool,
}

/// Where a sample lies. What costs more is read at the ends alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Within,
    End,
}

impl Reader {
    fn new(root: &Path, threads: Vec<WatchedThread>) -> Self {
        let ticks_per_s = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
        let ticks_per_s = ticks_per_s.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks > 0);
        Self {
            root: root.to_owned(),
            ticks_per_s: ticks_per_s.unwrap_or(100),
            threads,
            cgroups: Cgroups::find(root),
            // A fixture's folder has a size as well, but it is not that of `/proc`.
            descriptors_sized: root == Path::new("/") && fs::metadata("/proc/self/fd").is_ok_and(|fd| fd.len() > 0),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn ticks_ns(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(NANOS_PER_SEC / self.ticks_per_s)
    }

    fn descriptors(&self, place: Place) -> Option<u64> {
        let folder = self.root.join("proc/self/fd");
        if self.descriptors_sized {
            return Some(fs::metadata(folder).ok()?.len());
        }
        // Counting one by one takes 20 ms at 19,000, too much for every second.
        (place == Place::End).then(|| fs::read_dir(folder).ok())?.map(|open| open.count() as u64)
    }

    fn sockets(&self) -> Option<Sockets> {
        let v4 = procfs::parse_sockstat(&self.text("proc/net/sockstat")?)?;
        let v6 = self.text("proc/net/sockstat6").and_then(|text| procfs::parse_sockstat(&text)).unwrap_or_default();
        Some(Sockets { inuse: v4.inuse + v6.inuse, time_wait: v4.time_wait })
    }

    /// Counters since the system began; the peak is not among them.
    fn tcp(&self) -> Option<TcpFacts> {
        let (snmp, netstat) = (self.text("proc/net/snmp")?, self.text("proc/net/netstat").unwrap_or_default());
        let basic = |name: &str| procfs::parse_net_counter(&snmp, "Tcp", name);
        let extended = |name: &str| procfs::parse_net_counter(&netstat, "TcpExt", name);
        Some(TcpFacts {
            segments_sent: basic("OutSegs")?,
            segments_retransmitted: basic("RetransSegs")?,
            timeouts: extended("TCPTimeouts"),
            syn_retransmitted: extended("TCPSynRetrans"),
            lost_retransmits: extended("TCPLostRetransmit"),
            listen_overflows: extended("ListenOverflows"),
            time_wait_peak: None,
        })
    }

    fn descriptors_limit(&self) -> Option<u64> {
        procfs::parse_open_files_limit(&self.text("proc/self/limits")?).map(|(soft, _)| soft)
    }

    fn snapshot(&self, place: Place) -> Snapshot {
        let stat = self.text("proc/self/stat").and_then(|text| procfs::parse_stat(&text));
        let status = self.text("proc/self/status").map(|text| procfs::parse_status(&text)).unwrap_or_default();
        Snapshot {
            cpu_ns: stat.map(|ticks| self.ticks_ns(ticks.total())),
            machine: self.text("proc/stat").and_then(|text| procfs::parse_machine_stat(&text)),
            throttling: self.cgroups.throttling(),
            rss_bytes: status.rss_bytes,
            peak_rss_bytes: status.peak_rss_bytes,
            descriptors: self.descriptors(place),
            sockets: self.sockets(),
            tcp: (place == Place::End).then(|| self.tcp()).flatten(),
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
            turns: scheduler.map(|counts| counts.turns),
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
        let state = Accumulator::begin(reader.snapshot(Place::End));
        Self { reader, began: Instant::now(), state }
    }

    /// Takes a sample; once a second is enough for the peaks.
    pub fn sample(&mut self) {
        let at = self.elapsed();
        self.state.add(at, self.reader.snapshot(Place::Within));
    }

    /// Ends the window now. Call it before the watched threads end: what a thread did between the last
    /// sample and its end is not seen.
    pub fn finish(mut self) -> HostFacts {
        let at = self.elapsed();
        self.state.add(at, self.reader.snapshot(Place::End));
        self.state.facts(&self.reader)
    }

    fn elapsed(&self) -> Nanos {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Begins the window now and ends it with `over`, with a sample each second. It reads files in between: run it on a
/// thread of its own.
pub async fn watch(threads: Vec<WatchedThread>, over: impl Future<Output = ()>) -> HostFacts {
    let mut sampler = HostSampler::start(threads);
    tokio::pin!(over);
    loop {
        tokio::select! {
            biased;
            () = &mut over => return sampler.finish(),
            () = tokio::time::sleep(PERIOD) => sampler.sample(),
        }
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
    descriptors_peak: Option<u64>,
    ports_used_bound: Option<u64>,
    time_wait_peak: Option<u64>,
    threads: Vec<ThreadSeen>,
}

/// The last counters seen of a thread, and its worst intervals so far.
#[derive(Clone, Copy, Debug, Default)]
struct ThreadSeen {
    counters: Option<ThreadCounters>,
    busy: Option<f64>,
    waiting: Option<f64>,
}

/// Shorter intervals would turn one tick of rounding into a peak.
const SHORTEST_PEAK_INTERVAL: Nanos = NANOS_PER_SEC / 2;

impl Accumulator {
    fn begin(first: Snapshot) -> Self {
        let threads =
            first.threads.iter().map(|counters| ThreadSeen { counters: *counters, ..ThreadSeen::default() }).collect();
        let mut state = Self {
            rss_seen: None,
            descriptors_peak: None,
            ports_used_bound: None,
            time_wait_peak: None,
            last: first.clone(),
            first,
            last_at: 0,
            threads,
        };
        state.peaks();
        state
    }

    fn add(&mut self, at: Nanos, snapshot: Snapshot) {
        let interval = at.saturating_sub(self.last_at);
        for (seen, now) in self.threads.iter_mut().zip(&snapshot.threads) {
            let (Some(before), Some(now)) = (seen.counters.as_mut(), now) else { continue };
            if interval >= SHORTEST_PEAK_INTERVAL {
                let over = |part: Option<u64>| part.map(|part| busy_share(part, interval));
                seen.busy = larger(seen.busy, over(delta(before.run_ns, now.run_ns)));
                seen.waiting = larger(seen.waiting, over(delta(before.wait_ns, now.wait_ns)));
            }
            *before = *now;
        }
        self.last_at = at;
        self.last = snapshot;
        self.peaks();
    }

    /// Takes the last sample into what is kept of all.
    fn peaks(&mut self) {
        let now = &self.last;
        self.rss_seen = self.rss_seen.max(now.rss_bytes);
        self.descriptors_peak = self.descriptors_peak.max(now.descriptors);
        self.time_wait_peak = self.time_wait_peak.max(now.sockets.map(|sockets| sockets.time_wait));
        // A port is held by a socket of this process, or by a connection that closed within the last minute.
        let used = now.sockets.map(|sockets| {
            let open = now.descriptors.map_or(sockets.inuse, |descriptors| descriptors.min(sockets.inuse));
            open + sockets.time_wait
        });
        self.ports_used_bound = self.ports_used_bound.max(used);
    }

    fn facts(&self, reader: &Reader) -> HostFacts {
        let window = self.last_at;
        let window_s = seconds(window);
        let usable_cpus = usable_cpus(&reader.root, &reader.cgroups);
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
            descriptors_peak: self.descriptors_peak,
            descriptors_limit: reader.descriptors_limit(),
            ports_range: ports_range(&reader.root),
            ports_used_bound: self.ports_used_bound,
            tcp: self.tcp(),
            threads: reader
                .threads
                .iter()
                .enumerate()
                .map(|(index, thread)| self.thread(index, &thread.name, window))
                .collect(),
        }
    }

    fn tcp(&self) -> Option<TcpFacts> {
        let (first, last) = self.first.tcp.zip(self.last.tcp)?;
        Some(TcpFacts {
            segments_sent: last.segments_sent.checked_sub(first.segments_sent)?,
            segments_retransmitted: last.segments_retransmitted.checked_sub(first.segments_retransmitted)?,
            timeouts: delta(first.timeouts, last.timeouts),
            syn_retransmitted: delta(first.syn_retransmitted, last.syn_retransmitted),
            lost_retransmits: delta(first.lost_retransmits, last.lost_retransmits),
            listen_overflows: delta(first.listen_overflows, last.listen_overflows),
            time_wait_peak: self.time_wait_peak,
        })
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
        let seen = self.threads.get(index).copied().unwrap_or_default();
        let Some(last) = seen.counters else { return ThreadFacts { name, ..ThreadFacts::default() } };
        let first = first.unwrap_or_default();
        let waited = delta(first.wait_ns, last.wait_ns);
        let run_queue_share = waited.map(|wait| busy_share(wait, window));
        let turns = delta(first.turns, last.turns).filter(|turns| *turns > 0);
        let busy_share = delta(first.run_ns, last.run_ns).map(|run| busy_share(run, window));
        ThreadFacts {
            name,
            busy_share,
            // A window below a second has no interval of its own.
            peak_busy_share: larger(seen.busy, busy_share),
            run_queue_share,
            peak_run_queue_share: larger(seen.waiting, run_queue_share),
            run_queue_mean_ns: waited.zip(turns).map(|(wait, turns)| wait as f64 / turns as f64),
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

/// Local ports that connections to one address may take.
pub(in crate::observe) fn ports_range(root: &Path) -> Option<u64> {
    let folder = root.join("proc/sys/net/ipv4");
    let range = fs::read_to_string(folder.join("ip_local_port_range")).ok()?;
    let reserved = fs::read_to_string(folder.join("ip_local_reserved_ports")).unwrap_or_default();
    procfs::parse_port_range(&range, &reserved)
}

/// A thread is never busier than all the time: what is above that is the moment between reading the clock and reading
/// the thread, or one tick of 10 ms.
fn busy_share(run: Nanos, whole: Nanos) -> f64 {
    share(run, whole).min(1.0)
}

/// Processors that the process may use: what it is bound to, cut by the tightest quota.
pub(in crate::observe) fn usable_cpus(root: &Path, cgroups: &Cgroups) -> Option<f64> {
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let allowed = procfs::parse_status(&status).allowed_cpus.map(f64::from);
    let allowed = allowed.or_else(|| thread::available_parallelism().ok().map(|cpus| cpus.get() as f64));
    match (allowed, cgroups.cpu_quota()) {
        (Some(allowed), Some(quota)) => Some(allowed.min(quota)),
        (allowed, quota) => allowed.or(quota),
    }
}

#[cfg(test)]
pub(in crate::observe) mod fixture;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod quota_tests;
