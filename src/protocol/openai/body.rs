//! Request bodies: the keys both OpenAI protocols share, in one fixed order.

use bytes::Bytes;
use serde_json::Value;

use crate::protocol::{Ask, BodyOptions, Prompt};

/// How a protocol writes the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PromptStyle {
    /// `prompt`: one text.
    Prompt,
    /// `messages`: a conversation.
    Messages,
}

/// One key of the body.
#[derive(Debug)]
enum Slot {
    Model,
    Prompt,
    /// The number of tokens asked, under this key.
    Tokens(&'static str),
    /// Key and value, as JSON.
    Fixed(Vec<u8>),
}

/// What does not change from request to request, rendered once.
#[derive(Debug)]
pub(super) struct BodyPlan {
    slots: Vec<Slot>,
    style: PromptStyle,
    streams: bool,
    fixed_bytes: usize,
}

impl BodyPlan {
    /// Own keys first (`model`, the prompt, `max_tokens`, `stream`, `stream_options`, `ignore_eos`, `min_tokens`), then the
    /// extra keys in the order of their names. An extra key stands in the place of the own key it replaces.
    pub(super) fn new(style: PromptStyle, options: &BodyOptions) -> Self {
        let extra = &options.extra;
        let streams = extra.get("stream").and_then(Value::as_bool).unwrap_or(options.stream);
        let prompt_key = match style {
            PromptStyle::Prompt => "prompt",
            PromptStyle::Messages => "messages",
        };
        let max_tokens = options.max_tokens_key.key();
        let mut own = vec![("model", Slot::Model), (prompt_key, Slot::Prompt), (max_tokens, Slot::Tokens(max_tokens))];
        let mut add = |key: &'static str, value: Value| own.push((key, Slot::Fixed(fixed(key, &value))));
        add("stream", Value::Bool(streams));
        if streams && options.usage {
            add("stream_options", serde_json::json!({ "include_usage": true }));
        }
        if options.ignore_eos {
            add("ignore_eos", Value::Bool(true));
        }
        if options.min_tokens {
            own.push(("min_tokens", Slot::Tokens("min_tokens")));
        }
        let further: Vec<_> = extra.iter().filter(|(key, _)| !own.iter().any(|(name, _)| name == key)).collect();
        let mut slots: Vec<Slot> = own
            .into_iter()
            .map(|(key, slot)| extra.get(key).map_or(slot, |value| Slot::Fixed(fixed(key, value))))
            .collect();
        slots.extend(further.into_iter().map(|(key, value)| Slot::Fixed(fixed(key, value))));
        let fixed_bytes = slots.iter().map(|slot| if let Slot::Fixed(bytes) = slot { bytes.len() } else { 0 }).sum();
        Self { slots, style, streams, fixed_bytes }
    }

    /// Whether the body asks for a stream.
    pub(super) fn streams(&self) -> bool {
        self.streams
    }

    /// The body of one request.
    pub(super) fn render(&self, ask: &Ask<'_>) -> Bytes {
        let prompt_bytes = match ask.prompt {
            Prompt::Text(text) => text.len(),
            Prompt::Messages(messages) => messages.iter().map(|message| message.content.len() + 40).sum(),
        };
        // An eighth for escapes; a body that needs more grows once.
        let mut out = Vec::with_capacity(self.fixed_bytes + prompt_bytes + prompt_bytes / 8 + ask.model.len() + 96);
        for (i, slot) in self.slots.iter().enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            match slot {
                Slot::Fixed(bytes) => out.extend_from_slice(bytes),
                Slot::Model => {
                    out.extend_from_slice(b"\"model\":");
                    json(&mut out, ask.model);
                }
                Slot::Tokens(key) => {
                    json(&mut out, key);
                    out.push(b':');
                    json(&mut out, &ask.max_tokens);
                }
                Slot::Prompt => self.prompt(&mut out, ask.prompt),
            }
        }
        out.push(b'}');
        Bytes::from(out)
    }

    fn prompt(&self, out: &mut Vec<u8>, prompt: &Prompt) {
        match (self.style, prompt) {
            (PromptStyle::Prompt, Prompt::Text(text)) => {
                out.extend_from_slice(b"\"prompt\":");
                json(out, text);
            }
            (PromptStyle::Prompt, Prompt::Messages(messages)) => {
                // Text completions know no roles: the texts in order, one a line.
                let texts: Vec<&str> = messages.iter().map(|message| &*message.content).collect();
                out.extend_from_slice(b"\"prompt\":");
                json(out, &texts.join("\n"));
            }
            (PromptStyle::Messages, Prompt::Text(text)) => {
                out.extend_from_slice(b"\"messages\":[");
                message(out, "user", text);
                out.push(b']');
            }
            (PromptStyle::Messages, Prompt::Messages(messages)) => {
                out.extend_from_slice(b"\"messages\":[");
                for (i, item) in messages.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    message(out, item.role, &item.content);
                }
                out.push(b']');
            }
        }
    }
}

fn message(out: &mut Vec<u8>, role: &str, content: &str) {
    out.extend_from_slice(b"{\"role\":");
    json(out, role);
    out.extend_from_slice(b",\"content\":");
    json(out, content);
    out.push(b'}');
}

fn fixed(key: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    json(&mut out, key);
    out.push(b':');
    json(&mut out, value);
    out
}

fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("text, numbers and JSON values always serialise into memory");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::Message;
    use crate::scenario::requests::MaxTokensKey;

    fn body(style: PromptStyle, options: &BodyOptions, prompt: &Prompt) -> String {
        let bytes = BodyPlan::new(style, options).render(&Ask { model: "m", prompt, max_tokens: 5 });
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn keys_have_a_fixed_order() {
        let text = Prompt::Text("say \"hi\"\n".into());
        let mut options = BodyOptions { stream: true, usage: true, ignore_eos: true, ..BodyOptions::default() };
        assert_eq!(
            body(PromptStyle::Prompt, &options, &text),
            r#"{"model":"m","prompt":"say \"hi\"\n","max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"ignore_eos":true}"#
        );
        options.stream = false;
        options.ignore_eos = false;
        assert_eq!(
            body(PromptStyle::Messages, &options, &text),
            r#"{"model":"m","messages":[{"role":"user","content":"say \"hi\"\n"}],"max_tokens":5,"stream":false}"#
        );
    }

    #[test]
    fn a_forced_length_is_asked_as_bound_and_as_least() {
        let text = Prompt::Text("p".into());
        let options = BodyOptions { ignore_eos: true, min_tokens: true, ..BodyOptions::default() };
        assert_eq!(
            body(PromptStyle::Prompt, &options, &text),
            r#"{"model":"m","prompt":"p","max_tokens":5,"stream":false,"ignore_eos":true,"min_tokens":5}"#
        );
        let options = BodyOptions { max_tokens_key: MaxTokensKey::MaxCompletionTokens, ..BodyOptions::default() };
        assert_eq!(
            body(PromptStyle::Prompt, &options, &text),
            r#"{"model":"m","prompt":"p","max_completion_tokens":5,"stream":false}"#
        );
    }

    #[test]
    fn extra_keys_replace_in_place_or_follow_sorted() {
        let extra = [
            ("temperature".to_owned(), json!(0)),
            ("model".to_owned(), json!("other")),
            ("min_tokens".to_owned(), json!(3)),
            ("stream_options".to_owned(), json!({"include_usage": true, "continuous_usage_stats": true})),
        ];
        let options = BodyOptions { stream: true, usage: true, extra: extra.into(), ..BodyOptions::default() };
        assert_eq!(
            body(PromptStyle::Prompt, &options, &Prompt::Text("p".into())),
            r#"{"model":"other","prompt":"p","max_tokens":5,"stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage":true},"min_tokens":3,"temperature":0}"#
        );
    }

    #[test]
    fn an_extra_stream_key_is_what_decides() {
        let options = BodyOptions {
            stream: true,
            usage: true,
            extra: [("stream".into(), json!(false))].into(),
            ..BodyOptions::default()
        };
        let plan = BodyPlan::new(PromptStyle::Prompt, &options);
        assert!(!plan.streams());
        let body = plan.render(&Ask { model: "m", prompt: &Prompt::Text("p".into()), max_tokens: 1 });
        assert_eq!(&body[..], br#"{"model":"m","prompt":"p","max_tokens":1,"stream":false}"#);
    }

    #[test]
    fn conversations() {
        let talk = Prompt::Messages(vec![
            Message { role: "system", content: "Be brief.".into() },
            Message { role: "user", content: "Hi".into() },
        ]);
        let options = BodyOptions::default();
        assert_eq!(
            body(PromptStyle::Messages, &options, &talk),
            r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],"max_tokens":5,"stream":false}"#
        );
        assert_eq!(
            body(PromptStyle::Prompt, &options, &talk),
            r#"{"model":"m","prompt":"Be brief.\nHi","max_tokens":5,"stream":false}"#
        );
    }
}
