//! Records of any client beside the server's log. Not the code by which `bench calibrate` compares.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use llm_bench::calibrate::truth::{Truth, TruthRecord};
use llm_bench::measure::timeline::{Outcome, RequestId};
use llm_bench::report::requests::RequestsReader;
use serde::{Deserialize, Serialize};

/// What a client says of one request, on a clock of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) label: String,
    pub(crate) intended_ns: u64,
    pub(crate) dispatched_ns: u64,
    pub(crate) sent_ns: u64,
    pub(crate) first_ns: u64,
    pub(crate) gaps_ns: Vec<u64>,
}

/// Errors without sign, by exact quantiles.
#[derive(Debug)]
pub(crate) struct Errors {
    pub(crate) requests: usize,
    pub(crate) ttft_p50_ms: f64,
    pub(crate) ttft_p99_ms: f64,
    pub(crate) service_p50_ms: f64,
    pub(crate) service_p99_ms: f64,
    /// p99 of the gaps the client saw − p99 of those that were.
    pub(crate) itl_p99_difference_ms: f64,
    pub(crate) server_late_p99_ms: f64,
}

/// One JSON object a line.
pub(crate) fn read_seen(path: &Path) -> Vec<Seen> {
    let lines = BufReader::new(File::open(path).unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// `requests.jsonl.gz` of `bench`, and how many of its requests did not complete: they have no place in a table of errors,
/// and a table that leaves them out has to say so.
pub(crate) fn read_records(path: &Path) -> (Vec<Seen>, usize) {
    let mut failed = 0;
    let mut seen = Vec::new();
    for record in RequestsReader::new(BufReader::new(File::open(path).unwrap())).map(Result::unwrap) {
        let (stamps, Outcome::Completed, Some(events)) = (record.stamps_ns, record.outcome, record.events) else {
            failed += 1;
            continue;
        };
        seen.push(Seen {
            label: match record.id {
                RequestId::Open { index } => format!("o{index}"),
                RequestId::Closed { user, turn } => format!("c{user}.{turn}"),
                // The loads of `bench calibrate` are single requests.
                RequestId::OpenSession { .. } | RequestId::ClosedSession { .. } => unreachable!("{:?}", record.id),
            },
            intended_ns: stamps.intended,
            dispatched_ns: stamps.dispatched.unwrap(),
            sent_ns: stamps.sent.unwrap(),
            first_ns: events.first_ns,
            gaps_ns: events.gaps_ns,
        });
    }
    (seen, failed)
}

pub(crate) fn errors(seen: &[Seen], truth: &Truth) -> Errors {
    let known: HashMap<&str, &TruthRecord> =
        truth.requests.iter().filter_map(|request| Some((request.label.as_deref()?, request))).collect();
    let (mut ttft, mut service, mut gaps, mut real_gaps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for request in seen {
        let real = known.get(request.label.as_str()).unwrap_or_else(|| panic!("{} is not in the log", request.label));
        assert_eq!(request.gaps_ns.len(), real.gaps_ns.len(), "{} has another number of events", request.label);
        let real_ttft = real.first_ns.unwrap() - real.received_ns;
        ttft.push((request.first_ns - request.intended_ns).abs_diff(real_ttft));
        service.push((request.first_ns - request.sent_ns).abs_diff(real_ttft));
        gaps.extend_from_slice(&request.gaps_ns);
        real_gaps.extend_from_slice(&real.gaps_ns);
    }
    Errors {
        requests: seen.len(),
        ttft_p50_ms: quantile_ms(&mut ttft, 0.5),
        ttft_p99_ms: quantile_ms(&mut ttft, 0.99),
        service_p50_ms: quantile_ms(&mut service, 0.5),
        service_p99_ms: quantile_ms(&mut service, 0.99),
        itl_p99_difference_ms: quantile_ms(&mut gaps, 0.99) - quantile_ms(&mut real_gaps, 0.99),
        server_late_p99_ms: quantile_ms(&mut truth.lateness(), 0.99),
    }
}

pub(crate) fn dispatch_p99_ms(seen: &[Seen]) -> f64 {
    let mut lags: Vec<u64> = seen.iter().map(|request| request.dispatched_ns - request.intended_ns).collect();
    quantile_ms(&mut lags, 0.99)
}

pub(crate) fn quantile_ms(values: &mut [u64], q: f64) -> f64 {
    values.sort_unstable();
    let rank = (values.len() as f64 * q).ceil() as usize;
    if values.is_empty() { f64::NAN } else { values[rank.clamp(1, values.len()) - 1] as f64 / 1e6 }
}
