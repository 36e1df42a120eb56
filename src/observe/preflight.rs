//! What a plan needs of this machine, and whether it has it.

use crate::plan::Plan;
use crate::scenario::file::ScenarioFile;
use crate::simulator::SimConfig;
use crate::workload::load::LoadConfig;

/// Descriptors that are not connections: files, timers, the store.
const OTHER_DESCRIPTORS: u64 = 64;

/// What a plan asks for and this machine cannot give, one sentence each.
pub fn problems(plan: &Plan) -> Vec<String> {
    let descriptors = raise_descriptor_limit();
    let ports = ephemeral_ports();
    let mut problems = simulators(plan);
    for (index, point) in plan.points.iter().enumerate() {
        let Ok(file) = plan.point_scenario(index) else { continue };
        let Some(streams) = least_streams(&file) else { continue };
        if let Some(limit) = descriptors.filter(|limit| streams + OTHER_DESCRIPTORS > *limit) {
            problems.push(format!(
                "point {} needs {streams} connections at once, and this process may open {limit} files; raise the hard \
                 limit (`ulimit -Hn`)",
                point.id
            ));
        }
        if let Some(ports) = ports.filter(|ports| streams > *ports) {
            problems.push(format!(
                "point {} needs {streams} connections at once, and this machine has {ports} ephemeral ports to one \
                 server (`net.ipv4.ip_local_port_range`)",
                point.id
            ));
        }
    }
    problems
}

/// Simulated servers that would not start: `sim:` urls with an unknown profile or setting, each once.
fn simulators(plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    for index in 0..plan.points.len() {
        let Ok(file) = plan.point_scenario(index) else { continue };
        for (name, backend) in &file.backends {
            let Some(profile) = backend.openai().url.strip_prefix("sim:") else { continue };
            let Err(error) = SimConfig::parse(profile) else { continue };
            let problem = format!("backends.{name}: {error}");
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// Connections that a point surely needs at the same time. An open loop needs as many as the server is
/// slow, which nobody knows ahead; a closed loop and a burst say it.
fn least_streams(file: &ScenarioFile) -> Option<u64> {
    let asked = match &file.load {
        LoadConfig::Users(users) => u64::from(users.users),
        LoadConfig::Burst(burst) => u64::from(burst.size),
        LoadConfig::Constant(_) | LoadConfig::Poisson(_) | LoadConfig::Gamma(_) => return None,
    };
    let bound = file.load.max_in_flight().map_or(u64::MAX, |bound| u64::from(bound.limit));
    Some(asked.min(bound))
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

fn ephemeral_ports() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    parse_port_range(&text)
}

fn parse_port_range(text: &str) -> Option<u64> {
    let mut bounds = text.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    last.checked_sub(first).map(|span| span + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(parse_port_range("32768\t60999\n"), Some(28_232));
        assert_eq!(parse_port_range("nonsense"), None);
    }
}
