//! Servers echo what they are sent, credentials included. What they say is masked before it is kept.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::measure::timeline::{Answer, Timeline};
use crate::observe::server::ServerFacts;

/// What stands where a secret stood.
const MASK: &str = "***";
/// A shorter text is too common to be replaced wherever it occurs.
const MIN_BYTES: usize = 4;
/// A text that was cut may end in the beginning of a secret; a shorter beginning tells too little.
const MIN_CUT_BYTES: usize = 6;

/// Knows the secrets of a plan and replaces them. Cheap to clone; prints nothing of them.
#[derive(Clone, Default)]
pub struct Mask {
    /// Every form in which a secret may come back, longest first.
    forms: Arc<[String]>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Mask({} forms)", self.forms.len())
    }
}

impl Mask {
    /// A mask of these secrets: as they are, escaped as in JSON, percent-encoded, and in base64 at every
    /// alignment.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.expose_secret();
            if secret.len() >= MIN_BYTES {
                forms.extend(all_forms(secret));
            }
        }
        // The longest first: a secret that holds another one is replaced as a whole.
        forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms: forms.into() }
    }

    /// `text` without secrets.
    pub fn apply(&self, text: &mut String) {
        for form in self.forms.iter() {
            if text.contains(form.as_str()) {
                *text = text.replace(form.as_str(), MASK);
            }
        }
        // The first line of a long answer is cut, perhaps inside a secret.
        let end = text.trim_end_matches('…').len();
        let cut = self.forms.iter().filter_map(|form| cut_form(&text[..end], form)).max();
        if let Some(length) = cut {
            text.replace_range(end - length..end, MASK);
        }
    }

    /// What an answer says of itself.
    pub fn timeline(&self, timeline: &mut Timeline) {
        if !self.forms.is_empty() {
            self.answer(&mut timeline.answer);
        }
    }

    fn answer(&self, answer: &mut Answer) {
        if let Some(reason) = &mut answer.reason {
            self.apply(&mut reason.code);
            self.optional(&mut reason.detail);
        }
        self.optional(&mut answer.finish_reason);
        self.optional(&mut answer.model);
    }

    /// What a server says of itself.
    pub fn facts(&self, facts: &mut ServerFacts) {
        let ServerFacts { server_header, software, version, system_fingerprint, model, max_model_len: _ } = facts;
        for text in [server_header, software, version, system_fingerprint, model] {
            self.optional(text);
        }
    }

    fn optional(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.apply(text);
        }
    }
}

/// Bytes at the end of `text` that begin `form` without completing it.
fn cut_form(text: &str, form: &str) -> Option<usize> {
    (MIN_CUT_BYTES..form.len()).rev().find(|length| form.is_char_boundary(*length) && text.ends_with(&form[..*length]))
}

fn all_forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let json = serde_json::Value::from(secret).to_string();
    let mut forms = vec![secret.to_owned(), json[1..json.len() - 1].to_owned()];
    for upper in [true, false] {
        let hex = |byte: &u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        forms.push(bytes.iter().map(hex).collect());
        // As `encodeURIComponent` does it, which leaves the unreserved characters.
        let reserved = |byte: &u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
            byte => hex(byte),
        };
        forms.push(bytes.iter().map(reserved).collect());
    }
    forms.push(url::form_urlencoded::byte_serialize(bytes).collect());
    for shift in 0..3 {
        // Inside a longer text base64 has three alignments. Only the characters that the secret alone decides.
        let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
        let (from, to) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            forms.extend(text.get(from..to).filter(|inner| inner.len() >= MIN_BYTES).map(str::to_owned));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr/t+\"key=";

    fn masked(text: &str) -> String {
        let mut text = text.to_owned();
        Mask::new(&[SecretString::from(SECRET.to_owned())]).apply(&mut text);
        text
    }

    #[test]
    fn every_form_is_masked_and_nothing_else() {
        assert_eq!(masked("not authorised: Bearer s3cr/t+\"key= is unknown"), "not authorised: Bearer *** is unknown");
        assert_eq!(masked("{\"key\":\"s3cr/t+\\\"key=\"}"), "{\"key\":\"***\"}");
        assert_eq!(masked("?key=s3cr%2Ft%2B%22key%3D&x"), "?key=***&x");
        assert_eq!(masked("?key=s3cr%2ft%2b%22key%3d&x"), "?key=***&x");
        assert_eq!(masked("nothing to see"), "nothing to see");
        for prefix in ["", "u:", "user:"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{prefix}{SECRET} and more"));
            let text = masked(&encoded);
            assert!(text.contains(MASK) && text.len() < encoded.len() - 8, "{text}");
        }
    }

    #[test]
    fn a_cut_secret_at_the_end_is_masked() {
        assert_eq!(masked("you sent s3cr/t+\"k"), "you sent ***");
        assert_eq!(masked("you sent s3cr/t+\"k…"), "you sent ***…");
        assert_eq!(masked("it was s3c"), "it was s3c", "too short to tell");
    }

    #[test]
    fn short_texts_are_no_secrets() {
        let mut text = "a x b".to_owned();
        let mask = Mask::new(&[SecretString::from("x".to_owned()), SecretString::from(String::new())]);
        mask.apply(&mut text);
        assert_eq!(text, "a x b");
        assert_eq!(format!("{mask:?}"), "Mask(0 forms)");
    }
}
