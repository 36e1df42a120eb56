//! Timeline to record: tokens of events and answers, off the hot path.

use std::collections::HashMap;

use super::accumulator::ClassSpec;
use super::timeline::{Answer, ContentEvent, Timeline};
use crate::report::model::TokenAttribution;
use crate::report::requests::{EventsRecord, KindRun, OutputSource, RequestRecord, TokensRecord};
use crate::tokens::Tokenizer;
use compact_str::CompactString;
use foldhash::fast::RandomState;

/// Event texts whose token count is remembered.
const KNOWN: usize = 16_384;
/// Longest text that is remembered.
const KNOWN_BYTES: usize = 32;

/// Token counts of the short texts that events bring again and again: a tokenizer takes microseconds for each.
#[derive(Clone, Debug, Default)]
pub struct EventCounts(HashMap<CompactString, u32, RandomState>);

impl EventCounts {
    /// Tokens of an event's text. A content event is non-empty, so it carries at least part of a token.
    fn count(&mut self, text: &str, tokenizer: &dyn Tokenizer) -> u32 {
        if let Some(count) = self.0.get(text) {
            return *count;
        }
        let count = u32::try_from(tokenizer.count(text)).unwrap_or(u32::MAX).max(1);
        if text.len() <= KNOWN_BYTES && self.0.len() < KNOWN {
            self.0.insert(text.into(), count);
        }
        count
    }
}

/// The record of a request, its tokens counted and attributed to its events. `counts` belongs to the class.
pub fn record_of(timeline: Timeline, class: &ClassSpec, counts: &mut EventCounts) -> RequestRecord {
    let tokenizer = class.tokenizer.as_deref();
    let events = events_of(&timeline.answer.events, tokenizer, counts);
    let tokens = tokens_of(&timeline, events.as_ref(), tokenizer);
    let Answer { outcome, reason, empty_events, finish_reason, model, retry_after_s, .. } = timeline.answer;
    RequestRecord {
        id: timeline.id,
        class: class.name.clone(),
        outcome,
        reason,
        streamed: timeline.streamed,
        stamps_ns: timeline.stamps.into(),
        events,
        empty_events,
        tokens,
        connection: timeline.connection,
        address: u32::from(timeline.address),
        finish_reason,
        model,
        retry_after_s,
    }
}

/// Events in compact form. Tokens of an event: as the server said, else the tokenizer on its text, else
/// one. The weakest source used names the attribution.
fn events_of(
    events: &[ContentEvent],
    tokenizer: Option<&dyn Tokenizer>,
    counts: &mut EventCounts,
) -> Option<EventsRecord> {
    let first = events.first()?;
    let mut record = EventsRecord {
        first_ns: first.at,
        gaps_ns: events.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect(),
        tokens: Vec::with_capacity(events.len()),
        attribution: TokenAttribution::Server,
        kinds: Vec::new(),
        blurred: Vec::new(),
    };
    for (position, event) in (0..).zip(events) {
        let (tokens, source) = tokens_of_event(event, tokenizer, counts);
        record.tokens.push(tokens);
        record.attribution = record.attribution.max(source);
        match record.kinds.last_mut() {
            Some(run) if run.kind == event.kind => run.count += 1,
            _ => record.kinds.push(KindRun { kind: event.kind, count: 1 }),
        }
        if event.coalesced {
            record.blurred.push(position);
        }
    }
    if record.tokens.iter().all(|tokens| *tokens == 1) {
        record.tokens = Vec::new();
    }
    Some(record)
}

fn tokens_of_event(
    event: &ContentEvent,
    tokenizer: Option<&dyn Tokenizer>,
    counts: &mut EventCounts,
) -> (u32, TokenAttribution) {
    match (event.tokens, tokenizer) {
        (Some(tokens), _) => (tokens, TokenAttribution::Server),
        (None, Some(tokenizer)) => (counts.count(&event.text, tokenizer), TokenAttribution::Tokenizer),
        (None, None) => (1, TokenAttribution::Assumed),
    }
}

fn tokens_of(timeline: &Timeline, events: Option<&EventsRecord>, tokenizer: Option<&dyn Tokenizer>) -> TokensRecord {
    let usage = timeline.answer.usage.unwrap_or_default();
    let counted = tokenizer.and_then(|tokenizer| count_answer(&timeline.answer, events, tokenizer));
    let by_events = events.map(|events| (0..events.len()).map(|at| u64::from(events.tokens_at(at))).sum());
    let (output, output_source) = [
        (usage.output_tokens, OutputSource::Usage),
        (counted, OutputSource::Tokenizer),
        (by_events, OutputSource::Events),
    ]
    .into_iter()
    .find_map(|(count, source)| Some((count?, source)))
    .unzip();
    TokensRecord {
        input_asked: timeline.input_tokens_asked.into(),
        input_counted: timeline.input_tokens_counted.map(u64::from),
        input_usage: usage.input_tokens,
        input_cached: usage.cached_tokens,
        output_asked: timeline.output_tokens_asked.into(),
        output,
        output_source,
        output_counted: counted,
    }
}

/// Tokens of the whole answer. They may span events, so events are joined before they are counted, but for those that the
/// tokenizer keeps apart; these have been counted one by one.
fn count_answer(answer: &Answer, record: Option<&EventsRecord>, tokenizer: &dyn Tokenizer) -> Option<u64> {
    if let Some(text) = &answer.body_text {
        return Some(tokenizer.count(text) as u64);
    }
    let record = record?;
    let (events, mut joined, mut total) = (&answer.events, String::new(), 0);
    let mut from = 0;
    for to in 1..=events.len() {
        if to < events.len() && !tokenizer.apart(&events[to - 1].text, &events[to].text) {
            continue;
        }
        let known = to - from == 1 && events.len() > 1 && events[from].tokens.is_none();
        total += if known {
            u64::from(record.tokens_at(from))
        } else {
            joined.clear();
            joined.extend(events[from..to].iter().map(|event| &*event.text));
            tokenizer.count(&joined) as u64
        };
        from = to;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::timeline::{ContentKind, Outcome};

    fn streamed(texts: &[String]) -> Answer {
        let event = |text: &String| ContentEvent {
            at: 1,
            kind: ContentKind::Text,
            tokens: None,
            text: text.as_str().into(),
            coalesced: false,
        };
        Answer { events: texts.iter().map(event).collect(), ..Answer::none(Outcome::Completed, "", None) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

        #[test]
        fn an_answer_has_the_tokens_of_its_whole_text(
            texts in prop::collection::vec(r"( ?[a-c]{1,3}| {1,3}|\n|[0-9]{1,4}| the| A|é| [a-z]{20,40}|\PC){1,3}", 0..12),
        ) {
            let tokenizer = crate::tokens::builtin();
            let answer = streamed(&texts);
            let record = events_of(&answer.events, Some(&*tokenizer), &mut EventCounts::default());
            let whole = (!texts.is_empty()).then(|| tokenizer.count(&texts.concat()) as u64);
            prop_assert_eq!(count_answer(&answer, record.as_ref(), &*tokenizer), whole);
        }
    }

    #[test]
    fn remembered_counts_are_those_of_the_tokenizer() {
        let tokenizer = crate::tokens::builtin();
        let mut counts = EventCounts::default();
        let long = "a long text ".repeat(20);
        for _ in 0..2 {
            for text in [" the", "x", "", "\u{fffd}", &long] {
                let expected = u32::try_from(tokenizer.count(text)).unwrap().max(1);
                assert_eq!(counts.count(text, &*tokenizer), expected, "{text:?}");
            }
        }
        assert_eq!(counts.0.len(), 4, "a long text is not kept");
        for number in 0..2 * KNOWN {
            counts.count(&number.to_string(), &*tokenizer);
        }
        assert_eq!(counts.0.len(), KNOWN, "memory is bounded");
    }
}
