//! The parts of OpenAI-style JSON that are read, borrowed from the bytes where possible.
//!
//! Lenient where servers differ (a null, a missing key, a number as a string say nothing), strict where
//! content could get lost (`choices` that is no list is an error).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::measure::timeline::{ContentKind, Usage};

/// A streamed event, or a whole answer: both have choices and usage.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    pub(super) usage: Option<WireUsage>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) object: Text<'a>,
    #[serde(borrow)]
    pub(super) model: Text<'a>,
}

/// One of the answers of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice<'a> {
    pub(super) index: Count,
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    #[serde(borrow)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Text<'a>,
    pub(super) token_ids: Length,
    pub(super) logprobs: Option<Logprobs>,
}

/// What a chat choice adds; as `message`, all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    content: Text<'a>,
    #[serde(borrow)]
    refusal: Text<'a>,
    #[serde(borrow)]
    reasoning_content: Text<'a>,
    #[serde(borrow)]
    reasoning: Text<'a>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    arguments: Text<'a>,
}

/// Log probabilities: one entry a token, in `tokens` (completions) or `content` (chat, llama.cpp).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Logprobs {
    tokens: Length,
    content: Length,
}

/// Token counts of the server.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    prompt_tokens: Count,
    completion_tokens: Count,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
}

impl WireUsage {
    /// The counts; none if the object holds none.
    pub(super) fn get(self) -> Option<Usage> {
        let usage = Usage {
            input_tokens: self.prompt_tokens.0,
            output_tokens: self.completion_tokens.0,
            cached_tokens: self.prompt_tokens_details.and_then(|details| details.cached_tokens.0),
        };
        (usage != Usage::default()).then_some(usage)
    }
}

impl Choice<'_> {
    /// The non-empty pieces of content, reasoning first.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (ContentKind, &Text<'_>)> {
        let text = (!self.text.is_empty()).then_some((ContentKind::Text, &self.text));
        let deltas = self.delta.iter().chain(&self.message);
        deltas.flat_map(Delta::pieces).chain(text)
    }

    /// Tokens that ids or log probabilities show.
    pub(super) fn tokens(&self) -> Option<u64> {
        let logprobs = || self.logprobs.as_ref().and_then(|list| list.tokens.0.or(list.content.0));
        self.token_ids.0.or_else(logprobs)
    }
}

impl Delta<'_> {
    fn pieces(&self) -> impl Iterator<Item = (ContentKind, &Text<'_>)> {
        // Some servers send the same reasoning under both names.
        let reasoning = if self.reasoning_content.is_empty() { &self.reasoning } else { &self.reasoning_content };
        let calls = self.tool_calls.iter().flatten().filter_map(|call| call.function.as_ref());
        let arguments = calls.chain(&self.function_call).map(|function| (ContentKind::ToolCall, &function.arguments));
        [(ContentKind::Reasoning, reasoning), (ContentKind::Text, &self.content), (ContentKind::Text, &self.refusal)]
            .into_iter()
            .chain(arguments)
            .filter(|(_, text)| !text.is_empty())
    }
}

/// A string; a list of parts is their joined text; anything else is no text.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the text lies in the parsed bytes as it is, without escapes.
    pub(super) fn is_borrowed(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut joined = String::new();
                while let Some(part) = seq.next_element::<Text<'de>>()? {
                    joined.push_str(part.as_str());
                }
                Ok(Text(Cow::Owned(joined)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut text = Text::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if key.as_str() == "text" {
                        text = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(text)
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// A count of tokens; anything that is no whole number is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) Option<u64>);

/// Elements of a list; anything that is no list is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Length(pub(super) Option<u64>);

/// Reads a number or the length of a list out of any value.
struct AnyVisitor;

/// What [`AnyVisitor`] found.
enum Any {
    Number(u64),
    List(u64),
    Other,
}

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
        Ok(Any::Number(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
        Ok(u64::try_from(value).map_or(Any::Other, Any::Number))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
        // 2^53: beyond it a float is no exact count.
        let whole = value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
        Ok(if whole { Any::Number(value as u64) } else { Any::Other })
    }
    fn visit_str<E>(self, _: &str) -> Result<Any, E> {
        Ok(Any::Other)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
        Ok(Any::Other)
    }
    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
        let mut length = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Any::List(length))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(AnyVisitor)? {
            Any::Number(value) => Some(value),
            Any::List(_) | Any::Other => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(AnyVisitor)? {
            Any::List(length) => Some(length),
            Any::Number(_) | Any::Other => None,
        }))
    }
}
