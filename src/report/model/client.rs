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
    /// CPU time of the process over the window and its cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Busy share of the busiest worker's core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest_core_share: Option<f64>,
    /// Share of the window in which the CPU quota held the process back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_share: Option<f64>,
    /// Largest resident set of the process in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
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
    /// Prompts sent more than once without being asked to.
    #[serde(default)]
    pub prompts_repeated: u64,
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
}
