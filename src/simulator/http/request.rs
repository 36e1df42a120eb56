//! Reads a completion request and refuses what vLLM would refuse, with its status and error type.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::reply::ApiError;
use crate::numerals;
use crate::tokens::Tokenizer;

/// The two completion routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Chat,
    Completions,
}

impl Route {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }

    /// `max_tokens` when none is given: OpenAI's 16 for completions, the rest of the context for chats.
    fn default_max_tokens(self, room: u32) -> u32 {
        match self {
            Self::Chat => room,
            Self::Completions => room.min(16),
        }
    }
}

/// A request that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) input_tokens: u32,
    /// Ids of the prompt's tokens, if they were asked for.
    pub(super) prompt: Vec<u32>,
    pub(super) max_tokens: u32,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) continuous_usage: bool,
    pub(super) ignore_eos: bool,
}

#[derive(Debug, Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<Value>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    ignore_eos: Option<bool>,
    n: Option<i64>,
    best_of: Option<i64>,
    echo: Option<bool>,
    logprobs: Option<Value>,
    temperature: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "role")]
    _role: String,
    content: Option<Value>,
}

/// What a prompt is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The number of its tokens.
    Count,
    /// Also their ids, for the prefix cache.
    Ids,
}

/// Checks `body` against a server that has `models` and room for `max_model_len` tokens.
///
/// # Errors
/// The answer to give instead.
pub(super) fn read(
    route: Route,
    body: &[u8],
    models: &[String],
    max_model_len: u32,
    tokenizer: &dyn Tokenizer,
    reading: Reading,
) -> Result<Ask, ApiError> {
    if body.is_empty() {
        return Err(ApiError::invalid("the request has no body", "body"));
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| ApiError::invalid(&error.to_string(), "body"))?;
    let model = model(body.model.as_deref(), models)?;
    refuse_unsupported(&body)?;
    let mut prompt = Prompt { tokenizer, reading, tokens: 0, ids: Vec::new() };
    match route {
        Route::Chat => chat_tokens(body.messages.as_deref(), &mut prompt)?,
        Route::Completions => prompt_tokens(body.prompt.as_ref(), &mut prompt)?,
    }
    let Prompt { tokens: input_tokens, ids: prompt, .. } = prompt;
    let input_tokens = u32::try_from(input_tokens).unwrap_or(u32::MAX);
    if input_tokens >= max_model_len {
        let message =
            format!("the prompt has {input_tokens} tokens; the maximum context length is {max_model_len} tokens");
        return Err(ApiError::bad_request(&message, "input_tokens"));
    }
    let room = max_model_len - input_tokens;
    let max_tokens = match body.max_completion_tokens.or(body.max_tokens) {
        None => route.default_max_tokens(room),
        Some(asked) if asked < 1 => {
            return Err(ApiError::bad_request(&format!("max_tokens must be at least 1, got {asked}"), "max_tokens"));
        }
        Some(asked) => u32::try_from(asked).ok().filter(|asked| *asked <= room).ok_or_else(|| {
            let message = format!(
                "max_tokens={asked} and a prompt of {input_tokens} tokens exceed the maximum context length of \
                 {max_model_len} tokens"
            );
            ApiError::bad_request(&message, "max_tokens")
        })?,
    };
    let options = body.stream_options.unwrap_or_default();
    Ok(Ask {
        model,
        input_tokens,
        prompt,
        max_tokens,
        stream: body.stream.unwrap_or(false),
        include_usage: options.include_usage.unwrap_or(false),
        continuous_usage: options.continuous_usage_stats.unwrap_or(false),
        ignore_eos: body.ignore_eos.unwrap_or(false),
    })
}

/// The number that the last text of a request spells in words.
pub(super) fn number(body: &[u8]) -> Option<u32> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let last = body.messages.as_deref().and_then(|messages| messages.last());
    let text = last.map_or(body.prompt.as_ref(), |message| message.content.as_ref())?.as_str()?;
    numerals::read(text)
}

fn model(asked: Option<&str>, models: &[String]) -> Result<String, ApiError> {
    match asked {
        None => Ok(models.first().cloned().unwrap_or_default()),
        Some(asked) if models.iter().any(|model| model == asked) => Ok(asked.to_owned()),
        Some(asked) => Err(ApiError {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            message: format!("the model `{asked}` does not exist; models: {}", models.join(", ")),
            param: Some("model".to_owned()),
        }),
    }
}

/// What a real server can do and this one cannot is refused, not ignored.
fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    let refuse = |param: &str| Err(ApiError::bad_request(&format!("the simulator does not support `{param}`"), param));
    if body.n.is_some_and(|n| n != 1) {
        return refuse("n");
    }
    if body.best_of.is_some_and(|best_of| best_of != 1) {
        return refuse("best_of");
    }
    if body.echo == Some(true) {
        return refuse("echo");
    }
    if body.logprobs.as_ref().is_some_and(|logprobs| *logprobs != Value::Bool(false)) {
        return refuse("logprobs");
    }
    if body.temperature.is_some_and(|temperature| temperature < 0.0) {
        return Err(ApiError::bad_request("temperature must be non-negative", "temperature"));
    }
    Ok(())
}

/// The prompt as it is read.
struct Prompt<'a> {
    tokenizer: &'a dyn Tokenizer,
    reading: Reading,
    tokens: usize,
    ids: Vec<u32>,
}

impl Prompt<'_> {
    fn text(&mut self, text: &str) {
        match self.reading {
            Reading::Count => self.tokens += self.tokenizer.count(text),
            Reading::Ids => {
                self.ids.append(&mut self.tokenizer.encode(text));
                self.tokens = self.ids.len();
            }
        }
    }
}

fn prompt_tokens(text: Option<&Value>, prompt: &mut Prompt<'_>) -> Result<(), ApiError> {
    let missing = || ApiError::bad_request("prompt must be given and non-empty", "prompt");
    match text {
        None | Some(Value::Null) => return Err(missing()),
        Some(Value::String(text)) => prompt.text(text),
        Some(Value::Array(ids)) if ids.iter().all(Value::is_u64) => {
            prompt.tokens = ids.len();
            if prompt.reading == Reading::Ids {
                // Ids beyond 32 bits are no tokens of any model; what they are cut to only has to be told apart.
                prompt.ids = ids.iter().filter_map(Value::as_u64).map(|id| id as u32).collect();
            }
        }
        Some(Value::Array(prompts)) => match prompts.as_slice() {
            [one] => return prompt_tokens(Some(one), prompt),
            _ => return Err(ApiError::bad_request("the simulator takes one prompt a request", "prompt")),
        },
        Some(_) => return Err(ApiError::invalid("prompt must be a text or token ids", "body.prompt")),
    }
    if prompt.tokens == 0 { Err(missing()) } else { Ok(()) }
}

/// Tokens of all message texts; the simulated model has no chat template, so roles cost nothing.
fn chat_tokens(messages: Option<&[Message]>, prompt: &mut Prompt<'_>) -> Result<(), ApiError> {
    let messages = messages.ok_or_else(|| ApiError::invalid("messages are missing", "body.messages"))?;
    for message in messages {
        match &message.content {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => prompt.text(text),
            Some(Value::Array(parts)) => {
                for part in parts {
                    match part.get("text").and_then(Value::as_str) {
                        Some(text) => prompt.text(text),
                        None => return Err(ApiError::bad_request("the simulator takes only text parts", "messages")),
                    }
                }
            }
            Some(_) => return Err(ApiError::invalid("content must be a text or parts", "body.messages")),
        }
    }
    if prompt.tokens == 0 { Err(ApiError::bad_request("messages must have content", "messages")) } else { Ok(()) }
}
