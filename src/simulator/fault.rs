//! Injectable faults, and which requests they strike.
//!
//! Requests are the POSTs to a completion route, numbered from 1 in the order they arrive.

use std::time::Duration;

use rand::RngExt;

use crate::seed::Seed;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Status 500.
    Http500,
    /// Status 429 with `Retry-After: 1`.
    Http429,
    /// Status 503.
    Http503,
    /// An error object in the middle of a 200 answer, then `[DONE]`.
    InBandError,
    /// The connection closes halfway through the answer.
    Cut,
    /// The connection closes halfway through the response head.
    CutHeaders,
    /// The connection is reset halfway through the answer.
    Reset,
    /// An answer without content, properly ended.
    Empty,
    /// An answer with another number than the one asked for; only with `answers=numbers`.
    WrongNumber,
    /// Everything but `[DONE]`.
    NoDone,
    /// An event, or a body, that is not JSON, halfway through the answer.
    Malformed,
    /// No answer ever.
    Hang,
    /// The TCP connection closes after the answer although keep-alive was promised.
    CloseAfterStream,
    /// Halfway through, this answer stands still for a time.
    Stall(Duration),
    /// The response head comes late.
    SlowHeaders(Duration),
    /// So many tokens in one event.
    Merge(u32),
}

impl FaultKind {
    /// The faults that `fault=NAME` names.
    pub const NAMED: [(&'static str, Self); 13] = [
        ("http_500", Self::Http500),
        ("http_429", Self::Http429),
        ("http_503", Self::Http503),
        ("in_band_error", Self::InBandError),
        ("cut", Self::Cut),
        ("cut_headers", Self::CutHeaders),
        ("reset", Self::Reset),
        ("empty", Self::Empty),
        ("wrong_number", Self::WrongNumber),
        ("no_done", Self::NoDone),
        ("malformed", Self::Malformed),
        ("hang", Self::Hang),
        ("close_after_stream", Self::CloseAfterStream),
    ];

    /// The word in URLs and in the event log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stall(_) => "stall",
            Self::SlowHeaders(_) => "slow_headers",
            Self::Merge(_) => "merge",
            named => Self::NAMED.iter().find(|(_, kind)| *kind == named).map_or("", |(name, _)| name),
        }
    }
}

/// Which requests a fault strikes: those that meet every condition given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Selector {
    /// Numbers divisible by this.
    pub every: Option<u64>,
    /// Numbers up to this.
    pub first: Option<u64>,
    /// Numbers beyond this.
    pub after: Option<u64>,
    /// This share of the numbers, drawn by the seed.
    pub share: Option<f64>,
}

impl Selector {
    fn strikes(&self, number: u64, draws: Seed) -> bool {
        self.every.is_none_or(|every| number.is_multiple_of(every))
            && self.first.is_none_or(|first| number <= first)
            && self.after.is_none_or(|after| number > after)
            && self.share.is_none_or(|share| draws.index(number).rng().random::<f64>() < share)
    }
}

/// A fault and whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For whom.
    pub selector: Selector,
}

/// All faults of a server, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// What happens to request `number`. Of faults that exclude each other the first given wins.
    pub fn of(&self, number: u64, seed: u64) -> Affliction {
        let mut affliction = Affliction::default();
        for (index, fault) in self.0.iter().enumerate() {
            let draws = Seed::root(seed).child("simulator/fault").index(index as u64);
            if fault.selector.strikes(number, draws) {
                affliction.add(fault.kind);
            }
        }
        affliction
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affliction {
    /// The one fault that decides how the answer goes wrong.
    pub main: Option<FaultKind>,
    /// Stands still halfway.
    pub stall: Option<Duration>,
    /// The head comes late.
    pub slow_headers: Option<Duration>,
    /// Tokens of an event, if more than one.
    pub merge: Option<u32>,
    /// The connection closes after the answer.
    pub close_after: bool,
}

impl Affliction {
    fn add(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Stall(time) => self.stall = self.stall.or(Some(time)),
            FaultKind::SlowHeaders(time) => self.slow_headers = self.slow_headers.or(Some(time)),
            FaultKind::Merge(tokens) => self.merge = self.merge.or(Some(tokens)),
            FaultKind::CloseAfterStream => self.close_after = true,
            main => self.main = self.main.or(Some(main)),
        }
    }

    /// Names of all that strikes, for the event log.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.main.iter().map(|kind| kind.name()).collect();
        names.extend(self.stall.map(|_| "stall"));
        names.extend(self.slow_headers.map(|_| "slow_headers"));
        names.extend(self.merge.map(|_| "merge"));
        names.extend(self.close_after.then_some("close_after_stream"));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(selector: Selector, numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let faults = Faults(vec![Fault { kind: FaultKind::Http500, selector }]);
        numbers.filter(|number| faults.of(*number, 3).main.is_some()).collect()
    }

    #[test]
    fn selectors_count_requests_from_one() {
        assert_eq!(struck(Selector { every: Some(3), ..Selector::default() }, 1..=10), [3, 6, 9]);
        assert_eq!(struck(Selector { first: Some(2), ..Selector::default() }, 1..=10), [1, 2]);
        assert_eq!(struck(Selector { after: Some(8), ..Selector::default() }, 1..=10), [9, 10]);
        assert_eq!(struck(Selector { after: Some(4), every: Some(3), ..Selector::default() }, 1..=10), [6, 9]);
        assert_eq!(struck(Selector::default(), 1..=3), [1, 2, 3]);
    }

    #[test]
    fn a_share_is_drawn_by_the_seed_and_near_what_was_asked() {
        let half = Selector { share: Some(0.5), ..Selector::default() };
        assert_eq!(struck(half, 1..=100), struck(half, 1..=100));
        // 1000 draws at 0.5 have a standard deviation of 15.8; four of them are 63.
        assert!(struck(half, 1..=1000).len().abs_diff(500) < 63);
        assert!(struck(Selector { share: Some(0.0), ..half }, 1..=50).is_empty());
        assert_eq!(struck(Selector { share: Some(1.0), ..half }, 1..=50).len(), 50);
    }

    #[test]
    fn the_first_of_two_main_faults_wins_and_the_others_combine() {
        let all = Selector::default();
        let faults = Faults(
            [FaultKind::Cut, FaultKind::Http500, FaultKind::Merge(3), FaultKind::CloseAfterStream]
                .map(|kind| Fault { kind, selector: all })
                .to_vec(),
        );
        let affliction = faults.of(1, 0);
        assert_eq!((affliction.main, affliction.merge, affliction.close_after), (Some(FaultKind::Cut), Some(3), true));
        assert_eq!(affliction.names(), ["cut", "merge", "close_after_stream"]);
    }
}
