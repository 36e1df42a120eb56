//! Rules of what requests carry: a forced length, sampling keys and priorities must be known to the server.

use super::Rules;
use super::backends::{HeaderTables, headers, source};
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::{BackendConfig, TrafficConfig};
use crate::scenario::requests::{self, RequestOptions, ServerConfig};

pub(super) fn check(rules: &mut Rules<'_>) {
    let partial = rules.partial;
    for (index, class) in partial.traffic() {
        let at = index.to_string();
        for (header, secret) in &class.secret_headers {
            let shown = format!("traffic.{}.secret_headers.{header}", class.name);
            source(rules, &["traffic", &at, "secret_headers", header], &shown, secret);
        }
        if !class.headers.is_empty() || !class.secret_headers.is_empty() {
            let shown = format!("traffic.{}", class.name);
            let tables = HeaderTables { plain: &class.headers, secret: &class.secret_headers, api_key: false };
            headers(rules, &["traffic", &at], &shown, &tables);
        }
        if let Some(backend) = partial.file().backends.get(&class.backend) {
            // What is wrong with a backend alone is said once, whatever uses it.
            let earlier = partial.traffic().take_while(|(other, _)| *other != index);
            let first = !earlier.into_iter().any(|(_, other)| other.backend == class.backend);
            length(rules, &at, class, backend, first);
            keys(rules, &at, class, backend, first);
        }
    }
}

/// A forced length needs a server that can be forced, and nothing that ends answers early.
fn length(rules: &mut Rules<'_>, at: &str, class: &TrafficConfig, backend: &BackendConfig, first: bool) {
    let config = backend.openai();
    if !requests::forced(config, Some(class)) {
        return;
    }
    let path: Vec<&str> = match class.force_output_length {
        Some(_) => vec!["traffic", at, "force_output_length"],
        None => vec!["backends", &class.backend, "force_output_length"],
    };
    let (name, able) = (&class.backend, "`vllm`, `sglang`, `trtllm`, `llamacpp` and the simulated server can");
    let said = class.force_output_length.is_none() && !first;
    match requests::server(config) {
        None if said => {}
        Some(server) if server.forcing().is_none() && said => {}
        None => {
            let message = format!("how to force the output length of `backends.{name}` depends on its software");
            let help = format!("say which it is: `server = \"vllm\"` in `backends.{name}`; {able}");
            rules.at_value(&path, "", Diagnostic::error(&codes::CANNOT_FORCE, message).help(help));
        }
        Some(server) if server.forcing().is_none() => {
            let message = format!("`{}` has no way to force the length of an answer", server.name());
            let also = rules.origin(&["backends", name, "server"]).value;
            let diagnostic = Diagnostic::error(&codes::CANNOT_FORCE, message)
                .also(also, "the server")
                .help(format!("remove `force_output_length` and judge by measured tokens; {able}"));
            rules.at_value(&path, "", diagnostic);
        }
        Some(_) => {
            let chat = matches!(backend, BackendConfig::OpenaiChat(_));
            if RequestOptions::new(chat, config, Some(class)).body.contains_key("stop") {
                let message =
                    format!("stop sequences end answers of `traffic.{}` before the forced length", class.name);
                let diagnostic = Diagnostic::error(&codes::CANNOT_FORCE, message)
                    .help("remove `stop`, or set `force_output_length = false` for this class");
                rules.at_value(&path, "", diagnostic);
            }
        }
    }
}

/// Typed keys that the server refuses or ignores.
fn keys(rules: &mut Rules<'_>, at: &str, class: &TrafficConfig, backend: &BackendConfig, first: bool) {
    let config = backend.openai();
    let Some(server) = requests::server(config) else { return };
    let own = class.sampling.iter().flat_map(|sampling| sampling.keys().into_keys());
    let mut unknown: Vec<(Vec<String>, String)> =
        own.map(|key| (vec!["traffic".to_owned(), at.to_owned(), "sampling".to_owned(), key.clone()], key)).collect();
    let theirs = config.sampling.iter().filter(|_| first).flat_map(|sampling| sampling.keys().into_keys());
    unknown.extend(
        theirs.map(|key| (vec!["backends".to_owned(), class.backend.clone(), "sampling".to_owned(), key.clone()], key)),
    );
    if class.priority.is_some() {
        unknown.push((vec!["traffic".to_owned(), at.to_owned(), "priority".to_owned()], "priority".to_owned()));
    }
    for (path, key) in unknown.into_iter().filter(|(_, key)| !server.knows(key)) {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let diagnostic =
            Diagnostic::error(&codes::UNKNOWN_TO_SERVER, format!("`{}` does not know `{key}`", server.name()));
        let diagnostic = match (key.as_str(), server) {
            ("priority", ServerConfig::Simulator) => {
                diagnostic.help("the simulated server takes requests in their order")
            }
            ("priority", _) => {
                diagnostic.help("send it as your gateway expects it: `headers = { x-priority = \"high\" }`")
            }
            _ => diagnostic.help("to send it all the same, put it into `extra_body`"),
        };
        rules.at_key(&parts, "", diagnostic);
    }
}
