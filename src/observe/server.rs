//! What a server says about itself: software, version, model, context length. Pure functions of its answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::redact;

/// Longest text taken over from a server, in characters.
const LONGEST_TEXT: usize = 200;

/// What a server says about itself. It is compared and reported, never part of a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerFacts {
    /// The `Server` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_header: Option<String>,
    /// Software, as the list of models or an information page names it: `vllm`, `llamacpp`, `tgi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `system_fingerprint` of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// The model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Largest number of tokens of a request, input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<u64>,
}

impl ServerFacts {
    /// Takes up a response header.
    pub fn header(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("server") {
            self.server_header = clean(value);
        }
    }

    /// Takes up an answer, or one event of a streamed answer: `system_fingerprint` and `model`.
    pub fn answer(&mut self, answer: &Value) {
        set(&mut self.system_fingerprint, text(answer, "system_fingerprint"));
        set(&mut self.model, text(answer, "model").map(model_name));
    }

    /// Takes up `GET /v1/models`: what it says about `model`.
    pub fn models(&mut self, list: &Value, model: &str) {
        let entries = list.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let Some(entry) = entries.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(model)) else {
            return;
        };
        set(&mut self.software, text(entry, "owned_by").filter(|owner| is_software(owner)));
        // `max_model_len` is vLLM's and SGLang's word, `context_length` that of hosted gateways.
        set(&mut self.max_model_len, number(entry, "max_model_len").or_else(|| number(entry, "context_length")));
        set(&mut self.model, clean(model).map(model_name));
    }

    /// Takes up an information page: `/version` of vLLM, `/info` of TGI, `/props` of llama.cpp.
    pub fn information(&mut self, page: &Value) {
        set(&mut self.version, text(page, "version").or_else(|| text(page, "build_info")));
        let router = text(page, "router").filter(|router| router.starts_with("text-generation"));
        set(&mut self.software, router.map(|_| "tgi".to_owned()));
        let settings = page.get("default_generation_settings");
        let context = settings.and_then(|settings| number(settings, "n_ctx"));
        set(&mut self.max_model_len, context.or_else(|| number(page, "max_total_tokens")));
    }
}

/// Names of `owned_by` that are software and not an organisation.
fn is_software(owner: &str) -> bool {
    ["vllm", "sglang", "llamacpp", "llama.cpp", "tgi", "bench-simulator"].contains(&owner)
}

fn set<T>(slot: &mut Option<T>, found: Option<T>) {
    if found.is_some() {
        *slot = found;
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    clean(value.get(key)?.as_str()?)
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_u64().filter(|number| *number > 0)
}

/// A model that is a folder or file of the server's machine goes by its last component.
fn model_name(name: String) -> String {
    if name.starts_with('/') { redact::file_name(&name).to_owned() } else { name }
}

/// One printable line of bounded length; `None` when nothing is left.
fn clean(raw: &str) -> Option<String> {
    let line: String = raw.trim().chars().take_while(|c| !c.is_control()).take(LONGEST_TEXT).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn vllm() {
        let mut facts = ServerFacts::default();
        facts.header("server", "uvicorn");
        facts.header("date", "today");
        facts.information(&json!({ "version": "0.32.0" }));
        let list = json!({ "object": "list", "data": [
            { "id": "other", "owned_by": "vllm", "max_model_len": 1 },
            { "id": "tiny", "owned_by": "vllm", "max_model_len": 4096, "root": "/models/tiny" },
        ]});
        facts.models(&list, "tiny");
        facts.answer(&json!({ "model": "tiny", "system_fingerprint": "vllm-0.32.0-858bd625", "choices": [] }));
        let expected = ServerFacts {
            server_header: Some("uvicorn".into()),
            software: Some("vllm".into()),
            version: Some("0.32.0".into()),
            system_fingerprint: Some("vllm-0.32.0-858bd625".into()),
            model: Some("tiny".into()),
            max_model_len: Some(4096),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn llama_cpp_says_its_context_on_another_page_and_its_model_by_path() {
        let mut facts = ServerFacts::default();
        facts.header("Server", "llama.cpp");
        facts.information(&json!({ "build_info": "b0-unknown", "default_generation_settings": { "n_ctx": 2048 } }));
        facts.models(&json!({ "data": [{ "id": "/srv/m/small.gguf", "owned_by": "llamacpp" }] }), "/srv/m/small.gguf");
        assert_eq!(facts.software.as_deref(), Some("llamacpp"));
        assert_eq!(facts.version.as_deref(), Some("b0-unknown"));
        assert_eq!(facts.model.as_deref(), Some("small.gguf"));
        assert_eq!(facts.max_model_len, Some(2048));
    }

    #[test]
    fn tgi() {
        let mut facts = ServerFacts::default();
        facts.information(&json!({ "version": "3.3.6", "router": "text-generation-router", "max_total_tokens": 2048 }));
        assert_eq!((facts.software.as_deref(), facts.max_model_len), (Some("tgi"), Some(2048)));
    }

    #[test]
    fn strange_answers_change_nothing() {
        let mut facts = ServerFacts { model: Some("kept".into()), ..ServerFacts::default() };
        for odd in [json!(null), json!([]), json!({ "model": 7, "data": 3, "version": "" }), json!({ "data": [null] })]
        {
            facts.answer(&odd);
            facts.models(&odd, "kept");
            facts.information(&odd);
        }
        assert_eq!(facts, ServerFacts { model: Some("kept".into()), ..ServerFacts::default() });
        facts.header("server", "nginx\r\nset-cookie: x");
        assert_eq!(facts.server_header.as_deref(), Some("nginx"));
        facts.header("server", &"é".repeat(500));
        assert_eq!(facts.server_header.map(|text| text.chars().count()), Some(200));
    }
}
