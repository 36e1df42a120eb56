//! Whether an answer is the right one.

use super::timeline::{Answer, ContentKind, Outcome, Reason, Timeline};
use crate::numerals;

/// Reason of an answer in which the number that was asked for does not stand.
pub const WRONG_NUMBER: &str = "wrong_number";

/// Most numbers of an answer that a reason shows.
const SHOWN: usize = 5;

/// Makes a completed answer in which the expected number does not stand a mismatch. Reasoning is not part of the answer.
pub fn check(timeline: &mut Timeline) {
    let Some(expected) = timeline.expected_number.filter(|_| timeline.answer.outcome == Outcome::Completed) else {
        return;
    };
    let found = numerals::digit_runs(&said(&timeline.answer));
    if found.contains(&expected.to_string()) {
        return;
    }
    let shown: Vec<&str> = found.iter().take(SHOWN).map(String::as_str).collect();
    let shown = if shown.is_empty() { "no number".to_owned() } else { shown.join(", ") };
    let cut = if timeline.answer.finish_reason.as_deref() == Some("length") { ", cut off by `max_tokens`" } else { "" };
    timeline.answer.outcome = Outcome::Mismatch;
    let detail = format!("expected {expected}; the answer has {shown}{cut}");
    timeline.answer.reason = Some(Reason { code: WRONG_NUMBER.to_owned(), detail: Some(detail) });
}

/// The text of the answer without reasoning and tool calls.
fn said(answer: &Answer) -> String {
    match &answer.body_text {
        Some(text) => text.to_string(),
        None => {
            let texts = answer.events.iter().filter(|event| event.kind == ContentKind::Text);
            texts.map(|event| &*event.text).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::timeline::ContentEvent;
    use crate::measure::timeline::{ConnectionUse, Phase, RequestId, Stamps};
    use crate::protocol::reason;

    fn timeline(events: &[(ContentKind, &str)], expected: Option<u32>) -> Timeline {
        let event = |(kind, text): &(ContentKind, &str)| ContentEvent {
            at: 1,
            kind: *kind,
            tokens: None,
            text: (*text).into(),
            coalesced: false,
        };
        let mut answer = Answer::none(Outcome::Completed, "", None);
        answer.reason = None;
        answer.events = events.iter().map(event).collect();
        answer.finish_reason = Some("length".into());
        Timeline {
            id: RequestId::Open { index: 0 },
            class: 0,
            address: 0,
            phase: Phase::Measure,
            stamps: Stamps::default(),
            answer,
            streamed: true,
            input_tokens_asked: 1,
            input_tokens_counted: None,
            output_tokens_asked: 1,
            expected_number: expected,
            connection: ConnectionUse::Unknown,
        }
    }

    #[test]
    fn an_answer_needs_the_number_that_was_asked_for() {
        use ContentKind::{Reasoning, Text};
        type Row = (&'static [(ContentKind, &'static str)], Outcome, Option<&'static str>);
        let table: [Row; 7] = [
            (&[(Text, "12"), (Text, "34 it is")], Outcome::Completed, None),
            (&[(Text, "It is 1,2"), (Text, "34.")], Outcome::Completed, None),
            (&[(Text, "99 or 1234")], Outcome::Completed, None),
            (
                &[(Text, "12345")],
                Outcome::Mismatch,
                Some("expected 1234; the answer has 12345, cut off by `max_tokens`"),
            ),
            (
                &[(Text, "01234")],
                Outcome::Mismatch,
                Some("expected 1234; the answer has 01234, cut off by `max_tokens`"),
            ),
            (
                &[(Reasoning, "1234"), (Text, "no")],
                Outcome::Mismatch,
                Some("expected 1234; the answer has no number, cut off by `max_tokens`"),
            ),
            (
                &[(Text, "1 2 3 4 5 6 7")],
                Outcome::Mismatch,
                Some("expected 1234; the answer has 1, 2, 3, 4, 5, cut off by `max_tokens`"),
            ),
        ];
        for (events, outcome, detail) in table {
            let mut timeline = timeline(events, Some(1234));
            check(&mut timeline);
            let reason = timeline.answer.reason.as_ref();
            assert_eq!(timeline.answer.outcome, outcome, "{events:?}");
            assert_eq!(reason.and_then(|reason| reason.detail.as_deref()), detail);
            assert!(reason.is_none_or(|found| found.code == reason::WRONG_NUMBER));
        }
        let mut unasked = timeline(&[(Text, "x")], None);
        check(&mut unasked);
        assert_eq!(unasked.answer.outcome, Outcome::Completed);
        // A failure stays what it is.
        let mut failed = timeline(&[(Text, "x")], Some(1));
        failed.answer.outcome = Outcome::Truncated;
        check(&mut failed);
        assert_eq!(failed.answer.outcome, Outcome::Truncated);
        let mut whole = timeline(&[], Some(7));
        whole.answer.body_text = Some("7".into());
        check(&mut whole);
        assert_eq!(whole.answer.outcome, Outcome::Completed);
    }
}
