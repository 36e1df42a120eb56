//! What arrived inside the measured window, by class, whatever phase its request belongs to.

use super::derive::{first_content, last_content};
use super::metric::Metric;
use super::timeline::Outcome;
use crate::report::requests::RequestRecord;
use crate::units::{NANOS_PER_SEC, Nanos};

/// How far back an open window can still be closed.
const REACH: Nanos = NANOS_PER_SEC;

/// Millionths of a token, so that tokens of an answer can be shared out over its events.
pub(crate) const MICRO: u64 = 1_000_000;

/// What arrived inside the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Completions.
    pub(crate) requests: u64,
    /// Input tokens of requests whose first content arrived.
    pub(crate) input_tokens: u64,
    /// Output tokens whose event arrived, in millionths.
    pub(crate) output_micro: u128,
}

impl Inside {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.output_micro += other.output_micro;
    }

    fn retract(&mut self, other: &Self) {
        self.requests -= other.requests;
        self.input_tokens -= other.input_tokens;
        self.output_micro -= other.output_micro;
    }
}

/// Sorts what arrives into inside and outside. While the end of the window is not known (a closed loop
/// that measures a number of requests), what arrived in the last second is kept apart so that it can be
/// taken back; memory therefore follows the rate, not the length of the point.
#[derive(Clone, Debug)]
pub(crate) struct WindowTally {
    start: Nanos,
    end: Option<Nanos>,
    classes: Vec<Inside>,
    recent: Vec<(Nanos, usize, Inside)>,
    latest: Nanos,
    prune_at: usize,
}

impl WindowTally {
    pub(crate) fn new(start: Nanos, end: Option<Nanos>, classes: usize) -> Self {
        let classes = vec![Inside::default(); classes];
        Self { start, end, classes, recent: Vec::new(), latest: 0, prune_at: 1024 }
    }

    /// Credits a completed request: its completion, its input when its first content arrived, each
    /// event's share of its output.
    pub(crate) fn observe(&mut self, class: usize, record: &RequestRecord) {
        if record.outcome != Outcome::Completed {
            return;
        }
        if let Some(end) = record.stamps_ns.end.or_else(|| last_content(record)) {
            self.credit(class, end, Inside { requests: 1, ..Inside::default() });
        }
        let input = super::derive::value(record, Metric::InputTokens);
        if let (Some(at), Some(input_tokens)) = (first_content(record), input) {
            self.credit(class, at, Inside { input_tokens, ..Inside::default() });
        }
        self.observe_output(class, record);
    }

    /// Shares the output tokens of the answer out over its events in proportion to the tokens of each.
    /// Where the two counts agree, as they should, an event simply gets its own tokens; where they do
    /// not, the answer's count is the better one (usage) and the events say only when.
    fn observe_output(&mut self, class: usize, record: &RequestRecord) {
        let Some(output) = record.tokens.output else { return };
        let total = u128::from(output) * u128::from(MICRO);
        let events = record.events.as_ref().filter(|_| record.streamed);
        let Some(events) = events else {
            if let Some(at) = last_content(record) {
                self.credit(class, at, Inside { output_micro: total, ..Inside::default() });
            }
            return;
        };
        let counted: u128 = (0..events.len()).map(|at| u128::from(events.tokens_at(at))).sum();
        // Tokens that belong to no event in particular spread evenly.
        let weight = |at| if counted == 0 { 1 } else { u128::from(events.tokens_at(at)) };
        let weights = if counted == 0 { events.len() as u128 } else { counted };
        let (mut passed, mut given) = (0, 0);
        let mut stamps = events.stamps().enumerate().peekable();
        while let Some((position, at)) = stamps.next() {
            passed += weight(position);
            // What one read brought is inside or outside together.
            if stamps.peek().is_some_and(|(_, next)| *next == at) {
                continue;
            }
            let due = total * passed / weights;
            self.credit(class, at, Inside { output_micro: due - given, ..Inside::default() });
            given = due;
        }
    }

    fn credit(&mut self, class: usize, at: Nanos, credit: Inside) {
        self.latest = self.latest.max(at);
        if at < self.start || self.end.is_some_and(|end| at >= end) {
            return;
        }
        self.classes[class].merge(&credit);
        if self.end.is_none() && at + REACH >= self.latest {
            self.recent.push((at, class, credit));
            if self.recent.len() >= self.prune_at {
                let oldest = self.latest.saturating_sub(REACH);
                self.recent.retain(|(at, ..)| *at >= oldest);
                self.prune_at = (self.recent.len() * 2).max(1024);
            }
        }
    }

    /// Ends an open window at `end` and takes back what arrived later.
    pub(crate) fn close(&mut self, end: Nanos) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(end);
        for (at, class, credit) in std::mem::take(&mut self.recent) {
            if at >= end {
                self.classes[class].retract(&credit);
            }
        }
    }

    pub(crate) fn class(&self, class: usize) -> Inside {
        self.classes[class]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(requests: u64) -> Inside {
        Inside { requests, ..Inside::default() }
    }

    #[test]
    fn the_start_is_inside_and_the_end_is_not() {
        let mut tally = WindowTally::new(100, Some(200), 1);
        [99, 100, 199, 200].into_iter().for_each(|at| tally.credit(0, at, one(1)));
        assert_eq!(tally.class(0), one(2));
    }

    #[test]
    fn a_window_closed_late_equals_one_known_before() {
        let stamps: Vec<u64> = (0..50_000).map(|n| n * 7_919 % 3_000_000 * 1000).collect();
        let end = 2_500_000_000;
        let mut known = WindowTally::new(1000, Some(end), 1);
        let mut open = WindowTally::new(1000, None, 1);
        for at in &stamps {
            known.credit(0, *at, one(1));
        }
        let (early, late): (Vec<u64>, Vec<u64>) = stamps.iter().partition(|at| **at < end + REACH / 4);
        early.iter().for_each(|at| open.credit(0, *at, one(1)));
        open.close(end);
        late.iter().for_each(|at| open.credit(0, *at, one(1)));
        assert_eq!(open.class(0), known.class(0));
    }

    #[test]
    fn memory_of_an_open_window_follows_the_rate() {
        let mut tally = WindowTally::new(0, None, 1);
        // A million completions at 1000 a second: no more than a few seconds of them are kept.
        (0..1_000_000).for_each(|n| tally.credit(0, n * 1_000_000, one(1)));
        assert!(tally.recent.capacity() <= 8192, "{}", tally.recent.capacity());
        assert_eq!(tally.class(0), one(1_000_000));
    }
}
