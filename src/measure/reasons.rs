//! Reasons of failures: counted, with the first detail line, in bounded memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::timeline::{Outcome, Reason};
use crate::report::model::ReasonCount;

/// Different reasons that are kept apart; codes are few, so only a broken server fills this.
const MAX_REASONS: usize = 100;

/// Code of everything beyond [`MAX_REASONS`].
const OTHER: &str = "other";

/// Counts reasons by outcome and code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons(BTreeMap<(Outcome, String), (u64, Option<String>)>);

impl Reasons {
    /// Counts a request that did not complete. One without a reason is counted under the name of its
    /// outcome.
    pub(crate) fn add(&mut self, outcome: Outcome, reason: Option<&Reason>) {
        let code = reason.map_or(outcome.name(), |reason| &reason.code);
        let detail = reason.and_then(|reason| reason.detail.as_deref());
        let full = self.0.len() >= MAX_REASONS;
        match self.0.entry((outcome, code.to_owned())) {
            Entry::Occupied(mut seen) => {
                let (count, first) = seen.get_mut();
                *count += 1;
                if first.is_none() {
                    *first = detail.map(str::to_owned);
                }
            }
            Entry::Vacant(free) if !full => {
                free.insert((1, detail.map(str::to_owned)));
            }
            Entry::Vacant(_) => self.0.entry((outcome, OTHER.to_owned())).or_default().0 += 1,
        }
    }

    /// Adds the counts of another class.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, (count, detail)) in &other.0 {
            let (sum, first) = self.0.entry(key.clone()).or_default();
            *sum += count;
            if first.is_none() {
                first.clone_from(detail);
            }
        }
    }

    /// Most frequent first; equal counts in the order of outcomes and codes.
    pub(crate) fn report(&self) -> Vec<ReasonCount> {
        let mut reasons: Vec<_> = self
            .0
            .iter()
            .map(|((outcome, code), (count, detail))| ReasonCount {
                outcome: *outcome,
                code: code.clone(),
                count: *count,
                detail: detail.clone(),
            })
            .collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str, detail: Option<&str>) -> Reason {
        Reason { code: code.to_owned(), detail: detail.map(str::to_owned) }
    }

    #[test]
    fn counts_with_the_first_detail() {
        let mut reasons = Reasons::default();
        reasons.add(Outcome::Truncated, None);
        reasons.add(Outcome::ServerError, Some(&reason("http_500", Some("first"))));
        reasons.add(Outcome::ServerError, Some(&reason("http_500", Some("second"))));
        let report = reasons.report();
        assert_eq!((report[0].count, report[0].detail.as_deref()), (2, Some("first")));
        assert_eq!((report[1].count, report[1].code.as_str()), (1, "truncated"));
    }

    #[test]
    fn memory_is_bounded_and_no_count_is_lost() {
        let mut reasons = Reasons::default();
        (0..1000).for_each(|n| reasons.add(Outcome::ServerError, Some(&reason(&format!("code_{n}"), None))));
        assert_eq!(reasons.0.len(), MAX_REASONS + 1);
        assert_eq!(reasons.report().iter().map(|reason| reason.count).sum::<u64>(), 1000);
    }
}
