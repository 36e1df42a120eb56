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
    /// Times it got a processor.
    pub turns: u64,
}

/// `/proc/self/task/TID/schedstat`.
pub fn parse_schedstat(text: &str) -> Option<SchedStat> {
    let mut fields = text.split_ascii_whitespace();
    let run_ns = fields.next()?.parse().ok()?;
    let wait_ns = fields.next()?.parse().ok()?;
    let turns = fields.next()?.parse().ok()?;
    Some(SchedStat { run_ns, wait_ns, turns })
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

/// `/proc/meminfo`: memory that a program may still take without swapping, bytes.
pub fn parse_memory_available(text: &str) -> Option<u64> {
    text.lines().find_map(|line| parse_kib(line.strip_prefix("MemAvailable:")?.trim()))
}

/// TCP sockets of a network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// In use, both ends of a connection to the same machine, listeners too.
    pub inuse: u64,
    /// In `TIME_WAIT`: closed, but the port is held for a minute.
    pub time_wait: u64,
}

/// `/proc/net/sockstat`, and `/proc/net/sockstat6`, whose `TIME_WAIT` sockets the former counts.
pub fn parse_sockstat(text: &str) -> Option<Sockets> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: ").or_else(|| line.strip_prefix("TCP6: ")))?;
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let value = |name: &str| fields.chunks(2).find(|pair| pair[0] == name)?.get(1)?.parse().ok();
    Some(Sockets { inuse: value("inuse")?, time_wait: value("tw").unwrap_or(0) })
}

/// A counter of `/proc/net/snmp` or `/proc/net/netstat`: a line of names, then one of values with the same prefix.
pub fn parse_net_counter(text: &str, prefix: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix)?.strip_prefix(':'));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_ascii_whitespace().position(|found| found == name)?;
    values.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// `/proc/self/limits`: how many files the process may open, now and at most.
pub fn parse_open_files_limit(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut limits = line.split_ascii_whitespace().map(|limit| match limit {
        "unlimited" => Some(u64::MAX),
        limit => limit.parse().ok(),
    });
    Some((limits.next()??, limits.next()??))
}

/// `ip_local_port_range` without `ip_local_reserved_ports`: local ports that connections may take.
pub fn parse_port_range(range: &str, reserved: &str) -> Option<u64> {
    let mut bounds = range.split_ascii_whitespace().map(str::parse::<u64>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    let span = last.checked_sub(first)?.checked_add(1)?;
    let taken: u64 = reserved
        .trim()
        .split(',')
        .filter_map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            (to.min(last) + 1).checked_sub(from.max(first))
        })
        .sum();
    Some(span.saturating_sub(taken))
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
        let expected = SchedStat { run_ns: 1_870_911, wait_ns: 1_247_071, turns: 3 };
        assert_eq!(parse_schedstat("1870911 1247071 3\n"), Some(expected));
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
    fn sockets_of_both_families() {
        let v4 = "sockets: used 213\nTCP: inuse 202 orphan 0 tw 188 alloc 202 mem 0\nUDP: inuse 1 mem 0\n";
        assert_eq!(parse_sockstat(v4), Some(Sockets { inuse: 202, time_wait: 188 }));
        assert_eq!(parse_sockstat("TCP6: inuse 7\nUDP6: inuse 0\n"), Some(Sockets { inuse: 7, time_wait: 0 }));
        assert_eq!(parse_sockstat("sockets: used 213\nTCP: alloc\n"), None);
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: RtoMin OutSegs RetransSegs\nTcp: 200 7185702 2505\n";
        assert_eq!(parse_net_counter(text, "Tcp", "RetransSegs"), Some(2505));
        assert_eq!(parse_net_counter(text, "Tcp", "Nothing"), None);
        assert_eq!(parse_net_counter("Tcp: A\n", "Tcp", "A"), None);
    }

    #[test]
    fn limits_of_open_files() {
        let text = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024     524288     files     \n";
        assert_eq!(parse_open_files_limit(text), Some((1024, 524_288)));
        assert_eq!(parse_open_files_limit("Max open files  10 unlimited files\n"), Some((10, u64::MAX)));
        assert_eq!(parse_open_files_limit(""), None);
    }

    #[test]
    fn port_ranges() {
        assert_eq!(parse_port_range("32768\t60999\n", "\n"), Some(28_232));
        // 40000, and 60998 … 60999 of 60998 … 61002; 8080 lies outside.
        assert_eq!(parse_port_range("32768\t60999\n", "8080,40000,60998-61002\n"), Some(28_229));
        assert_eq!(parse_port_range("nonsense", ""), None);
    }

    #[test]
    fn memory() {
        assert_eq!(parse_memory_available("MemTotal: 9 kB\nMemAvailable:   2 kB\n"), Some(2048));
        assert_eq!(parse_meminfo("MemTotal:       24689456 kB\nMemFree: 1 kB\n"), Some(25_282_002_944));
    }
}
