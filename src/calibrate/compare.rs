//! Records of a client beside the truth of the server, request by request.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::truth::{LABEL_MARK, ReceivedBy, Truth, TruthRecord};
use crate::measure::timeline::{Outcome, RequestId};
use crate::report::requests::RequestRecord;
use crate::units::Nanos;

/// Text by which the log names a request.
pub fn label(id: RequestId) -> String {
    match id {
        RequestId::Open { index } => format!("o{index}"),
        RequestId::Closed { user, turn } => format!("c{user}.{turn}"),
        RequestId::OpenSession { index, turn } => format!("o{index}.{turn}"),
        RequestId::ClosedSession { user, session, turn } => format!("c{user}.{session}.{turn}"),
    }
}

/// The prompt that carries it.
pub fn prompt(id: RequestId) -> String {
    let mut prompt = String::with_capacity(64);
    let _ = write!(prompt, "{LABEL_MARK}{} and nothing else", label(id));
    prompt
}

/// Sizes of errors: what the client says minus what happened, without its sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Pairs that were compared.
    pub count: u64,
    /// Half of the errors are not larger.
    pub p50_ms: f64,
    /// 99 of 100 are not larger.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
    /// The median with its sign: positive when the client says more than happened.
    pub bias_ms: f64,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Measured requests of the client that completed.
    pub requests: u64,
    /// Those that the log knows under the same label with the same number of events.
    pub matched: u64,
    /// Measured requests that did not complete: an engine under load may fail instead of being late.
    pub failed: u64,
    /// Error of `ttft_ms`, which counts from the intended time: dispatch, a connection and the stamps are all in it.
    pub ttft: Spread,
    /// Error of `ttft_service_ms`, which counts from the moment of sending: the stamps alone.
    pub ttft_service: Spread,
    /// Error of each gap between two events.
    pub itl: Spread,
    /// The p99 of the gaps as the client saw them.
    pub itl_p99_ms: f64,
    /// The p99 of the gaps as they were.
    pub itl_true_p99_ms: f64,
    /// Taken up − due, p99.
    pub dispatch_lag_p99_ms: f64,
    /// Events inside the matched requests.
    pub events: u64,
    /// How late the server wrote against its own schedule, p99. Falsifies nothing, because the log says when it wrote.
    pub server_late_p99_ms: f64,
    /// Events that the server could not write because the client had not read the ones before.
    pub server_blocked: u64,
    /// Requests whose receipt the kernel stamped.
    pub received_by_kernel: u64,
}

impl Comparison {
    /// What is held against the bound: the worse p99 of time to first token and inter-token latency.
    pub fn error_p99_ms(&self) -> f64 {
        self.ttft.p99_ms.max(self.itl.p99_ms)
    }
}

/// Compares records of measured requests with the truth.
pub fn compare(records: impl IntoIterator<Item = RequestRecord>, truth: &Truth) -> Comparison {
    let mut known: HashMap<&str, Option<&TruthRecord>> = HashMap::with_capacity(truth.requests.len());
    for request in &truth.requests {
        let Some(label) = request.label.as_deref() else { continue };
        // A label that came twice (a request that was sent again) names neither.
        known.entry(label).and_modify(|known| *known = None).or_insert(Some(request));
    }
    let mut all = Samples::default();
    let mut result = Comparison::default();
    for record in records {
        if record.outcome != Outcome::Completed {
            result.failed += 1;
            continue;
        }
        result.requests += 1;
        let request = known.get(label(record.id).as_str()).copied().flatten();
        result.matched += u64::from(request.is_some_and(|request| all.add(&record, request).is_some()));
    }
    let mut late = truth.lateness();
    Comparison {
        ttft: spread(&mut all.ttft),
        ttft_service: spread(&mut all.ttft_service),
        itl: spread(&mut all.itl),
        itl_p99_ms: millis(quantile(&mut all.gaps, 0.99)),
        itl_true_p99_ms: millis(quantile(&mut all.true_gaps, 0.99)),
        dispatch_lag_p99_ms: millis(quantile(&mut all.dispatch_lag, 0.99)),
        events: all.events,
        server_late_p99_ms: millis(quantile(&mut late, 0.99)),
        server_blocked: truth.requests.iter().map(|request| u64::from(request.blocked)).sum(),
        received_by_kernel: truth.requests.iter().map(|it| u64::from(it.received_by == ReceivedBy::Kernel)).sum(),
        ..result
    }
}

/// Every single difference: quantiles are exact, not those of a histogram.
#[derive(Debug, Default)]
struct Samples {
    ttft: Vec<i64>,
    ttft_service: Vec<i64>,
    itl: Vec<i64>,
    gaps: Vec<Nanos>,
    true_gaps: Vec<Nanos>,
    dispatch_lag: Vec<Nanos>,
    events: u64,
}

impl Samples {
    /// Nothing is taken from a request whose events the two sides count differently.
    fn add(&mut self, record: &RequestRecord, request: &TruthRecord) -> Option<()> {
        let events = record.events.as_ref()?;
        if events.gaps_ns.len() != request.gaps_ns.len() {
            return None;
        }
        let (true_ttft, stamps) = (request.ttft_ns()?, &record.stamps_ns);
        let service = events.first_ns.checked_sub(stamps.sent?)?;
        self.ttft.push(difference(events.first_ns.checked_sub(stamps.intended)?, true_ttft));
        self.ttft_service.push(difference(service, true_ttft));
        self.itl.extend(events.gaps_ns.iter().zip(&request.gaps_ns).map(|(seen, real)| difference(*seen, *real)));
        self.gaps.extend_from_slice(&events.gaps_ns);
        self.true_gaps.extend_from_slice(&request.gaps_ns);
        self.dispatch_lag.extend(stamps.dispatched.and_then(|at| at.checked_sub(stamps.intended)));
        self.events += 1 + events.gaps_ns.len() as u64;
        Some(())
    }
}

fn difference(seen: Nanos, real: Nanos) -> i64 {
    let size = i64::try_from(seen.abs_diff(real)).unwrap_or(i64::MAX);
    if seen >= real { size } else { -size }
}

fn spread(errors: &mut [i64]) -> Spread {
    let mut sizes: Vec<Nanos> = errors.iter().map(|error| error.unsigned_abs()).collect();
    errors.sort_unstable();
    let bias = rank(errors.len(), 0.5).map_or(0, |at| errors[at]);
    Spread {
        count: errors.len() as u64,
        p50_ms: millis(quantile(&mut sizes, 0.5)),
        p99_ms: millis(quantile(&mut sizes, 0.99)),
        max_ms: millis(sizes.last().copied().unwrap_or(0)),
        #[expect(clippy::cast_precision_loss, reason = "a time for people to read")]
        bias_ms: bias as f64 / 1e6,
    }
}

/// The ⌈q·n⌉-th smallest; 0 of nothing. Leaves the values sorted.
fn quantile(values: &mut [Nanos], q: f64) -> Nanos {
    values.sort_unstable();
    rank(values.len(), q).map_or(0, |at| values[at])
}

fn rank(count: usize, q: f64) -> Option<usize> {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    let rank = (count as f64 * q).ceil() as usize;
    (count > 0).then(|| rank.clamp(1, count) - 1)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds to the nanosecond")]
fn millis(nanos: Nanos) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::truth::{FORMAT, TruthHeader};
    use crate::measure::timeline::{ConnectionUse, ContentKind};
    use crate::report::model::TokenAttribution;
    use crate::report::requests::{EventsRecord, KindRun, StampsRecord, TokensRecord};

    const MS: Nanos = 1_000_000;

    /// A client whose clock began at another time, so that only differences can agree.
    fn record(turn: u32, intended: Nanos, sent: Nanos, first: Nanos, gaps: &[Nanos]) -> RequestRecord {
        RequestRecord {
            id: RequestId::Closed { user: 1, turn },
            class: "calibrate".to_owned(),
            outcome: Outcome::Completed,
            reason: None,
            streamed: true,
            stamps_ns: StampsRecord {
                intended,
                dispatched: Some(intended + 1_000),
                sent: Some(sent),
                ..StampsRecord::default()
            },
            events: Some(EventsRecord {
                first_ns: first,
                gaps_ns: gaps.to_vec(),
                tokens: Vec::new(),
                attribution: TokenAttribution::Assumed,
                kinds: vec![KindRun { kind: ContentKind::Text, count: 1 }],
                blurred: Vec::new(),
            }),
            empty_events: 0,
            tokens: TokensRecord::default(),
            connection: ConnectionUse::Reused,
            address: 0,
            finish_reason: None,
            model: None,
            retry_after_s: None,
        }
    }

    fn request(label: &str, received: Nanos, first: Nanos, gaps: &[Nanos]) -> TruthRecord {
        TruthRecord {
            connection: 0,
            sequence: 0,
            label: Some(label.to_owned()),
            body_sha256: String::new(),
            received_ns: received,
            received_by: ReceivedBy::Kernel,
            tokens: 1,
            complete: true,
            blocked: 2,
            first_ns: Some(first),
            gaps_ns: gaps.to_vec(),
        }
    }

    fn truth(requests: Vec<TruthRecord>) -> Truth {
        let header = TruthHeader { format: FORMAT.to_owned(), ttft_ns: 50 * MS, itl_ns: 10 * MS, cpu: None, cpu_ns: 0 };
        Truth { header, requests }
    }

    #[test]
    fn errors_are_differences_of_differences() {
        // Turn 0: truly 50 ms and 10 ms. The client took it up at once, sent 1 ms after it was due, saw the first event
        // 52 ms after sending and a gap of 9 ms: errors 3, 2 and −1 ms. Turn 1 is right to the nanosecond.
        let records =
            [record(0, 100 * MS, 101 * MS, 153 * MS, &[9 * MS]), record(1, 200 * MS, 200 * MS, 250 * MS, &[10 * MS])];
        let far = 7_000_000 * MS;
        let log = truth(vec![
            request("c1.1", far + 200 * MS, far + 250 * MS, &[10 * MS]),
            request("c1.0", far, far + 50 * MS, &[10 * MS]),
        ]);
        let found = compare(records, &log);
        assert_eq!((found.requests, found.matched, found.failed, found.events), (2, 2, 0, 4));
        assert_eq!((found.ttft.count, found.ttft.p50_ms, found.ttft.p99_ms, found.ttft.bias_ms), (2, 0.0, 3.0, 0.0));
        assert_eq!((found.ttft_service.p99_ms, found.ttft_service.max_ms), (2.0, 2.0));
        assert_eq!((found.itl.p50_ms, found.itl.p99_ms, found.itl.bias_ms), (0.0, 1.0, -1.0));
        assert_eq!((found.itl_p99_ms, found.itl_true_p99_ms), (10.0, 10.0));
        assert_eq!((found.dispatch_lag_p99_ms, found.server_late_p99_ms), (0.001, 0.0));
        assert_eq!((found.server_blocked, found.received_by_kernel), (4, 2));
        assert_eq!(found.error_p99_ms(), 3.0);
    }

    #[test]
    fn only_what_both_sides_agree_on_is_matched() {
        let mut failed = record(3, 0, 0, 50 * MS, &[]);
        failed.outcome = Outcome::Truncated;
        let records = [
            record(0, 0, 0, 50 * MS, &[10 * MS]), // Another number of events.
            record(1, 0, 0, 50 * MS, &[]),        // Twice in the log.
            record(2, 0, 0, 50 * MS, &[]),        // Not in the log.
            failed,
        ];
        let log = truth(vec![
            request("c1.0", 0, 50 * MS, &[]),
            request("c1.1", 0, 50 * MS, &[]),
            request("c1.1", 0, 50 * MS, &[]),
        ]);
        let found = compare(records, &log);
        assert_eq!((found.requests, found.matched, found.failed), (3, 0, 1));
        assert_eq!(found.ttft, Spread::default());
    }

    #[test]
    fn labels_are_what_the_log_finds_in_a_prompt() {
        assert_eq!(prompt(RequestId::Closed { user: 3, turn: 4 }), "bench-request c3.4 and nothing else");
        assert_eq!(prompt(RequestId::Open { index: 17 }), "bench-request o17 and nothing else");
    }
}
