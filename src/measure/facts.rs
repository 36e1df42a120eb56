//! What the engine and the host sampler know and no timeline tells.

use jiff::Timestamp;

use super::distribution::Distribution;
use super::metric::Unit;
use crate::report::model::{ClockSource, Connections, Descriptors, Ports, Reads, TcpReport, WorkerReport};
use crate::units::Nanos;

/// What the engine knows about a finished point.
#[derive(Clone, Debug)]
pub struct EngineFacts {
    /// Start of the measured window, in nanoseconds since the start of the point.
    pub window_start_ns: Nanos,
    /// Its end (exclusive). Requests with `start ≤ intended < end` are the measured ones.
    pub window_end_ns: Nanos,
    /// Wall-clock time of the start of the window.
    pub window_started_at: Timestamp,
    /// Measured planned intents by class, in the order of `MeasureSpec::classes`: open loop from the
    /// schedule, closed loop the intents that came due.
    pub planned: Vec<u64>,
    /// Measured requests that were not started through the client's own fault (a worker that fell
    /// behind, no file descriptor, no port). Those that `max_in_flight` dropped and those after a signal are
    /// not the client's fault.
    pub not_started_by_client: u64,
    /// Who took the stamps.
    pub clock: ClockSource,
    /// The client about itself.
    pub client: ClientFacts,
}

/// The client about itself. What could not be sampled is absent.
#[derive(Clone, Debug)]
pub struct ClientFacts {
    /// How late the workers' timers fired: nanoseconds, [`Unit::Time`].
    pub loop_lag: Distribution,
    /// User time minus kernel time of the reads that have both: nanoseconds, [`Unit::Time`].
    pub stamp_lag: Distribution,
    /// Reads of received data, by the origin of their stamps.
    pub reads: Reads,
    /// Time over which the host was sampled, seconds.
    pub observed_s: Option<f64>,
    /// Cores that the process may use.
    pub usable_cpus: Option<f64>,
    /// CPU time of the process over the window, as a share of the cores it may use.
    pub cpu_share: Option<f64>,
    /// CPU time of the busiest worker thread over the window.
    pub busiest_core_share: Option<f64>,
    /// Each worker thread over the window.
    pub workers: Vec<WorkerReport>,
    /// Share of the window in which the CPU quota held the process back.
    pub throttled_share: Option<f64>,
    /// Enforcement periods in which it did.
    pub throttled_periods: Option<u64>,
    /// Share of the machine's time that the hypervisor gave to somebody else.
    pub steal_share: Option<f64>,
    /// Largest resident set in bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Resident set when the window began.
    pub rss_begin_bytes: Option<u64>,
    /// Resident set when it ended.
    pub rss_end_bytes: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<Descriptors>,
    /// Local ports.
    pub ports: Option<Ports>,
    /// TCP of the network namespace.
    pub tcp: Option<TcpReport>,
    /// Measured requests that got no connection because no descriptor was free.
    pub without_descriptor: u64,
    /// Measured requests that got no connection because no local port was free.
    pub without_port: u64,
    /// Connections over the whole point.
    pub connections: Connections,
    /// Prompts sent more than once without being asked to, warm-up included.
    pub prompts_repeated: u64,
    /// Measured requests of classes that had sent the same prompts to the same model of the same server in an earlier point
    /// of the run: all of them, however many the earlier point sent.
    pub prompts_of_earlier_points: u64,
    /// Prompts that were tokenised once more, one in a hundred.
    pub prompts_recounted: u64,
    /// Those of them whose count was another than the one reported.
    pub prompts_miscounted: u64,
}

impl Default for ClientFacts {
    fn default() -> Self {
        Self {
            loop_lag: Distribution::new(Unit::Time),
            stamp_lag: Distribution::new(Unit::Time),
            reads: Reads::default(),
            observed_s: None,
            usable_cpus: None,
            cpu_share: None,
            busiest_core_share: None,
            workers: Vec::new(),
            throttled_share: None,
            throttled_periods: None,
            steal_share: None,
            peak_rss_bytes: None,
            rss_begin_bytes: None,
            rss_end_bytes: None,
            descriptors: None,
            ports: None,
            tcp: None,
            without_descriptor: 0,
            without_port: 0,
            connections: Connections::default(),
            prompts_repeated: 0,
            prompts_of_earlier_points: 0,
            prompts_recounted: 0,
            prompts_miscounted: 0,
        }
    }
}
