//! What a plan needs of this machine, and whether it has it: before the first request instead of after the last.
//!
//! [`check`] refuses what cannot work and warns of what may spoil the numbers, one sentence each: what was asked, what the
//! machine has, what to do. A number of a sweep that fits nowhere is named once, with its worst point.

use crate::plan::Plan;
use crate::plan::estimate::{Estimate, NOMINAL_OUTPUT_TOKENS, NOMINAL_TPOT_S, NOMINAL_TTFT_S, class_shares};
use crate::scenario::file::ScenarioFile;
use crate::simulator::SimConfig;
use crate::workload::load::LoadConfig;
use crate::workload::load::burst::Burst;

mod machine;
#[cfg(test)]
mod tests;

pub use machine::{Machine, raise_descriptor_limit};

/// Descriptors that are not connections: files, timers, the store.
const OTHER_DESCRIPTORS: u64 = 64;
/// Memory that a connection with its request takes.
const BYTES_PER_STREAM: u64 = 36_000;
/// Memory of a client that does nothing yet.
const BASE_BYTES: u64 = 64_000_000;
/// Processor time of a request, seconds: the least and the most that was measured.
const REQUEST_S: (f64, f64) = (60e-6, 100e-6);
/// Processor time of a streamed token that comes in a read of its own, seconds.
const EVENT_S: (f64, f64) = (8e-6, 10e-6);
/// A worker that is busier than this begins to blur what it measures.
const COMFORTABLE_SHARE: f64 = 0.5;
/// Time of the hypervisor's other guests beyond which a warning is given; the validity limit is the same.
const STEAL_SHARE: f64 = 0.05;

/// Whether a finding forbids the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may spoil the numbers.
    Warning,
    /// It cannot work.
    Error,
}

impl Severity {
    /// The word in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that the plan asks for and this machine does not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it forbids the run.
    pub severity: Severity,
    /// Stable word: `descriptors`, `ports`, `cores`, `memory`, `accept_queue`, `governor`, `steal`, `clock`, `stamps`,
    /// `simulator`, `secrets`.
    pub check: &'static str,
    /// One sentence.
    pub message: String,
}

impl Finding {
    /// Something without which nothing can be measured.
    pub fn error(check: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, check, message: message.into() }
    }

    fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, check, message: message.into() }
    }
}

/// What `plan` asks for and `machine` cannot give.
pub fn check(plan: &Plan, machine: &Machine) -> Vec<Finding> {
    let mut demands = Vec::new();
    let mut findings = Vec::new();
    for (index, point) in plan.points.iter().enumerate() {
        let Ok(file) = plan.point_scenario(index) else { continue };
        simulators(&file, &mut findings);
        demands.push(Demand::of(&point.id, &file, &point.estimate));
    }
    findings.extend(judge(&demands, machine));
    findings
}

fn judge(demands: &[Demand], machine: &Machine) -> Vec<Finding> {
    let checks: [fn(&Demand, &Machine) -> Option<Excess>; 5] = [descriptors, ports, cores, memory, accept_queue];
    let of_points = checks.into_iter().filter_map(|check| {
        let excesses: Vec<Excess> = demands.iter().filter_map(|demand| check(demand, machine)).collect();
        let others = excesses.len().saturating_sub(1);
        let worst = excesses
            .into_iter()
            .max_by(|a, b| (a.finding.severity.cmp(&b.finding.severity)).then(a.asked.total_cmp(&b.asked)))?;
        let mut finding = worst.finding;
        if others > 0 {
            finding.message = format!("{} ({others} more points as well)", finding.message);
        }
        Some(finding)
    });
    of_points.chain(surroundings(machine)).collect()
}

/// A demand that is not met, and its size among those of the other points.
struct Excess {
    asked: f64,
    finding: Finding,
}

/// Simulated servers that would not start: `sim:` urls with an unknown profile or setting, each once.
fn simulators(file: &ScenarioFile, findings: &mut Vec<Finding>) {
    for (name, backend) in &file.backends {
        for profile in backend.openai().addresses().filter_map(|url| url.strip_prefix("sim:")) {
            let Err(error) = SimConfig::parse(profile) else { continue };
            let finding = Finding::error("simulator", format!("backends.{name}: {error}"));
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
}

/// How many connections a point has at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Streams {
    /// A closed loop or a burst asks for them.
    Asked(u64),
    /// `max_in_flight` of an open loop allows them; it needs them if the server is slow.
    Allowed(u64),
    /// An open loop without bound: its rate and a nominal length of an answer give a number.
    Assumed { streams: u64, answer_s: f64 },
}

impl Streams {
    fn count(self) -> u64 {
        match self {
            Self::Asked(streams) | Self::Allowed(streams) | Self::Assumed { streams, .. } => streams,
        }
    }

    /// Only what is surely needed is refused.
    fn severity(self) -> Severity {
        if matches!(self, Self::Asked(_)) { Severity::Error } else { Severity::Warning }
    }

    fn phrase(self, id: &str) -> String {
        match self {
            Self::Asked(streams) => format!("point {id} asks for {streams} connections at once"),
            Self::Allowed(streams) => format!("point {id} allows {streams} connections at once (`max_in_flight`)"),
            Self::Assumed { streams, answer_s } => format!(
                "point {id} has no `max_in_flight` and needs about {streams} connections at once if an answer takes \
                 {answer_s:.1} s"
            ),
        }
    }
}

/// What a point asks of the machine.
#[derive(Clone, Debug, PartialEq)]
struct Demand {
    id: String,
    streams: Streams,
    /// The largest share of them that goes to one server.
    to_one_server: f64,
    requests_per_s: f64,
    /// Streamed tokens.
    events_per_s: f64,
    /// Whether the server, not the scenario, sets these rates.
    nominal: bool,
    /// Connections that a burst opens at once to a server on this machine.
    burst: Option<u64>,
}

#[expect(clippy::cast_precision_loss, reason = "an estimate of a rate")]
impl Demand {
    fn of(id: &str, file: &ScenarioFile, estimate: &Estimate) -> Self {
        let requests = estimate.requests() as f64;
        let mean = estimate.output_tokens.filter(|_| requests > 0.0).map(|tokens| tokens as f64 / requests);
        let answer_s = NOMINAL_TTFT_S + NOMINAL_TPOT_S * mean.unwrap_or(NOMINAL_OUTPUT_TOKENS);
        let bound = file.load.max_in_flight().map(|bound| u64::from(bound.limit));
        let asked = |streams: u32| Streams::Asked(u64::from(streams).min(bound.unwrap_or(u64::MAX)));
        // A trace has no rate of its own in the scenario: its mean over the window, with all beside it.
        let mean_per_s = estimate.measure_requests as f64 / estimate.window_s.max(1e-9);
        let (requests_per_s, streams) = match &file.load {
            LoadConfig::Users(load) => {
                let turn_s = answer_s + load.mean_think_s();
                let streams = asked(load.most());
                let free = f64::from(load.most()) / turn_s;
                (free.min(streams.count() as f64 / answer_s), streams)
            }
            LoadConfig::Burst(load) => (per_second(load), asked(load.size)),
            load @ (LoadConfig::Constant(_)
            | LoadConfig::Poisson(_)
            | LoadConfig::Gamma(_)
            | LoadConfig::Weibull(_)
            | LoadConfig::Trace(_)) => {
                let rate_per_s = load.peak_rate_per_s().unwrap_or(mean_per_s);
                (rate_per_s, Streams::open(rate_per_s, 0, bound, answer_s))
            }
            LoadConfig::Classes(_) => (0.0, Streams::Asked(0)),
        };
        let own = file.traffic.iter().filter_map(|class| class.load.as_ref());
        let (requests_per_s, streams) = own.fold((requests_per_s, streams), |(rate_per_s, streams), load| {
            let (size, more_per_s) = match load {
                LoadConfig::Burst(load) => (u64::from(load.size), per_second(load)),
                LoadConfig::Trace(_) => (0, (mean_per_s - rate_per_s).max(0.0)),
                load => (0, load.peak_rate_per_s().unwrap_or(0.0)),
            };
            let at_once = size + streams.at_once();
            (rate_per_s + more_per_s, Streams::open(rate_per_s + more_per_s, at_once, bound, answer_s))
        });
        let bursts = |load: &LoadConfig| matches!(load, LoadConfig::Burst(_));
        let any_burst = bursts(&file.load) || file.traffic.iter().any(|class| class.load.as_ref().is_some_and(bursts));
        let servers = Servers::of(file);
        Self {
            id: id.to_owned(),
            streams,
            to_one_server: servers.largest_share,
            requests_per_s,
            // An answer whose length nobody knows is not counted: it must not refuse a plan.
            events_per_s: requests_per_s * servers.streamed_share * mean.unwrap_or(0.0),
            nominal: matches!(file.load, LoadConfig::Users(_)),
            burst: (any_burst && servers.local).then(|| streams.count()),
        }
    }
}

impl Streams {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate of a count, saturating")]
    fn open(rate_per_s: f64, at_once: u64, bound: Option<u64>, answer_s: f64) -> Self {
        match bound {
            Some(bound) => Self::Allowed(bound),
            None => Self::Assumed { streams: at_once + (rate_per_s * answer_s).ceil() as u64, answer_s },
        }
    }

    /// Those of bursts.
    fn at_once(self) -> u64 {
        match self {
            Self::Asked(streams) => streams,
            Self::Allowed(_) | Self::Assumed { .. } => 0,
        }
    }
}

/// Requests of repeated bursts per second; of the first one, where they grow.
fn per_second(load: &Burst) -> f64 {
    load.every.map_or(0.0, |every| f64::from(load.size) / every.get().as_secs_f64())
}

/// Where the traffic of a point goes.
struct Servers {
    /// Share of the requests at the server that gets most.
    largest_share: f64,
    /// Share of the requests whose answer is streamed.
    streamed_share: f64,
    /// Whether one of them is on this machine.
    local: bool,
}

impl Servers {
    fn of(file: &ScenarioFile) -> Self {
        let by_class = class_shares(file);
        let mut shares = std::collections::BTreeMap::<String, f64>::new();
        let (mut streamed_share, mut local) = (0.0, false);
        for (class, share) in file.traffic.iter().zip(by_class) {
            let Some(backend) = file.backends.get(&class.backend).map(crate::scenario::file::BackendConfig::openai)
            else {
                continue;
            };
            let addresses: Vec<&str> = backend.addresses().collect();
            let share_of_one = share / addresses.len().max(1) as f64;
            for (place, spelled) in addresses.into_iter().enumerate() {
                let address = url::Url::parse(spelled).ok();
                // Each `sim:` backend is a process with an address of its own.
                let server = match address.as_ref().and_then(|url| Some((url.host()?, url.port_or_known_default()))) {
                    Some((host, port)) => {
                        local |= match &host {
                            url::Host::Domain(name) => *name == "localhost",
                            url::Host::Ipv4(address) => address.is_loopback(),
                            url::Host::Ipv6(address) => address.is_loopback(),
                        };
                        format!("{host}:{}", port.unwrap_or(0))
                    }
                    None => {
                        local |= spelled.starts_with("sim:");
                        format!("{} {place}", class.backend)
                    }
                };
                *shares.entry(server).or_default() += share_of_one;
            }
            if backend.stream {
                streamed_share += share;
            }
        }
        Self { largest_share: shares.into_values().fold(0.0, f64::max), streamed_share, local }
    }
}

#[expect(clippy::cast_precision_loss, reason = "compared, not counted")]
fn excess(severity: Severity, check: &'static str, asked: u64, message: String) -> Excess {
    Excess { asked: asked as f64, finding: Finding { severity, check, message } }
}

fn descriptors(demand: &Demand, machine: &Machine) -> Option<Excess> {
    let limit = machine.descriptors?;
    let streams = demand.streams.count();
    (streams.saturating_add(OTHER_DESCRIPTORS) > limit).then(|| {
        let message = format!(
            "{}, and this process may open {limit} files; raise the hard limit (`ulimit -Hn`) or ask for fewer",
            demand.streams.phrase(&demand.id)
        );
        excess(demand.streams.severity(), "descriptors", streams, message)
    })
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count"
)]
fn ports(demand: &Demand, machine: &Machine) -> Option<Excess> {
    let ports = machine.ports?;
    let streams = demand.streams.count();
    let to_one = (streams as f64 * demand.to_one_server).round() as u64;
    (to_one > ports).then(|| {
        let which = if to_one == streams { String::new() } else { format!(", {to_one} of them to one server") };
        let message = format!(
            "{}{which}, and this machine has {ports} ephemeral ports to one server; widen \
             `net.ipv4.ip_local_port_range`, give the server several addresses, or ask for fewer",
            demand.streams.phrase(&demand.id)
        );
        excess(demand.streams.severity(), "ports", to_one, message)
    })
}

fn cores(demand: &Demand, machine: &Machine) -> Option<Excess> {
    let usable = machine.usable_cpus?;
    let busy = |(request_s, event_s): (f64, f64)| demand.requests_per_s * request_s + demand.events_per_s * event_s;
    let (least, most) = (busy((REQUEST_S.0, EVENT_S.0)), busy((REQUEST_S.1, EVENT_S.1)));
    let asked = format!(
        "point {} {} {:.0} requests/s with {:.0} streamed tokens/s",
        demand.id,
        if demand.nominal { "may reach" } else { "asks for" },
        demand.requests_per_s,
        demand.events_per_s
    );
    // The speed of a closed loop is the server's: what it may reach is no reason to refuse it.
    if least > usable && !demand.nominal {
        let message = format!(
            "{asked}, which takes {least:.1} cores or more ({:.0} µs a request, {:.0} µs a token), and this machine lets \
             bench use {usable:.1}; lower the rate or take more cores",
            REQUEST_S.0 * 1e6,
            EVENT_S.0 * 1e6
        );
        return Some(Excess { asked: least, finding: Finding::error("cores", message) });
    }
    let workers = f64::from(machine.workers.max(1));
    let room = (usable / workers).min(1.0);
    let share = most / workers / room;
    (share > COMFORTABLE_SHARE).then(|| {
        let assumed = if demand.nominal {
            format!(
                " (at {NOMINAL_TTFT_S} s to the first token and {:.0} ms for each further one)",
                NOMINAL_TPOT_S * 1e3
            )
        } else {
            String::new()
        };
        let noun = if machine.workers == 1 { "worker" } else { "workers" };
        let message = format!(
            "{asked}{assumed}, which may fill {:.0} % of the core of each of {} {noun}; above {:.0} % stamps blur: give \
             `bench apply --workers` more of this machine's {usable:.1} cores, or lower the load",
            share * 100.0,
            machine.workers,
            COMFORTABLE_SHARE * 100.0
        );
        Excess { asked: most, finding: Finding::warning("cores", message) }
    })
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn memory(demand: &Demand, machine: &Machine) -> Option<Excess> {
    let available = machine.memory_bytes?;
    let streams = demand.streams.count();
    let needed = streams.saturating_mul(BYTES_PER_STREAM).saturating_add(BASE_BYTES);
    (needed > available).then(|| {
        let message = format!(
            "{}, which takes {:.1} GB ({} kB each), and this process may have {:.1} GB; give it more memory or ask for fewer",
            demand.streams.phrase(&demand.id),
            needed as f64 / 1e9,
            BYTES_PER_STREAM / 1000,
            available as f64 / 1e9
        );
        excess(demand.streams.severity(), "memory", needed, message)
    })
}

fn accept_queue(demand: &Demand, machine: &Machine) -> Option<Excess> {
    let (burst, queue) = (demand.burst?, machine.accept_queue?);
    (burst > queue).then(|| {
        let message = format!(
            "point {} opens up to {burst} connections at once to a server on this machine, whose accept queue holds \
             {queue} at most; connections beyond wait 1 s and more: raise `net.core.somaxconn` and \
             `net.ipv4.tcp_max_syn_backlog`, and the backlog of the server",
            demand.id
        );
        excess(Severity::Warning, "accept_queue", burst, message)
    })
}

/// What may spoil the numbers of any plan.
fn surroundings(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    let slow: Vec<&str> =
        machine.governors.iter().map(String::as_str).filter(|governor| *governor == "powersave").collect();
    if !slow.is_empty() {
        findings.push(Finding::warning(
            "governor",
            format!(
                "{} of {} processors have the frequency governor `powersave`, which slows the client down between \
                 requests; set `performance` for the run",
                slow.len(),
                machine.governors.len()
            ),
        ));
    }
    if let Some(share) = machine.steal_share.filter(|share| *share > STEAL_SHARE) {
        findings.push(Finding::warning(
            "steal",
            format!(
                "the hypervisor has given {:.1} % of this machine's time to other guests since it started; measure on a \
                 machine of its own",
                share * 100.0
            ),
        ));
    }
    if let Some(clock) =
        machine.clock.as_deref().filter(|clock| matches!(*clock, "hpet" | "acpi_pm" | "jiffies" | "pit"))
    {
        findings.push(Finding::warning(
            "clock",
            format!(
                "the clock of this machine is `{clock}`, which takes microseconds to read; boot with `clocksource=tsc`"
            ),
        ));
    }
    if !machine.kernel_stamps {
        findings.push(Finding::warning(
            "stamps",
            "this system gives no kernel time with received data, so stamps are taken by bench when it runs; measure on \
             Linux for the smallest error",
        ));
    }
    findings
}
