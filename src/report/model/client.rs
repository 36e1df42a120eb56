//! What the client says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MetricReport;

/// The client about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientReport {
    /// Dispatched − intended of every measured request that a worker took up, completed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch_lag_ms: Option<MetricReport>,
    /// How late the workers' timers fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_lag_ms: Option<MetricReport>,
    /// How long received bytes waited for the client: user time minus kernel time of each read that has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp_lag_ms: Option<MetricReport>,
    /// Reads of received data over the whole point, by the origin of their stamps.
    #[serde(default)]
    pub reads: Reads,
    /// Time over which what follows was sampled, seconds: the window, or what there was of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_s: Option<f64>,
    /// Cores that the process may use: its affinity, cut by the CPU quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_cpus: Option<f64>,
    /// CPU time of the process over the window and its cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Busy share of the busiest worker's core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest_core_share: Option<f64>,
    /// Each worker thread; empty where the system does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerReport>,
    /// Share of the window in which the CPU quota held the process back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_share: Option<f64>,
    /// Enforcement periods in which the CPU quota held the process back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_periods: Option<u64>,
    /// Share of the time of the machine's processors that the hypervisor gave to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_share: Option<f64>,
    /// Largest resident set of the process in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Resident set when the window began, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_begin_bytes: Option<u64>,
    /// Resident set when the window ended, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_end_bytes: Option<u64>,
    /// Open descriptors of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<Descriptors>,
    /// Local ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Ports>,
    /// TCP of the network namespace, other processes in it included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpReport>,
    /// Connections.
    #[serde(default)]
    pub connections: Connections,
    /// Content events of measured requests, completed or not.
    #[serde(default)]
    pub stamps: u64,
    /// Those whose stamp is that of a coalesced read.
    #[serde(default)]
    pub blurred_stamps: u64,
    /// Measured requests that were not started through the client's fault.
    #[serde(default)]
    pub not_started: u64,
    /// Those of them that got no connection because the process could open no more descriptors.
    #[serde(default)]
    pub without_descriptor: u64,
    /// Those of them that got no connection because no local port was free.
    #[serde(default)]
    pub without_port: u64,
    /// Prompts sent more than once without being asked to.
    #[serde(default)]
    pub prompts_repeated: u64,
    /// Measured requests of classes that had sent the same prompts to the same model of the same server in an earlier point
    /// of the run: all of them, however many the earlier point sent.
    #[serde(default)]
    pub prompts_of_earlier_points: u64,
    /// Prompts that were tokenised once more, whole, one in a hundred of those made.
    #[serde(default)]
    pub prompts_recounted: u64,
    /// Those of them whose count was another than the one reported.
    #[serde(default)]
    pub prompts_miscounted: u64,
    /// How near the point came to what this machine can measure; absent without a calibration that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headroom: Option<Headroom>,
}

/// The load of a point beside the largest that this machine measured within a bound (`bench calibrate`). Loads are those
/// of the busiest second of the window, each by itself. A limit is absent where the calibration did not find one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Headroom {
    /// Largest p99 error of TTFT and ITL, in milliseconds, of the loads within the limits.
    pub bound_ms: f64,
    /// Content events per second.
    pub events_per_s: f64,
    /// Their limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_limit_per_s: Option<f64>,
    /// Requests in flight.
    pub streams: f64,
    /// Their limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams_limit: Option<f64>,
    /// Requests sent per second.
    pub requests_per_s: f64,
    /// Their limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_limit_per_s: Option<f64>,
    /// The largest of the three loads as a share of its limit; above 1 the point is suspect.
    pub used_share: f64,
    /// When the calibration was made, RFC 3339.
    pub calibrated_at: String,
    /// Whether it was made on this machine with this version; one that was not is not used.
    pub host_matches: bool,
}

/// Reads of received data, by the origin of their stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reads {
    /// Reads that brought bytes.
    pub total: u64,
    /// Stamped by the kernel.
    pub kernel: u64,
    /// Stamped in user space, because the kernel gave no stamp although it was asked.
    pub missing: u64,
    /// Stamped in user space, because the wall clock jumped and the kernel's stamp could not be trusted.
    pub discarded: u64,
}

/// A worker thread over the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReport {
    /// `worker-0`, `worker-1`, …
    pub name: String,
    /// Share of the window in which it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// The same in its busiest second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_cpu_share: Option<f64>,
    /// Share of the window in which it could have run, but waited for a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_queue_share: Option<f64>,
    /// The same in the second in which it waited most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_run_queue_share: Option<f64>,
    /// Mean wait for a processor each time it wanted one, milliseconds. The kernel keeps no distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_queue_mean_ms: Option<f64>,
    /// Times it gave up the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// Times the processor was taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
}

/// Open descriptors of the process: connections, files, timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Descriptors {
    /// Most at a sample.
    pub open_peak: u64,
    /// How many the process may open.
    pub limit: u64,
}

/// Local ports for connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ports {
    /// How many there are for connections to one address of a server.
    pub range: u64,
    /// No more than this were in use at any sample: open descriptors (at most the TCP sockets of the network
    /// namespace) and connections of the namespace in `TIME_WAIT`, to whatever server.
    pub used_bound: u64,
}

/// What TCP counted over the window in the network namespace of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpReport {
    /// Segments sent, without those sent again.
    pub segments_sent: u64,
    /// Segments sent again.
    pub segments_retransmitted: u64,
    /// Retransmission timeouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<u64>,
    /// Handshakes sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_retransmitted: Option<u64>,
    /// Segments sent again that were lost again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_retransmits: Option<u64>,
    /// Connections that a full accept queue of the namespace turned away: a server on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_overflows: Option<u64>,
    /// Most connections in `TIME_WAIT` at a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_wait_peak: Option<u64>,
}

/// Connections of the client over the whole point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// Opened, those before the clock of the point started included.
    pub opened: u64,
    /// Requests that went over one already open.
    pub reused: u64,
    /// Requests sent again because a kept connection had died before it took a byte.
    pub resent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Turns of a closed loop that came due later because the request before them had found no connection.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backed_off: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
