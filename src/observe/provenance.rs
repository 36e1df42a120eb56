//! Where a report comes from: build, host, limits, container, command line, servers.
//!
//! No field holds a secret or an absolute path.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroups;
use super::server::ServerFacts;
use super::{host, procfs, redact};
use crate::seed::GENERATOR_VERSION;

/// Where a report comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The program that measured.
    pub bench: BuildFacts,
    /// The machine it ran on.
    pub host: MachineFacts,
    /// Container image, as `BENCH_IMAGE` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_image: Option<String>,
    /// Command line; secrets are masked, absolute paths reduced to their file name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What the servers say about themselves, by backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, ServerFacts>,
}

/// The program that measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildFacts {
    /// Version of `bench`.
    pub version: String,
    /// Commit it was built from, if the build said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What it was built for, such as `x86_64-linux-gnu`. The same seed gives the same requests within one target; between
    /// two, draws may differ in their last bit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Version of the code that turns seeds into requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_version: Option<u32>,
    /// Whether the build had assertions on and optimisation off: its numbers are for development.
    pub debug_build: bool,
}

impl BuildFacts {
    /// This program. The commit is the variable `BENCH_COMMIT` at build time.
    pub fn current() -> Self {
        let commit = option_env!("BENCH_COMMIT").map(str::trim).filter(|commit| !commit.is_empty());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.map(str::to_owned),
            target: Some(target()),
            generator_version: Some(GENERATOR_VERSION),
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// Architecture, system and C library: what decides the mathematical functions.
fn target() -> String {
    let library = if cfg!(target_env = "gnu") {
        "-gnu"
    } else if cfg!(target_env = "musl") {
        "-musl"
    } else if cfg!(target_env = "msvc") {
        "-msvc"
    } else {
        ""
    };
    format!("{}-{}{library}", std::env::consts::ARCH, std::env::consts::OS)
}

/// The machine, and what of it this process may use. What the system does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineFacts {
    /// Host name; in a cluster the name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Operating system, such as `linux`.
    pub os: String,
    /// Architecture, such as `x86_64`.
    pub arch: String,
    /// Release of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Model of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// Processors of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Processors this process may use: affinity, cut by the quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_cpus: Option<f64>,
    /// CPU quota of the control group, in processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<f64>,
    /// Memory of the machine, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory limit of the control group, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
}

impl MachineFacts {
    /// This machine.
    pub fn current() -> Self {
        let mut facts = Self::read(Path::new("/"));
        if let Ok(system) = nix::sys::utsname::uname() {
            let text = |value: &std::ffi::OsStr| value.to_str().filter(|text| !text.is_empty()).map(str::to_owned);
            facts.name = facts.name.or_else(|| text(system.nodename()));
            facts.kernel = facts.kernel.or_else(|| text(system.release()));
        }
        facts
    }

    /// The machine whose files are below `root`.
    fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let line = |path: &str| Some(text(path).trim().to_owned()).filter(|line| !line.is_empty());
        let cgroups = Cgroups::find(root);
        let (cpu_model, cpus) = procfs::parse_cpuinfo(&text("proc/cpuinfo"));
        Self {
            name: line("proc/sys/kernel/hostname"),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            kernel: line("proc/sys/kernel/osrelease"),
            cpu_model,
            cpus,
            usable_cpus: host::usable_cpus(root, &cgroups),
            cpu_quota: cgroups.cpu_quota(),
            memory_bytes: procfs::parse_meminfo(&text("proc/meminfo")),
            memory_limit_bytes: cgroups.memory_limit_bytes(),
        }
    }
}

/// What the caller read of its own process: command line and environment are read once, at the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessInputs {
    /// Command line, program first, as given: it is redacted here.
    pub args: Vec<String>,
    /// `BENCH_IMAGE`.
    pub container_image: Option<String>,
}

impl ProcessInputs {
    /// The calling process.
    pub fn current() -> Self {
        Self {
            args: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            container_image: std::env::var("BENCH_IMAGE").ok(),
        }
    }
}

impl Provenance {
    /// Everything known before the first request; the caller adds `servers`.
    pub fn collect(process: ProcessInputs) -> Self {
        let ProcessInputs { args, container_image } = process;
        Self {
            bench: BuildFacts::current(),
            host: MachineFacts::current(),
            container_image: container_image
                .map(|image| redact::redact_text(image.trim()))
                .filter(|image| !image.is_empty()),
            command: redact::redact_args(args),
            servers: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::host::fixture::Tree;

    #[test]
    fn a_container_on_a_known_machine() {
        let tree = Tree::new(&[
            ("proc/self/mountinfo", "24 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/status", "Cpus_allowed_list:\t0-7\n"),
            ("sys/fs/cgroup/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/memory.max", "2147483648\n"),
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU\nprocessor\t: 1\n"),
            ("proc/meminfo", "MemTotal:       1024 kB\n"),
            ("proc/sys/kernel/hostname", "bench-nightly-29-abcde\n"),
            ("proc/sys/kernel/osrelease", "6.18.44\n"),
        ]);
        let expected = MachineFacts {
            name: Some("bench-nightly-29-abcde".into()),
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            kernel: Some("6.18.44".into()),
            cpu_model: Some("Example CPU".into()),
            cpus: Some(2),
            usable_cpus: Some(4.0),
            cpu_quota: Some(4.0),
            memory_bytes: Some(1_048_576),
            memory_limit_bytes: Some(2_147_483_648),
        };
        assert_eq!(MachineFacts::read(tree.root()), expected);
    }

    #[test]
    fn no_secret_and_no_absolute_path_reaches_the_report() {
        let args = [
            "/opt/bench",
            "apply",
            "/home/me/x.toml",
            "--set",
            "backends.a.url=http://u:CANARY@h/v1?key=CANARY",
            "--set=backends.a.headers.X-Y=CANARY",
            "--store",
            "/var/lib/reports",
        ];
        let process = ProcessInputs {
            args: args.map(str::to_owned).to_vec(),
            container_image: Some("https://u:CANARY@registry/bench@sha256:00\n".into()),
        };
        let mut provenance = Provenance::collect(process);
        provenance.host.name = None;
        let json = serde_json::to_string(&provenance).unwrap();
        assert!(!json.contains("CANARY"), "{json}");
        assert!(!json.contains("/home") && !json.contains("/var") && !json.contains("/opt"), "{json}");
        assert_eq!(provenance.command[..3], ["bench", "apply", "x.toml"]);
        let back: Provenance = serde_json::from_str(&json).unwrap();
        assert_eq!(back, provenance);
    }

    #[test]
    fn an_image_reference_stays_readable() {
        let image = "europe-docker.pkg.dev/project/bench/bench:0.1.0@sha256:00ff";
        let process = ProcessInputs { args: Vec::new(), container_image: Some(image.into()) };
        assert_eq!(Provenance::collect(process).container_image.as_deref(), Some(image));
    }
}
