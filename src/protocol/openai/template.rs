//! A shortcut for the common content event: the same JSON as an earlier one but for its text.
//!
//! A server repeats id, model and keys in every event. Once an event was parsed, the bytes before and after
//! its text are remembered; an event with the same bytes around another string literal is the same document
//! with another text, so it needs no parser. Nothing is guessed: any difference goes back to the parser.

use std::borrow::Cow;

use memchr::memchr;

use crate::measure::timeline::ContentKind;

/// Events that may miss in a row before remembering stops (each one of such a stream differs).
const MAX_MISSES: u8 = 8;

/// Bytes around the text of the last parsed content event.
#[derive(Debug, Default)]
pub(super) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
    kind: Option<ContentKind>,
    misses: u8,
}

impl Template {
    /// The text of `event` if it differs from the remembered one in nothing else and is not empty.
    pub(super) fn text<'a>(&mut self, event: &'a [u8]) -> Option<(ContentKind, Cow<'a, str>)> {
        let kind = self.kind?;
        let literal = event.strip_prefix(self.before.as_slice())?.strip_suffix(self.after.as_slice())?;
        let text = string_of(literal)?;
        self.misses = 0;
        Some((kind, text))
    }

    /// Remembers `event`, whose only content is `text`, a slice of it.
    pub(super) fn learn(&mut self, event: &[u8], text: &str, kind: ContentKind) {
        if self.misses >= MAX_MISSES {
            self.kind = None;
            return;
        }
        self.misses += 1;
        self.kind = None;
        // Both are slices of one buffer, so the distance of their starts is the text's place in the event.
        let Some(start) = (text.as_ptr() as usize).checked_sub(event.as_ptr() as usize) else { return };
        let end = start + text.len();
        let quoted = start > 0 && event.get(start - 1) == Some(&b'"') && event.get(end) == Some(&b'"');
        if !quoted || event.get(start..end) != Some(text.as_bytes()) {
            return;
        }
        self.before.clear();
        self.before.extend_from_slice(&event[..start]);
        self.after.clear();
        self.after.extend_from_slice(&event[end..]);
        self.kind = Some(kind);
    }
}

/// The text of a non-empty JSON string literal without its quotes; none if it is no such literal.
fn string_of(literal: &[u8]) -> Option<Cow<'_, str>> {
    // One pass without a way out: literals are a few bytes long.
    let (mut control, mut special) = (literal.is_empty(), false);
    for &byte in literal {
        control |= byte < 0x20;
        special |= byte == b'"' || byte == b'\\';
    }
    if control {
        return None;
    }
    if !special {
        return std::str::from_utf8(literal).ok().map(Cow::Borrowed);
    }
    memchr(b'\\', literal)?; // none: the quote is not escaped
    let mut quoted = Vec::with_capacity(literal.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(literal);
    quoted.push(b'"');
    // A quote that is not escaped leaves bytes after the literal, which is an error here.
    serde_json::from_slice::<String>(&quoted).ok().filter(|text| !text.is_empty()).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(event: &str, text: &str) -> Template {
        let mut template = Template::default();
        let start = event.find(&format!("\"{text}\"")).unwrap() + 1;
        template.learn(event.as_bytes(), &event[start..start + text.len()], ContentKind::Text);
        template
    }

    #[test]
    fn only_the_text_may_differ() {
        let mut template = learnt(r#"{"id":1,"text":"ab","finish_reason":null}"#, "ab");
        let mut text = |event: &'static str| template.text(event.as_bytes()).map(|(_, text)| text.into_owned());
        assert_eq!(text(r#"{"id":1,"text":"c","finish_reason":null}"#).as_deref(), Some("c"));
        assert_eq!(text(r#"{"id":1,"text":"\n\"é\u00e9","finish_reason":null}"#).as_deref(), Some("\n\"éé"));
        assert_eq!(text(r#"{"id":2,"text":"c","finish_reason":null}"#), None);
        assert_eq!(text(r#"{"id":1,"text":"c","finish_reason":"length"}"#), None);
        // A second key hidden between the same first and last bytes.
        assert_eq!(text(r#"{"id":1,"text":"c","error":"x","finish_reason":null}"#), None);
        assert_eq!(text(r#"{"id":1,"text":"c\","finish_reason":null}"#), None, "escaped closing quote");
        assert_eq!(text(r#"{"id":1,"text":"","finish_reason":null}"#), None, "empty");
        assert_eq!(text("{\"id\":1,\"text\":\"a\nb\",\"finish_reason\":null}"), None, "raw control character");
        assert_eq!(text(r#"{"id":1,"text":"finish_reason":null}"#), None, "parts overlap");
    }

    #[test]
    fn a_text_from_elsewhere_is_not_learnt() {
        let mut template = Template::default();
        template.learn(br#"{"text":"ab"}"#, &String::from("ab"), ContentKind::Text);
        assert!(template.text(br#"{"text":"cd"}"#).is_none());
    }

    #[test]
    fn learning_stops_when_every_event_differs() {
        let mut template = Template::default();
        for n in 0..20 {
            let event = format!(r#"{{"n":{n},"text":"ab"}}"#);
            let start = event.find("ab").unwrap();
            assert!(template.text(event.as_bytes()).is_none());
            template.learn(event.as_bytes(), &event[start..start + 2], ContentKind::Text);
        }
        assert!(template.kind.is_none());
    }
}
