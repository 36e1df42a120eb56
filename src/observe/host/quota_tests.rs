//! The real kernel under a real CPU quota. Needs a control group that this process may make: root on a plain machine.
//! Elsewhere the test says that it was skipped.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::time::{ClockId, clock_gettime};

use super::*;

/// Control group of the child, and the file its facts go to.
const GROUP: &str = "BENCH_TEST_GROUP";
const FACTS: &str = "BENCH_TEST_FACTS";

/// A group with a fiftieth of a processor, which any machine gives a process however busy it is. Removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let name = format!("bench-test-{}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/cpu").join(&name);
        if fs::create_dir(&v1).is_ok() {
            let group = Self(v1);
            return fs::write(group.0.join("cpu.cfs_quota_us"), "2000").is_ok().then_some(group);
        }
        let v2 = Path::new("/sys/fs/cgroup").join(&name);
        fs::create_dir(&v2).ok()?;
        let group = Self(v2);
        fs::write(group.0.join("cpu.max"), "2000 100000").is_ok().then_some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs `child` in a process of its own, which joins `group` first. `None` when it may not.
fn facts_of_child(group: Option<&Group>) -> Option<HostFacts> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "observe::host::quota_tests::child", "--ignored"]).env(FACTS, file.path());
    if let Some(group) = group {
        command.env(GROUP, &group.0);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = fs::read_to_string(file.path()).unwrap();
    (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(file) = std::env::var_os(FACTS) else { return };
    if let Some(group) = std::env::var_os(GROUP) {
        let Ok(()) = fs::write(Path::new(&group).join("cgroup.procs"), "0") else { return };
    }
    let sampler = HostSampler::start(vec![WatchedThread::current("busy")]);
    let cpu_ms =
        || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(|time| Duration::from(time).as_millis()).unwrap();
    let begin = cpu_ms();
    while cpu_ms() < begin + 20 {
        std::hint::black_box(crate::seed::sha256_hex(&[0; 4096]));
    }
    fs::write(file, serde_json::to_string(&sampler.finish()).unwrap()).unwrap();
}

#[test]
fn a_cpu_quota_is_seen_and_its_absence_too() {
    let Some(group) = Group::new() else { return eprintln!("skipped: no control group can be made here") };
    // 20 ms of work at 2 ms every 100 ms is held back several times: the scheduler looks every few milliseconds and
    // takes what was too much from the next periods.
    let bounded = facts_of_child(Some(&group));
    let Some(bounded) = bounded else { return eprintln!("skipped: no process may join the control group") };
    assert_eq!(bounded.usable_cpus, Some(0.02), "{bounded:?}");
    assert!(bounded.throttled_periods.is_some_and(|periods| periods >= 3), "{bounded:?}");
    assert!(bounded.throttled_share.is_some_and(|share| share > 0.3), "{bounded:?}");
    assert!(bounded.cpu_share.is_some_and(|share| share > 0.3), "the process used what it had: {bounded:?}");

    let free = facts_of_child(None).unwrap();
    assert!(free.usable_cpus.is_some_and(|cpus| cpus > 0.1), "{free:?}");
    assert!(free.threads[0].busy_share.is_some_and(|share| share > 0.0), "{free:?}");
    // The test itself may run under a quota; it is not as tight as the one above.
    assert!(free.throttled_share.unwrap_or(0.0) < bounded.throttled_share.unwrap_or(0.0), "{free:?}");
}
