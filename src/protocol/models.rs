//! Answers of `GET /v1/models`, in the shapes of all servers, and the meaning of `model = "auto"`.

use serde_json::Value;
use thiserror::Error;

use super::message;

/// Path below the API root of a backend.
pub const PATH: &str = "/models";

/// A model a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name in requests.
    pub id: String,
    /// Most tokens of input and output together, where the server says it.
    pub max_tokens: Option<u64>,
}

/// Why a list of models cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelsError {
    /// The answer is no list of models.
    #[error("the answer of `/v1/models` is no list of models: {0}; name the model instead of `auto`")]
    NotAList(String),
    /// The list is empty.
    #[error("the server offers no model; load one, or name the model instead of `auto`")]
    Empty,
    /// `auto` has several to choose from.
    #[error("`model = \"auto\"` needs a server with one model, but this one offers {}; name one of them", list(.0))]
    Several(Vec<String>),
}

fn list(ids: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = ids.iter().take(SHOWN).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text.push_str(&format!(" and {} more", ids.len() - SHOWN));
    }
    text
}

/// The models of an answer with status 200, each once, in the server's order.
///
/// # Errors
/// The body is no list of models.
pub fn parse(body: &[u8]) -> Result<Vec<ModelInfo>, ModelsError> {
    let not_a_list = || ModelsError::NotAList(message::of_body(body).unwrap_or_else(|| "it is empty".to_owned()));
    let value: Value = serde_json::from_slice(body).map_err(|_| not_a_list())?;
    let items = match &value {
        Value::Array(items) => items,
        Value::Object(map) => match (map.get("data"), map.get("models")) {
            (Some(Value::Array(items)), _) | (_, Some(Value::Array(items))) => items,
            (Some(Value::Null), _) => return Ok(Vec::new()),
            _ => return Err(not_a_list()),
        },
        _ => return Err(not_a_list()),
    };
    let mut models: Vec<ModelInfo> = Vec::new();
    for model in items.iter().filter_map(model) {
        if !models.iter().any(|known| known.id == model.id) {
            models.push(model);
        }
    }
    Ok(models)
}

/// The model that `auto` means.
///
/// # Errors
/// The server offers none, or more than one.
pub fn only(models: &[ModelInfo]) -> Result<&ModelInfo, ModelsError> {
    match models {
        [] => Err(ModelsError::Empty),
        [model] => Ok(model),
        several => Err(ModelsError::Several(several.iter().map(|model| model.id.clone()).collect())),
    }
}

fn model(item: &Value) -> Option<ModelInfo> {
    let id = match item {
        Value::String(id) => id,
        _ => ["id", "model", "name"].iter().find_map(|key| item.get(*key)?.as_str())?,
    };
    // vLLM and SGLang; OpenRouter and Together; Groq; Mistral and LM Studio; llama.cpp.
    let keys = ["max_model_len", "context_length", "context_window", "max_context_length"];
    let max_tokens =
        keys.iter().find_map(|key| item.get(*key)?.as_u64()).or_else(|| item.get("meta")?.get("n_ctx")?.as_u64());
    (!id.is_empty()).then(|| ModelInfo { id: id.to_owned(), max_tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str, max_tokens: Option<u64>) -> ModelInfo {
        ModelInfo { id: id.to_owned(), max_tokens }
    }

    #[test]
    fn shapes_of_servers() {
        let table: [(&str, Vec<ModelInfo>); 8] = [
            (
                r#"{"object":"list","data":[{"id":"m","object":"model","max_model_len":4096,"parent":null}]}"#,
                vec![info("m", Some(4096))],
            ),
            (
                r#"{"models":[{"name":"m","model":"m"}],"object":"list","data":[{"id":"m","meta":{"n_ctx":2048}}]}"#,
                vec![info("m", Some(2048))],
            ),
            (r#"{"object":"list","data":[{"id":"tgi","object":"model","created":0}]}"#, vec![info("tgi", None)]),
            (r#"[{"id":"a","context_length":10},{"id":"b"}]"#, vec![info("a", Some(10)), info("b", None)]),
            (r#"{"models":[{"name":"ollama:latest"}]}"#, vec![info("ollama:latest", None)]),
            (r#"{"object":"list","data":null}"#, vec![]),
            (r#"{"data":[{"id":"m"},{"id":"m"}]}"#, vec![info("m", None)]),
            (r#"{"data":[{"object":"model"},3]}"#, vec![]),
        ];
        for (body, want) in table {
            assert_eq!(parse(body.as_bytes()).unwrap(), want, "{body}");
        }
    }

    #[test]
    fn what_is_no_list_says_so() {
        let error = parse(br#"{"detail":"Not Found"}"#).unwrap_err().to_string();
        assert!(error.contains("Not Found") && error.contains("`auto`"), "{error}");
        assert!(parse(b"Internal Server Error").unwrap_err().to_string().contains("Internal Server Error"));
        assert!(parse(b"").unwrap_err().to_string().contains("it is empty"));
        assert!(parse(b"7").is_err());
    }

    #[test]
    fn auto_needs_exactly_one() {
        assert_eq!(only(&[info("m", None)]).unwrap().id, "m");
        assert_eq!(only(&[]), Err(ModelsError::Empty));
        let error = only(&[info("base", None), info("adapter", None)]).unwrap_err().to_string();
        assert!(error.contains("`base`, `adapter`"), "{error}");
        let many: Vec<_> = (0..12).map(|n| info(&format!("m{n}"), None)).collect();
        assert!(only(&many).unwrap_err().to_string().contains("`m9` and 2 more"));
    }
}
