//! CPU quota, throttling and memory limit of control groups, version 1 and 2.
//!
//! A container sees its own group as `/` (cgroup namespace), or its path on the host while only that path
//! is mounted; a limit may stand on any group between the process and the mount. Both are handled: the
//! groups from the process up to the mount point are all read, and the tightest limit counts.

use std::fs;
use std::path::{Path, PathBuf};

/// The control groups that bound the processor time and memory of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    cpu: Option<Hierarchy>,
    memory: Option<Hierarchy>,
}

/// A mounted hierarchy and the groups the process is in, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    groups: Vec<PathBuf>,
}

/// The two incompatible layouts of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What one group's `cpu.stat` counts since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Time its threads were held back, summed over processors, ns.
    pub throttled_ns: u64,
    /// Enforcement periods in which that happened.
    pub periods_throttled: u64,
}

impl Cgroups {
    /// Finds the groups of the calling process. `root` is `/`, or a fixture.
    pub fn find(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mounts = parse_mountinfo(&read("proc/self/mountinfo"));
        let memberships = parse_membership(&read("proc/self/cgroup"));
        let locate = |controller| Hierarchy::find(root, &mounts, &memberships, controller);
        Self { cpu: locate("cpu"), memory: locate("memory") }
    }

    /// Processors' worth of time the tightest quota allows; `None`: no quota.
    pub fn cpu_quota(&self) -> Option<f64> {
        let hierarchy = self.cpu.as_ref()?;
        let quotas = hierarchy.groups.iter().filter_map(|group| match hierarchy.version {
            Version::V1 => parse_quota_v1(&text(group, "cpu.cfs_quota_us")?, &text(group, "cpu.cfs_period_us")?),
            Version::V2 => parse_quota_v2(&text(group, "cpu.max")?),
        });
        quotas.min_by(f64::total_cmp)
    }

    /// The tightest memory limit, bytes; `None`: no limit.
    pub fn memory_limit_bytes(&self) -> Option<u64> {
        let hierarchy = self.memory.as_ref()?;
        let file = match hierarchy.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        let limits = hierarchy.groups.iter().filter_map(|group| parse_memory_limit(&text(group, file)?));
        limits.min()
    }

    /// Throttling of each group, innermost first; empty when there is no CPU controller.
    pub fn throttling(&self) -> Vec<Throttling> {
        let Some(hierarchy) = &self.cpu else { return Vec::new() };
        let groups = hierarchy.groups.iter();
        groups.map(|group| text(group, "cpu.stat").map(|stat| parse_cpu_stat(&stat)).unwrap_or_default()).collect()
    }
}

impl Hierarchy {
    fn find(root: &Path, mounts: &[Mount], memberships: &[Membership], controller: &str) -> Option<Self> {
        let v1 = mounts.iter().find(|mount| mount.controllers.iter().any(|name| name == controller));
        let (version, mount, path) = match v1 {
            Some(mount) => {
                let member = memberships.iter().find(|member| member.controllers.iter().any(|name| name == controller));
                (Version::V1, mount, &member?.path)
            }
            None => {
                let mount = mounts.iter().find(|mount| mount.unified)?;
                (Version::V2, mount, &memberships.iter().find(|member| member.controllers.is_empty())?.path)
            }
        };
        let top = root.join(mount.point.trim_start_matches('/'));
        Some(Self { version, groups: groups_upwards(&top, below_mount(path, &mount.root)) })
    }
}

/// The part of a group's path that lies below what is mounted.
fn below_mount<'a>(path: &'a str, mount_root: &str) -> &'a str {
    let inside = path.strip_prefix(mount_root.trim_end_matches('/'));
    inside.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path).trim_matches('/')
}

/// `top/relative` and every folder above it up to `top`, as far as they exist. A path that the mount does not
/// show (`/../x` of a foreign namespace, for example) leaves `top` alone.
fn groups_upwards(top: &Path, relative: &str) -> Vec<PathBuf> {
    let foreign = relative.split('/').any(|part| part == "..");
    let inner = if foreign { top.to_owned() } else { top.join(relative) };
    inner
        .ancestors()
        .take_while(|path| path.starts_with(top))
        .filter(|path| path.is_dir())
        .map(Path::to_owned)
        .collect()
}

fn text(group: &Path, file: &str) -> Option<String> {
    fs::read_to_string(group.join(file)).ok()
}

/// A line of `/proc/self/mountinfo` that mounts control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    point: String,
    controllers: Vec<String>,
    unified: bool,
}

fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER_OPTIONS`
fn parse_mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ');
    let root = unescape(front.nth(3)?);
    let point = unescape(front.next()?);
    let mut back = back.split(' ');
    let unified = match back.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let controllers = if unified { Vec::new() } else { back.nth(1)?.split(',').map(str::to_owned).collect() };
    Some(Mount { root, point, controllers, unified })
}

/// The kernel writes blanks of paths as `\040`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// A line of `/proc/self/cgroup`; version 2 has no controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    controllers: Vec<String>,
    path: String,
}

fn parse_membership(text: &str) -> Vec<Membership> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Membership { controllers, path: fields.next()?.to_owned() })
    });
    lines.collect()
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us` as processors; −1 is no quota.
pub fn parse_quota_v1(quota: &str, period: &str) -> Option<f64> {
    let quota: i64 = quota.trim().parse().ok()?;
    let period: i64 = period.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// `cpu.max` as processors; `max` is no quota.
pub fn parse_quota_v2(cpu_max: &str) -> Option<f64> {
    let (quota, period) = cpu_max.trim().split_once(' ')?;
    parse_quota_v1(quota, period)
}

/// `memory.max` or `memory.limit_in_bytes`; both spellings of "no limit" are none.
pub fn parse_memory_limit(limit: &str) -> Option<u64> {
    // Version 1 says "no limit" as the largest multiple of the page size that fits 63 bits.
    const UNLIMITED_V1: u64 = i64::MAX as u64 - 0xffff;
    limit.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED_V1)
}

/// `cpu.stat` of either version.
pub fn parse_cpu_stat(text: &str) -> Throttling {
    let mut stat = Throttling::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let value: u64 = value.trim().parse().unwrap_or(0);
        match key {
            "throttled_time" => stat.throttled_ns = value,
            "throttled_usec" => stat.throttled_ns = value.saturating_mul(1000),
            "nr_throttled" => stat.periods_throttled = value,
            _ => {}
        }
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::host::fixture::Tree;

    const V1_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const V2_MOUNTS: &str = "24 20 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_1_with_quota() {
        let tree = Tree::new(&[
            ("proc/self/mountinfo", V1_MOUNTS),
            ("proc/self/cgroup", "4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "104857600\n"),
        ]);
        let groups = Cgroups::find(tree.root());
        assert_eq!(groups.cpu_quota(), Some(0.5));
        assert_eq!(groups.memory_limit_bytes(), Some(104_857_600));
        let own = Throttling { throttled_ns: 1_500_000_000, periods_throttled: 3 };
        assert_eq!(groups.throttling(), [own, Throttling::default()]);
    }

    #[test]
    fn version_1_of_a_container_without_a_cgroup_namespace() {
        // Only the container's group is mounted, though the process is listed under its path on the host.
        let mounts = "32 31 0:29 /kubepods/pod1/c1 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        let tree = Tree::new(&[
            ("proc/self/mountinfo", mounts),
            ("proc/self/cgroup", "2:cpu:/kubepods/pod1/c1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
            ("sys/fs/cgroup/cpu/cpu.stat", "nr_throttled 1\nthrottled_time 7\n"),
        ]);
        let groups = Cgroups::find(tree.root());
        assert_eq!(groups.cpu_quota(), Some(2.0));
        assert_eq!(groups.throttling(), [Throttling { throttled_ns: 7, periods_throttled: 1 }]);
    }

    #[test]
    fn version_2_takes_the_tightest_group() {
        let tree = Tree::new(&[
            ("proc/self/mountinfo", V2_MOUNTS),
            ("proc/self/cgroup", "0::/pod/container\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
            ("sys/fs/cgroup/pod/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 5\nnr_periods 4\nnr_throttled 2\nthrottled_usec 250\n"),
            ("sys/fs/cgroup/pod/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/container/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pod/container/cpu.stat", "usage_usec 5\n"),
            ("sys/fs/cgroup/pod/container/memory.max", "1048576\n"),
        ]);
        let groups = Cgroups::find(tree.root());
        assert_eq!(groups.cpu_quota(), Some(1.5));
        assert_eq!(groups.memory_limit_bytes(), Some(1_048_576));
        let pod = Throttling { throttled_ns: 250_000, periods_throttled: 2 };
        assert_eq!(groups.throttling(), [Throttling::default(), pod, Throttling::default()]);
    }

    #[test]
    fn a_machine_without_control_groups_has_no_limits() {
        let tree = Tree::new(&[("proc/self/mountinfo", "23 1 0:1 / / rw - ext4 /dev/vda rw\n")]);
        let groups = Cgroups::find(tree.root());
        assert_eq!((groups.cpu_quota(), groups.memory_limit_bytes()), (None, None));
        assert_eq!(groups.throttling(), []);
    }

    #[test]
    fn a_group_outside_the_namespace_falls_back_to_the_mount() {
        let tree = Tree::new(&[
            ("proc/self/mountinfo", V2_MOUNTS),
            ("proc/self/cgroup", "0::/../../other\n"),
            ("sys/fs/cgroup/cpu.max", "300000 100000\n"),
        ]);
        assert_eq!(Cgroups::find(tree.root()).cpu_quota(), Some(3.0));
    }

    #[test]
    fn no_limit_in_both_spellings() {
        assert_eq!(parse_memory_limit("max"), None);
        assert_eq!(parse_memory_limit("9223372036854771712"), None);
        assert_eq!(parse_quota_v1("-1", "100000"), None);
        assert_eq!(parse_quota_v2("max 100000"), None);
    }
}
