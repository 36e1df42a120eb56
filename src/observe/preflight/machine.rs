//! What this machine has.

use std::fs;
use std::path::Path;

use crate::observe::cgroup::Cgroups;
use crate::observe::host::{ports_range, usable_cpus};
use crate::observe::procfs;

/// What a machine has that a plan needs. What the system does not tell is absent, and not checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Threads that will send requests.
    pub workers: u16,
    /// Processors that the process may use: affinity, cut by the CPU quota.
    pub usable_cpus: Option<f64>,
    /// Files that the process may open once the soft limit is raised.
    pub descriptors: Option<u64>,
    /// Local ports for connections to one address.
    pub ports: Option<u64>,
    /// Memory that the process may take: what is available, cut by the control group's limit.
    pub memory_bytes: Option<u64>,
    /// Connections that a listener on this machine can have waiting, at most.
    pub accept_queue: Option<u64>,
    /// Frequency governor of each processor.
    pub governors: Vec<String>,
    /// Share of the machine's time since it started that the hypervisor gave to other guests.
    pub steal_share: Option<f64>,
    /// The kernel's source of time.
    pub clock: Option<String>,
    /// Whether received data can carry the kernel's time.
    pub kernel_stamps: bool,
}

impl Machine {
    /// This machine. Raises the soft limit of open files to the hard one, as `bench apply` does.
    pub fn here(workers: u16) -> Self {
        let machine = Self::read(Path::new("/"), workers);
        let descriptors = raise_descriptor_limit().or(machine.descriptors);
        Self { descriptors, kernel_stamps: cfg!(target_os = "linux"), ..machine }
    }

    /// The machine whose files are below `root`.
    pub(super) fn read(root: &Path, workers: u16) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let number = |path: &str| text(path)?.trim().parse::<u64>().ok();
        let cgroups = Cgroups::find(root);
        let available = text("proc/meminfo").and_then(|text| procfs::parse_memory_available(&text));
        let queues = ["proc/sys/net/core/somaxconn", "proc/sys/net/ipv4/tcp_max_syn_backlog"].map(number);
        Self {
            workers,
            usable_cpus: usable_cpus(root, &cgroups),
            descriptors: text("proc/self/limits")
                .and_then(|text| procfs::parse_open_files_limit(&text))
                .map(|(_, hard)| hard),
            ports: ports_range(root),
            memory_bytes: available.into_iter().chain(cgroups.memory_limit_bytes()).min(),
            accept_queue: queues.into_iter().flatten().min(),
            governors: governors(root),
            steal_share: text("proc/stat")
                .and_then(|text| procfs::parse_machine_stat(&text))
                .filter(|ticks| ticks.total > 0)
                .map(|ticks| ticks.steal as f64 / ticks.total as f64),
            clock: text("sys/devices/system/clocksource/clocksource0/current_clocksource")
                .map(|text| text.trim().to_owned()),
            kernel_stamps: true,
        }
    }
}

/// One a processor that has a frequency to govern; virtual machines have none.
fn governors(root: &Path) -> Vec<String> {
    let Ok(cpus) = fs::read_dir(root.join("sys/devices/system/cpu")) else { return Vec::new() };
    let governor = |cpu: fs::DirEntry| fs::read_to_string(cpu.path().join("cpufreq/scaling_governor")).ok();
    cpus.flatten().filter_map(governor).map(|text| text.trim().to_owned()).collect()
}

/// Raises the soft limit of open files to the hard one and returns it.
#[cfg(unix)]
pub fn raise_descriptor_limit() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return Some(soft);
    }
    Some(hard)
}

/// Raises the soft limit of open files to the hard one and returns it.
#[cfg(not(unix))]
pub fn raise_descriptor_limit() -> Option<u64> {
    None
}
