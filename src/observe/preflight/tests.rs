//! Each check to both sides: machines are folders of fixtures, demands come from scenarios.

use std::collections::BTreeMap;

use super::*;
use crate::observe::host::fixture::Tree;
use crate::plan::estimate::{NoDatasets, estimate};
use crate::scenario::{self, Loading, Request};

const SCENARIO: &str = r#"schema = 1
name = "asked"

[backends.main]
protocol = "openai-chat"
url = "http://10.0.0.1:8000"

[workloads.chat]
prompts = { kind = "synthetic" }
input_tokens = { kind = "fixed", value = 16 }
output_tokens = { kind = "fixed", value = 100 }

[[traffic]]
name = "base"
backend = "main"
workload = "chat"

[load]
LOAD

[phases]
warmup = "0s"
measure = { duration = "10s" }
"#;

fn demand_with(load: &str, old: &str, new: &str) -> Demand {
    let text = SCENARIO.replace("LOAD", load).replace(old, new);
    let read = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let request = Request { path: "a.toml", text: text.as_bytes(), sets: &[], env: &BTreeMap::new(), read: &read };
    let Loading { result, .. } = scenario::load(request);
    let loaded = result.unwrap_or_else(|found| panic!("{:?}", found.iter().map(|d| &d.message).collect::<Vec<_>>()));
    let file = loaded.scenario.file();
    Demand::of("p1", file, &estimate(file, &NoDatasets))
}

fn demand(load: &str) -> Demand {
    demand_with(load, "", "")
}

fn users(users: u32) -> Demand {
    demand(&format!("kind = \"users\"\nusers = {users}"))
}

fn rate(rate_per_s: u32) -> Demand {
    demand(&format!("kind = \"constant\"\nrate_per_s = {rate_per_s}"))
}

/// Four processors, 1,000 files, 500 ports, 100 MB, queues of 128, nothing to complain of.
fn tree() -> Tree {
    Tree::new(&[
        ("proc/self/status", "Cpus_allowed_list:\t0-3\n"),
        ("proc/self/limits", "Max open files            256                  1000                 files     \n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "40001\t40500\n"),
        ("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable:   97656 kB\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "128\n"),
        ("proc/stat", "cpu  100 0 0 880 0 0 0 20 0 0\n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ])
}

fn machine(tree: &Tree) -> Machine {
    Machine::read(tree.root(), 2)
}

fn found(demand: Demand, machine: &Machine) -> Vec<(Severity, &'static str)> {
    judge(&[demand], machine).iter().map(|finding| (finding.severity, finding.check)).collect()
}

#[test]
fn a_machine_is_read() {
    let expected = Machine {
        workers: 2,
        usable_cpus: Some(4.0),
        descriptors: Some(1000),
        ports: Some(500),
        memory_bytes: Some(99_999_744),
        accept_queue: Some(128),
        governors: vec!["performance".to_owned()],
        steal_share: Some(0.02),
        clock: Some("tsc".to_owned()),
        kernel_stamps: true,
    };
    assert_eq!(machine(&tree()), expected);
}

#[test]
fn nothing_is_said_of_a_plan_that_fits_and_of_a_machine_that_tells_nothing() {
    assert_eq!(found(users(100), &machine(&tree())), []);
    assert_eq!(found(rate(100), &machine(&tree())), []);
    let silent = Machine { kernel_stamps: true, workers: 1, ..Machine::default() };
    assert_eq!(found(users(1_000_000), &silent), []);
}

#[test]
fn descriptors_at_their_limit() {
    let machine = Machine { ports: None, memory_bytes: None, ..machine(&tree()) };
    assert_eq!(found(users(936), &machine), []);
    assert_eq!(found(users(937), &machine), [(Severity::Error, "descriptors")]);
    // A bound keeps users out.
    let bounded = demand("kind = \"users\"\nusers = 5000\nmax_in_flight = { limit = 900 }");
    assert_eq!(found(bounded, &machine), []);
    assert_eq!(found(demand("kind = \"burst\"\nsize = 937"), &machine), [(Severity::Error, "descriptors")]);
    let message = &judge(&[users(5000)], &machine)[0].message;
    assert_eq!(
        message,
        "point p1 asks for 5000 connections at once, and this process may open 1000 files; raise the hard limit \
         (`ulimit -Hn`) or ask for fewer"
    );
}

#[test]
fn an_open_loop_is_warned_not_refused() {
    let machine = Machine { ports: None, memory_bytes: None, workers: 4, ..machine(&tree()) };
    // 100 tokens: 0.25 s + 100 × 20 ms = 2.25 s an answer; 416 requests/s are 936 at once, 417 are 939.
    assert_eq!(found(rate(416), &machine), []);
    let findings = judge(&[rate(417)], &machine);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].severity, findings[0].check), (Severity::Warning, "descriptors"));
    assert!(findings[0].message.contains("no `max_in_flight`"), "{}", findings[0].message);
    assert!(findings[0].message.contains("about 939 connections at once if an answer takes 2.2 s"), "{findings:?}");
    let allowed =
        |limit: u32| demand(&format!("kind = \"poisson\"\nrate_per_s = 417\nmax_in_flight = {{ limit = {limit} }}"));
    assert_eq!(found(allowed(936), &machine), []);
    assert_eq!(found(allowed(937), &machine), [(Severity::Warning, "descriptors")]);
}

#[test]
fn ports_are_counted_for_each_server() {
    let machine = Machine { descriptors: None, memory_bytes: None, ..machine(&tree()) };
    assert_eq!(found(users(500), &machine), []);
    assert_eq!(found(users(501), &machine), [(Severity::Error, "ports")]);
    // Two servers, half of the users each; two names of one server, all of them.
    let second = |url: &str| {
        format!(
            "[backends.second]\nprotocol = \"openai-chat\"\nurl = \"{url}\"\n\n[[traffic]]\nname = \"more\"\n\
             backend = \"second\"\nworkload = \"chat\"\n\n[load]"
        )
    };
    let shared = |url: &str| demand_with("kind = \"users\"\nusers = 800", "[load]", &second(url));
    assert_eq!(found(shared("http://10.0.0.2:8000"), &machine), []);
    assert_eq!(found(shared("http://10.0.0.1:8000/v1"), &machine), [(Severity::Error, "ports")]);
}

#[test]
fn cores_for_the_asked_rate() {
    let wide = |workers| Machine { descriptors: None, ports: None, memory_bytes: None, workers, ..machine(&tree()) };
    // 60 µs + 100 × 8 µs = 0.86 ms a request at least, 1.1 ms at most: 4 cores end at 4,651/s, and the half of a core of
    // each of 4 workers at 1,818/s.
    assert_eq!(found(rate(1800), &wide(4)), []);
    assert_eq!(found(rate(1900), &wide(4)), [(Severity::Warning, "cores")]);
    assert_eq!(found(rate(4600), &wide(4)), [(Severity::Warning, "cores")]);
    assert_eq!(found(rate(4700), &wide(4)), [(Severity::Error, "cores")]);
    // One worker has one core.
    assert_eq!(found(rate(450), &wide(1)), []);
    assert_eq!(found(rate(460), &wide(1)), [(Severity::Warning, "cores")]);
    // Without streaming an answer is one event: 60 µs … 100 µs.
    let whole = |rate: u32| {
        let load = format!("kind = \"constant\"\nrate_per_s = {rate}");
        demand_with(&load, "url = \"http://10.0.0.1:8000\"", "url = \"http://10.0.0.1:8000\"\nstream = false")
    };
    assert_eq!(found(whole(4900), &wide(1)), []);
    assert_eq!(found(whole(5100), &wide(1)), [(Severity::Warning, "cores")]);
    // How fast a closed loop is, is the server's to say: never refused.
    assert_eq!(found(users(1_000_000), &wide(4)), [(Severity::Warning, "cores")]);
    assert!(judge(&[users(1_000_000)], &wide(4))[0].message.contains("0.25 s to the first token and 20 ms"));
    let message = &judge(&[rate(10_000)], &wide(4))[0].message;
    assert_eq!(
        message,
        "point p1 asks for 10000 requests/s with 1000000 streamed tokens/s, which takes 8.6 cores or more (60 µs a \
         request, 8 µs a token), and this machine lets bench use 4.0; lower the rate or take more cores"
    );
}

#[test]
fn a_cpu_quota_of_either_version_counts() {
    let quota = |mounts: &str, membership: &str, files: &[(&str, &str)]| {
        let tree = tree();
        tree.write("proc/self/mountinfo", mounts);
        tree.write("proc/self/cgroup", membership);
        files.iter().for_each(|(path, text)| tree.write(path, text));
        Machine { descriptors: None, ports: None, ..machine(&tree) }
    };
    let v1 = quota(
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
        "2:cpu:/job\n",
        &[
            ("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n"),
        ],
    );
    let v2 = quota(
        "24 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "0::/job\n",
        &[("sys/fs/cgroup/job/cpu.max", "50000 100000\n"), ("sys/fs/cgroup/job/memory.max", "70000000\n")],
    );
    // Half a core: 0.5 s / 0.86 ms = 581/s.
    for machine in [&v1, &v2] {
        assert_eq!(machine.usable_cpus, Some(0.5));
        let machine = Machine { memory_bytes: None, ..machine.clone() };
        assert_eq!(found(rate(570), &machine), [(Severity::Warning, "cores")]);
        assert_eq!(found(rate(590), &machine), [(Severity::Error, "cores")]);
    }
    assert_eq!(v2.memory_bytes, Some(70_000_000));
}

#[test]
fn memory_for_the_streams() {
    // 64 MB and 36 kB each: 999 fit into 99,999,744 bytes.
    let machine = Machine { descriptors: None, ports: None, workers: 4, ..machine(&tree()) };
    assert_eq!(found(users(999), &machine), []);
    assert_eq!(found(users(1000), &machine), [(Severity::Error, "memory")]);
}

#[test]
fn the_accept_queue_of_a_server_on_this_machine() {
    let machine = machine(&tree());
    let burst =
        |size: u32, url: &str| demand_with(&format!("kind = \"burst\"\nsize = {size}"), "http://10.0.0.1:8000", url);
    for local in ["http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost:8000", "sim:tiny"] {
        assert_eq!(found(burst(128, local), &machine), [], "{local}");
        assert_eq!(found(burst(129, local), &machine), [(Severity::Warning, "accept_queue")], "{local}");
    }
    assert_eq!(found(burst(129, "http://10.0.0.1:8000"), &machine), [], "another machine's queue is not known");
}

#[test]
fn surroundings_that_spoil_numbers() {
    let tree = tree();
    tree.write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
    tree.write("proc/stat", "cpu  100 0 0 840 0 0 0 60 0 0\n");
    tree.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    let machine = Machine { kernel_stamps: false, ..machine(&tree) };
    let warning = |check| (Severity::Warning, check);
    assert_eq!(found(users(1), &machine), ["governor", "steal", "clock", "stamps"].map(warning));
    let messages: Vec<_> = surroundings(&machine).into_iter().map(|finding| finding.message).collect();
    assert!(messages[0].starts_with("1 of 2 processors"), "{messages:?}");
    assert!(messages[1].contains("6.0 %"), "{messages:?}");
}

#[test]
fn a_sweep_is_named_by_its_worst_point() {
    let machine = Machine { ports: None, memory_bytes: None, ..machine(&tree()) };
    let named = |id: &str, demand: Demand| Demand { id: id.to_owned(), ..demand };
    let demands = [named("a", users(10)), named("b", users(2000)), named("c", users(3000)), named("d", rate(900))];
    let findings = judge(&demands, &machine);
    let descriptors: Vec<_> = findings.iter().filter(|finding| finding.check == "descriptors").collect();
    assert_eq!(descriptors.len(), 1);
    assert_eq!(descriptors[0].severity, Severity::Error);
    assert!(descriptors[0].message.starts_with("point c asks for 3000 connections"), "{descriptors:?}");
    assert!(descriptors[0].message.ends_with("(2 more points as well)"), "{descriptors:?}");
}

/// Whose rates the scenario does not hold: the mean of all over the window, however many traces share it.
#[test]
fn traces_of_classes_have_the_rate_that_is_estimated() {
    let class = |name: &str| {
        format!(
            "[[traffic]]\nname = \"{name}\"\nbackend = \"main\"\nworkload = \"chat\"\n\
             load = {{ kind = \"trace\", path = \"t\", at_end = \"loop\" }}\n"
        )
    };
    let text = SCENARIO.replace("[load]\nLOAD\n", &(class("a") + &class("b")));
    let first = text.find("[[traffic]]").unwrap();
    let second = first + text[first..].find("\n\n").unwrap();
    let file: ScenarioFile = toml::from_str(&format!("{}{}", &text[..first], &text[second..])).unwrap();
    let known = Estimate { measure_requests: 300, window_s: 10.0, ..estimate(&file, &NoDatasets) };
    assert!((Demand::of("p1", &file, &known).requests_per_s - 30.0).abs() < 1e-9);
}
