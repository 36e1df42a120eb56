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

/// Connections of the client over the whole point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// Opened.
    pub opened: u64,
    /// Requests that went over one already open.
    pub reused: u64,
    /// Requests sent again because a kept connection had died before it took a byte.
    pub resent: u64,
    /// Attempts that failed.
    pub failed: u64,
}
