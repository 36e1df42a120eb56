//! Record to numbers: every metric of a request by its definition, in integer arithmetic.

use super::metric::Metric;
use crate::report::model::TokenAttribution;
use crate::report::requests::{EventsRecord, RequestRecord};
use crate::units::NANOS_PER_SEC;

/// The value of a per-request metric in the integers of its unit; absent when it is undefined for this
/// request, and always for pooled metrics.
pub fn value(record: &RequestRecord, metric: Metric) -> Option<u64> {
    let stamps = &record.stamps_ns;
    let events = record.events.as_ref();
    let since_intended = |at: u64| at.checked_sub(stamps.intended);
    let since_sent = |at: u64| at.checked_sub(stamps.sent?);
    match metric {
        Metric::Ttft => since_intended(events?.first_ns),
        Metric::TtftAnswer => since_intended(events?.first_answer_ns()?),
        Metric::TtftService => since_sent(events?.first_ns),
        Metric::Itl | Metric::Tbt => None,
        Metric::Tpot => tpot(events?, record.tokens.output?),
        Metric::Ntpot => divide(since_intended(last_content(record)?)?, record.tokens.output?),
        Metric::E2e => since_intended(last_content(record)?),
        Metric::E2eService => since_sent(last_content(record)?),
        Metric::DispatchLag => since_intended(stamps.dispatched?),
        Metric::SlotWait => stamps.slot?.checked_sub(stamps.dispatched?),
        Metric::ConnectWait => stamps.connected.max(stamps.tls)?.checked_sub(stamps.connect_start?),
        Metric::ScheduleLag => since_intended(stamps.sent?),
        Metric::InputTokens => record.tokens.input_usage.or(record.tokens.input_counted),
        Metric::OutputTokens => record.tokens.output,
        Metric::OutputTokensPerS => tokens_per_s(record.tokens.output?, since_intended(last_content(record)?)?),
    }
}

/// Gaps between consecutive content events.
pub fn gaps(record: &RequestRecord) -> impl Iterator<Item = u64> {
    record.events.iter().flat_map(|events| events.gaps_ns.iter().copied())
}

/// Gaps between consecutive tokens as `(gap, how many)`: an event of k tokens after a gap g adds k
/// samples of g/k. The remainder of the division goes to the first of them, a nanosecond each, so that
/// the samples of an event add up to its gap. Nothing where tokens of events were assumed.
pub fn token_gaps(record: &RequestRecord) -> Vec<(u64, u64)> {
    let Some(events) = record.events.as_ref().filter(|events| events.attribution != TokenAttribution::Assumed) else {
        return Vec::new();
    };
    let mut samples = Vec::with_capacity(events.gaps_ns.len());
    // An event that the server says has no token of its own hands its gap on to the next.
    let mut carried = 0;
    for (position, gap) in events.gaps_ns.iter().enumerate() {
        carried += gap;
        let tokens = u64::from(events.tokens_at(position + 1));
        if tokens == 0 {
            continue;
        }
        let (share, remainder) = (carried / tokens, carried % tokens);
        if remainder > 0 {
            samples.push((share + 1, remainder));
        }
        samples.push((share, tokens - remainder));
        carried = 0;
    }
    samples
}

/// Stamp of the last content: the last event, without streaming the last byte of the body.
pub fn last_content(record: &RequestRecord) -> Option<u64> {
    if record.streamed { record.events.as_ref().map(EventsRecord::last_ns) } else { record.stamps_ns.end }
}

/// Stamp of the first content: the first event, without streaming the last byte of the body.
pub fn first_content(record: &RequestRecord) -> Option<u64> {
    if record.streamed { record.events.as_ref().map(|events| events.first_ns) } else { record.stamps_ns.end }
}

/// (last − first content event) / (output tokens − tokens of the first event). A single event or no
/// token after it leaves it undefined.
fn tpot(events: &EventsRecord, output: u64) -> Option<u64> {
    if events.gaps_ns.is_empty() {
        return None;
    }
    let later = output.checked_sub(u64::from(events.tokens_at(0)))?;
    divide(events.last_ns() - events.first_ns, later)
}

/// Rounded to the nearest nanosecond, halves up; absent for a division by zero.
fn divide(nanos: u64, by: u64) -> Option<u64> {
    if by == 0 {
        return None;
    }
    Some(nanos / by + u64::from(nanos % by >= by.div_ceil(2)))
}

/// Millionths of a token per second; absent when no time passed.
fn tokens_per_s(tokens: u64, nanos: u64) -> Option<u64> {
    let micro = u128::from(tokens) * u128::from(NANOS_PER_SEC) * 1_000_000;
    let nanos = u128::from(nanos);
    u64::try_from((micro + nanos / 2).checked_div(nanos)?).ok()
}
