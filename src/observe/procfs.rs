//! Parsers of `/proc`: pure functions of a file's text.
//!
//! Each returns `None` for text it does not understand: a kernel without the file, or a sandbox that
//! imitates `/proc` in part, makes a fact absent, never wrong.

/// Processor time of a thread or process, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTicks {
    /// Time in user mode.
    pub user: u64,
    /// Time in the kernel on its behalf.
    pub system: u64,
}

impl CpuTicks {
    /// User and kernel time together.
    pub fn total(self) -> u64 {
        self.user + self.system
    }
}

/// `/proc/self/stat` or `/proc/self/task/TID/stat`: processor time. The process file includes threads that ended.
pub fn parse_stat(text: &str) -> Option<CpuTicks> {
    // The name in parentheses may hold blanks and parentheses itself; the last `)` ends it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // State is field 3 of the manual page; utime and stime are 14 and 15.
    let user = fields.nth(14 - 3)?.parse().ok()?;
    let system = fields.next()?.parse().ok()?;
    Some(CpuTicks { user, system })
}

/// What the scheduler counted for one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedStat {
    /// Time on a processor, ns.
    pub run_ns: u64,
    /// Time ready to run, but waiting for a processor, ns.
    pub wait_ns: u64,
}

/// `/proc/self/task/TID/schedstat`.
pub fn parse_schedstat(text: &str) -> Option<SchedStat> {
    let mut fields = text.split_ascii_whitespace();
    let run_ns = fields.next()?.parse().ok()?;
    let wait_ns = fields.next()?.parse().ok()?;
    Some(SchedStat { run_ns, wait_ns })
}

/// What `/proc/self/status` or `/proc/self/task/TID/status` says; each line may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Largest resident set since the process began (`VmHWM`), bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Resident set now (`VmRSS`), bytes.
    pub rss_bytes: Option<u64>,
    /// Processors the thread may run on.
    pub allowed_cpus: Option<u32>,
    /// Times the thread gave up the processor.
    pub voluntary_switches: Option<u64>,
    /// Times the processor was taken from it.
    pub involuntary_switches: Option<u64>,
}

/// `/proc/self/status`, and that of a thread.
pub fn parse_status(text: &str) -> Status {
    let mut status = Status::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key {
            "VmHWM" => status.peak_rss_bytes = parse_kib(value),
            "VmRSS" => status.rss_bytes = parse_kib(value),
            "Cpus_allowed_list" => status.allowed_cpus = count_cpu_list(value),
            "voluntary_ctxt_switches" => status.voluntary_switches = value.parse().ok(),
            "nonvoluntary_ctxt_switches" => status.involuntary_switches = value.parse().ok(),
            _ => {}
        }
    }
    status
}

/// `123 kB` as bytes.
fn parse_kib(value: &str) -> Option<u64> {
    let number = value.strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// Number of processors in a list such as `0-3,8`.
pub fn count_cpu_list(list: &str) -> Option<u32> {
    let mut count = 0_u32;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: u32 = first.parse().ok()?;
        let last: u32 = last.parse().ok()?;
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// Time of all processors of the machine, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineTicks {
    /// All time, idle included.
    pub total: u64,
    /// Time the hypervisor gave to somebody else.
    pub steal: u64,
}

/// `/proc/stat`.
pub fn parse_machine_stat(text: &str) -> Option<MachineTicks> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest times after them are part of user and nice.
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let steal = *ticks.get(7)?;
    Some(MachineTicks { total: ticks.iter().sum(), steal })
}

/// `/proc/cpuinfo`: the model's name and how many processors the machine has.
pub fn parse_cpuinfo(text: &str) -> (Option<String>, Option<u32>) {
    let values = |wanted: &'static str| {
        text.lines().filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == wanted).then(|| value.trim().to_owned())
        })
    };
    let count = u32::try_from(values("processor").count()).ok().filter(|count| *count > 0);
    let model = values("model name").next().or_else(|| {
        // 64-bit Arm gives numbers only.
        let implementer = values("CPU implementer").next()?;
        let part = values("CPU part").next()?;
        Some(format!("Arm implementer {implementer} part {part}"))
    });
    (model, count)
}

/// `/proc/meminfo`: memory of the machine, bytes.
pub fn parse_meminfo(text: &str) -> Option<u64> {
    text.lines().find_map(|line| parse_kib(line.strip_prefix("MemTotal:")?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_a_name_with_parentheses() {
        // Fields 14 and 15 (utime, stime) are 250 and 75.
        let text = "42 (a ) R 1) S 1 42 42 0 -1 4194304 100 0 0 0 250 75 0 0 20 0 8 0 106969 2998272 389\n";
        assert_eq!(parse_stat(text), Some(CpuTicks { user: 250, system: 75 }));
        assert_eq!(parse_stat(text).map(CpuTicks::total), Some(325));
        for broken in ["", "42 (x", "42 (x) S 1 2", "42 (x) S 1 42 42 0 -1 4194304 100 0 0 0 x 75"] {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn schedstat() {
        assert_eq!(parse_schedstat("1870911 1247071 3\n"), Some(SchedStat { run_ns: 1_870_911, wait_ns: 1_247_071 }));
        assert_eq!(parse_schedstat("1870911"), None);
    }

    #[test]
    fn status_takes_what_is_there() {
        let text = "Name:\tbench\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nCpus_allowed_list:\t0-1,4\n\
                    voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let expected = Status {
            peak_rss_bytes: Some(2_097_152),
            rss_bytes: Some(1_048_576),
            allowed_cpus: Some(3),
            voluntary_switches: Some(12),
            involuntary_switches: Some(3),
        };
        assert_eq!(parse_status(text), expected);
        assert_eq!(parse_status("Name:\tbench\nVmHWM:\tmany kB\n"), Status::default());
    }

    #[test]
    fn cpu_lists() {
        for (list, count) in [("0", Some(1)), ("0-3,8", Some(5)), ("0-127\n", Some(128)), ("3-1", None), ("", None)] {
            assert_eq!(count_cpu_list(list), count, "{list:?}");
        }
    }

    #[test]
    fn machine_ticks_leave_guest_time_out() {
        // 10 + 0 + 20 + 300 + 5 + 0 + 1 + 14 = 350; guest 9 is already in user.
        let text = "cpu  10 0 20 300 5 0 1 14 9 0\ncpu0 1 2 3 4 5 6 7 8\n";
        assert_eq!(parse_machine_stat(text), Some(MachineTicks { total: 350, steal: 14 }));
        assert_eq!(parse_machine_stat("cpu  10 0 20 300\n"), None);
    }

    #[test]
    fn cpuinfo_of_x86_and_arm() {
        let x86 = "processor\t: 0\nmodel name\t: Example CPU @ 2.0GHz\n\nprocessor\t: 1\nmodel name\t: Example CPU @ 2.0GHz\n";
        assert_eq!(parse_cpuinfo(x86), (Some("Example CPU @ 2.0GHz".to_owned()), Some(2)));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";
        assert_eq!(parse_cpuinfo(arm), (Some("Arm implementer 0x41 part 0xd40".to_owned()), Some(1)));
        assert_eq!(parse_cpuinfo(""), (None, None));
    }

    #[test]
    fn memory() {
        assert_eq!(parse_meminfo("MemTotal:       24689456 kB\nMemFree: 1 kB\n"), Some(25_282_002_944));
    }
}
