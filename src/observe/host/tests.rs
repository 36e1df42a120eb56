use super::fixture::Tree;
use super::*;

const SECOND: Nanos = NANOS_PER_SEC;

fn stat(user: u64, system: u64) -> String {
    format!("7 (bench) S 1 7 7 0 -1 4194304 100 0 0 0 {user} {system} 0 0 20 0 8 0 106969 2998272 389\n")
}

fn netstat(timeouts: u64, syn: u64, overflows: u64) -> String {
    format!("TcpExt: ListenOverflows TCPTimeouts TCPSynRetrans\nTcpExt: {overflows} {timeouts} {syn}\n")
}

fn watched(name: &str, tid: i32) -> WatchedThread {
    WatchedThread { name: name.to_owned(), tid }
}

fn tree() -> Tree {
    Tree::new(&[
        ("proc/self/mountinfo", "24 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/status", "VmHWM:\t3000 kB\nVmRSS:\t2000 kB\nCpus_allowed_list:\t0-3\n"),
        ("proc/self/stat", &stat(100, 0)),
        ("proc/stat", "cpu  100 0 0 900 0 0 0 0 0 0\n"),
        ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
        ("sys/fs/cgroup/cpu.stat", "nr_periods 10\nnr_throttled 1\nthrottled_usec 50000\n"),
        ("proc/self/fd/0", ""),
        ("proc/self/fd/1", ""),
        ("proc/self/limits", "Max open files            1024                 4096                 files     \n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("proc/net/sockstat", "sockets: used 9\nTCP: inuse 5 orphan 0 tw 30 alloc 5 mem 0\n"),
        ("proc/net/sockstat6", "TCP6: inuse 2\n"),
        ("proc/net/snmp", "Tcp: RtoMin OutSegs RetransSegs\nTcp: 200 1000 10\n"),
        ("proc/net/netstat", &netstat(3, 1, 0)),
        ("proc/self/task/11/stat", &stat(50, 0)),
        ("proc/self/task/11/schedstat", "500000000 10000000 9\n"),
        ("proc/self/task/11/status", "voluntary_ctxt_switches:\t100\nnonvoluntary_ctxt_switches:\t5\n"),
    ])
}

fn reader(tree: &Tree, threads: Vec<WatchedThread>) -> Reader {
    Reader { ticks_per_s: 100, ..Reader::new(tree.root(), threads) }
}

#[test]
fn known_answers_over_a_window_of_two_seconds() {
    let tree = tree();
    let threads = vec![watched("worker-0", 11)];
    let reader = reader(&tree, threads.clone());
    let mut state = Accumulator::begin(reader.snapshot(Place::End));

    // First second: the worker ran 0.9 s of it and waited 16 ms; 38 connections are in TIME_WAIT.
    tree.write("proc/self/task/11/schedstat", "1400000000 26000000 12\n");
    tree.write("proc/net/sockstat", "sockets: used 9\nTCP: inuse 5 orphan 0 tw 38 alloc 5 mem 0\n");
    state.add(SECOND, reader.snapshot(Place::Within));

    // Second second: the worker ran 0.1 s; the process 1.2 s in all (120 ticks); the quota held it back 40 ms
    // in 2 periods; the machine passed 400 ticks, 20 of them stolen.
    tree.write("proc/self/stat", &stat(150, 70));
    tree.write("proc/stat", "cpu  200 0 0 1180 0 0 0 20 0 0\n");
    tree.write("sys/fs/cgroup/cpu.stat", "nr_periods 30\nnr_throttled 3\nthrottled_usec 90000\n");
    tree.write("proc/self/status", "VmHWM:\t5000 kB\nVmRSS:\t4000 kB\nCpus_allowed_list:\t0-3\n");
    tree.write("proc/self/task/11/schedstat", "1500000000 30000000 17\n");
    tree.write("proc/self/fd/2", "");
    tree.write("proc/net/sockstat", "sockets: used 9\nTCP: inuse 5 orphan 0 tw 32 alloc 5 mem 0\n");
    tree.write("proc/net/snmp", "Tcp: RtoMin OutSegs RetransSegs\nTcp: 200 1500 14\n");
    tree.write("proc/net/netstat", &netstat(5, 2, 7));
    tree.write("proc/self/task/11/status", "voluntary_ctxt_switches:\t160\nnonvoluntary_ctxt_switches:\t7\n");
    state.add(2 * SECOND, reader.snapshot(Place::End));

    let facts = state.facts(&reader);
    let expected = HostFacts {
        window_s: 2.0,
        usable_cpus: Some(2.0),      // 4 processors allowed, quota of 2
        cpu_s: Some(1.2),            // (150 + 70 − 100) ticks of 10 ms
        cpu_share: Some(1.2 / 4.0),  // 2 s × 2 processors
        throttled_share: Some(0.02), // (90 − 50) ms of 2 s
        throttled_periods: Some(2),
        steal_share: Some(0.05), // 20 of 400
        peak_rss_bytes: Some(5_120_000),
        rss_begin_bytes: Some(2_048_000),
        rss_end_bytes: Some(4_096_000),
        descriptors_peak: Some(3),
        descriptors_limit: Some(1024),
        ports_range: Some(28_232),
        // The first second: no count of descriptors, so all 7 sockets in use, and 38 in TIME_WAIT.
        ports_used_bound: Some(45),
        tcp: Some(TcpFacts {
            segments_sent: 500,
            segments_retransmitted: 4,
            timeouts: Some(2),
            syn_retransmitted: Some(1),
            lost_retransmits: None,
            listen_overflows: Some(7),
            time_wait_peak: Some(38),
        }),
        threads: vec![ThreadFacts {
            name: "worker-0".to_owned(),
            busy_share: Some(0.5),       // 1.0 s of 2 s
            peak_busy_share: Some(0.9),  // the first second
            run_queue_share: Some(0.01), // 20 ms of 2 s
            peak_run_queue_share: Some(0.016),
            run_queue_mean_ns: Some(2_500_000.0), // 20 ms in 17 − 9 turns
            voluntary_switches: Some(60),
            involuntary_switches: Some(2),
        }],
    };
    assert_eq!(facts, expected);
    assert_eq!(facts.busiest_thread_share(), Some(0.5));
}

#[test]
fn a_thread_that_ended_keeps_what_was_seen_of_it() {
    let tree = tree();
    let threads = vec![watched("worker-0", 11)];
    let reader = reader(&tree, threads.clone());
    let mut state = Accumulator::begin(reader.snapshot(Place::End));
    tree.write("proc/self/task/11/schedstat", "1000000000 10000000 9\n");
    state.add(SECOND, reader.snapshot(Place::End));
    fs::remove_dir_all(tree.root().join("proc/self/task/11")).unwrap();
    state.add(2 * SECOND, reader.snapshot(Place::End));
    // 0.5 s of the 2 s window.
    assert_eq!(state.facts(&reader).threads[0].busy_share, Some(0.25));
}

#[test]
fn ticks_stand_in_for_a_missing_or_empty_schedstat() {
    let tree = tree();
    let threads = vec![watched("worker-0", 11)];
    let reader = reader(&tree, threads.clone());
    tree.write("proc/self/task/11/schedstat", "0 0 0\n");
    let mut state = Accumulator::begin(reader.snapshot(Place::End));
    tree.write("proc/self/task/11/stat", &stat(80, 20));
    state.add(SECOND, reader.snapshot(Place::End));
    let thread = &state.facts(&reader).threads[0];
    assert_eq!(thread.busy_share, Some(0.5)); // (100 − 50) ticks of 10 ms in 1 s
    assert_eq!(thread.run_queue_share, None);
}

#[test]
fn a_thread_is_never_busier_than_all_the_time() {
    let tree = tree();
    let reader = reader(&tree, vec![watched("worker-0", 11)]);
    let mut state = Accumulator::begin(reader.snapshot(Place::End));
    // Read a moment after the clock: 1.0005 s of 1 s.
    tree.write("proc/self/task/11/schedstat", "1500500000 10000000 9\n");
    state.add(SECOND, reader.snapshot(Place::End));
    let thread = &state.facts(&reader).threads[0];
    assert_eq!((thread.busy_share, thread.peak_busy_share), (Some(1.0), Some(1.0)));
}

#[test]
fn throttling_longer_than_the_window_is_the_whole_window() {
    let tree = tree();
    let reader = reader(&tree, Vec::new());
    let mut state = Accumulator::begin(reader.snapshot(Place::End));
    // Three processors were held back for a second each.
    tree.write("sys/fs/cgroup/cpu.stat", "nr_throttled 11\nthrottled_usec 3050000\n");
    state.add(SECOND, reader.snapshot(Place::End));
    assert_eq!(state.facts(&reader).throttled_share, Some(1.0));
}

#[test]
fn an_unknown_system_gives_absent_facts_not_zeros() {
    let tree = Tree::new(&[]);
    let threads = vec![watched("worker-0", 11)];
    let reader = reader(&tree, threads.clone());
    let mut state = Accumulator::begin(reader.snapshot(Place::End));
    state.add(SECOND, reader.snapshot(Place::End));
    let named = ThreadFacts { name: "worker-0".to_owned(), ..ThreadFacts::default() };
    let expected = HostFacts { window_s: 1.0, threads: vec![named], ..HostFacts::default() };
    // What the build's machine says of its processors is no fixture.
    assert_eq!(HostFacts { usable_cpus: None, ..state.facts(&reader) }, expected);
}

#[test]
fn a_window_of_no_length_divides_by_nothing() {
    let tree = tree();
    let reader = reader(&tree, vec![watched("worker-0", 11)]);
    let mut state = Accumulator::begin(reader.snapshot(Place::End));
    state.add(0, reader.snapshot(Place::End));
    let facts = state.facts(&reader);
    assert_eq!((facts.cpu_share, facts.threads[0].busy_share), (None, Some(0.0)));
}

/// Work for a measurable time, ended by the work itself: about 10 ms of hashing.
#[cfg(target_os = "linux")]
fn work() {
    let digest = (0..20_000_u32).fold([0_u8; 32], |state, _| {
        use sha2::{Digest, Sha256};
        Sha256::digest(state).into()
    });
    assert_ne!(digest, [0; 32]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_real_machine_is_understood() {
    let sampler = HostSampler::start(vec![WatchedThread::current("me")]);
    // Work that shows on any machine and in ticks of 10 ms: it ends by the CPU time that this thread has used.
    let cpu = || std::time::Duration::from(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
    let enough = cpu() + std::time::Duration::from_millis(50);
    while cpu() < enough {}
    let facts = sampler.finish();
    assert!(facts.window_s > 0.0);
    assert!(facts.usable_cpus.is_some_and(|cpus| cpus > 0.0), "{facts:?}");
    assert!(facts.peak_rss_bytes.is_some_and(|bytes| bytes > 1 << 20), "{facts:?}");
    assert!(facts.descriptors_peak.is_some_and(|open| open >= 3), "{facts:?}");
    assert!(facts.descriptors_limit >= facts.descriptors_peak, "{facts:?}");
    assert!(facts.ports_range.is_none_or(|ports| ports > 0 && ports < 65_536), "{facts:?}");
    let me = &facts.threads[0];
    assert!(me.busy_share.is_some_and(|share| share > 0.0), "{facts:?}");
}

/// The end of a closed window is only known when it comes; what was done since the last full second must not be lost.
#[cfg(target_os = "linux")]
#[test]
fn the_last_part_of_a_window_is_seen() {
    let (began, begun) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let (say, me) = std::sync::mpsc::channel();
    let worker = thread::spawn(move || {
        say.send(WatchedThread::current("worker-0")).unwrap();
        begun.recv().unwrap();
        work();
        end.send(()).unwrap();
        let _ = left.recv();
    });
    let threads = vec![me.recv().unwrap()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let facts = runtime.block_on(watch(threads, async move {
        // First polled after the window began.
        began.send(()).unwrap();
        ended.await.unwrap();
    }));
    drop(leave);
    worker.join().unwrap();
    assert!(facts.threads[0].busy_share.is_some_and(|share| share > 0.0), "{facts:?}");
    assert!(facts.cpu_s.is_some(), "{facts:?}");
}
