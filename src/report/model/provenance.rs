//! What produced the numbers: build, scenario, host, servers. No absolute path, no secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::provenance::{BuildFacts, MachineFacts};
use crate::observe::server::ServerFacts;

/// The scenario of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of the file, lower-case hex.
    pub digest: String,
    /// The path as it was given, relative to its repository; never absolute.
    pub path: String,
    /// State of the repository that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitState>,
}

/// State of a git work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitState {
    /// Commit, lower-case hex.
    pub commit: String,
    /// Whether files differ from that commit.
    pub dirty: bool,
}

/// The plan of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRef {
    /// Digest of the plan, lower-case hex.
    pub digest: String,
    /// Seed of the plan, lower-case hex.
    pub seed: String,
}

/// What produced the numbers. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bench: Option<BuildFacts>,
    /// The machine that made the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<MachineFacts>,
    /// Container image, as `BENCH_IMAGE` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_image: Option<String>,
    /// Command line; secrets are masked, absolute paths reduced to their file name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Worker threads that sent requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// When the run began, or was last continued, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When the last point ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// What the servers say about themselves, by backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, ServerFacts>,
}
