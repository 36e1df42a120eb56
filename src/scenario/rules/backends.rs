//! Rules of `[backends]`: timeouts, secrets, headers.

use std::collections::BTreeMap;

use super::Rules;
use crate::diagnostic::text::quote;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::credentials::header_fault;
use crate::scenario::file::{HttpConfig, OpenaiConfig, SecretRef};
use crate::units::HumanDuration;

/// Longest latency a histogram can hold.
const LONGEST: HumanDuration = HumanDuration::from_secs(24 * 3600);

/// Headers that belong to the framing of a request.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

pub(super) fn check(rules: &mut Rules<'_>) {
    for (name, backend) in &rules.partial.file().backends {
        let backend = backend.openai();
        timeout(rules, name, backend.timeout);
        if backend.http == HttpConfig::Http2 && backend.addresses().any(|url| url.starts_with("sim:")) {
            let message = format!("`backends.{name}` asks the simulated server for HTTP/2");
            let diagnostic = Diagnostic::error(&codes::SIMULATOR_HTTP2, message);
            rules.at_value(&["backends", name, "http"], "`sim:` speaks HTTP/1.1", diagnostic);
        }
        if let Some(secret) = &backend.api_key {
            source(rules, &["backends", name, "api_key"], &format!("backends.{name}.api_key"), secret);
        }
        for (header, secret) in &backend.secret_headers {
            let shown = format!("backends.{name}.secret_headers.{header}");
            source(rules, &["backends", name, "secret_headers", header], &shown, secret);
        }
        if !backend.headers.is_empty() || !backend.secret_headers.is_empty() {
            let tables = HeaderTables {
                plain: &backend.headers,
                secret: &backend.secret_headers,
                api_key: backend.api_key.is_some(),
            };
            headers(rules, &["backends", name], &format!("backends.{name}"), &tables);
        }
        addresses(rules, name, backend);
    }
}

fn timeout(rules: &mut Rules<'_>, name: &str, timeout: HumanDuration) {
    let path = ["backends", name, "timeout"];
    if timeout > LONGEST {
        let message = format!("the timeout of `backends.{name}` is longer than 24 hours");
        rules.at_value(&path, "latencies are recorded up to 24 hours", Diagnostic::error(&codes::TIMEOUT, message));
    } else if timeout.nanos() == 0 {
        let message = format!("the timeout of `backends.{name}` is zero, so every request would fail");
        rules.at_value(&path, "", Diagnostic::error(&codes::ZERO_TIME, message));
    }
}

/// One secret at `path`, which messages call `shown`.
pub(super) fn source(rules: &mut Rules<'_>, path: &[&str], shown: &str, secret: &SecretRef) {
    let what = match (&secret.env, &secret.file) {
        (Some(_), None) | (None, Some(_)) => return,
        (Some(_), Some(_)) => "has two sources",
        (None, None) => "has no source",
    };
    let diagnostic = Diagnostic::error(&codes::SECRET_SOURCE, format!("`{shown}` {what}"));
    rules.at_value(path, "exactly one of `env` and `file`", diagnostic);
}

/// One address, or several with as many weights.
fn addresses(rules: &mut Rules<'_>, name: &str, backend: &OpenaiConfig) {
    let both = !backend.url.is_empty() && !backend.urls.is_empty();
    if both || (backend.url.is_empty() && backend.urls.is_empty()) {
        let what = if both { "has both `url` and `urls`" } else { "needs `url`, or `urls` for several servers" };
        let diagnostic = Diagnostic::error(&codes::ADDRESSES, format!("`backends.{name}` {what}"));
        match both {
            true => rules.at_key(&["backends", name, "urls"], "exactly one of the two", diagnostic),
            false => rules.at_value(&["backends", name], "", diagnostic),
        }
    }
    if !backend.url_weights.is_empty() && backend.url_weights.len() != backend.urls.len() {
        let (weights, urls) = (backend.url_weights.len(), backend.urls.len());
        let message = format!("`backends.{name}` has {urls} `urls` and {weights} `url_weights`");
        let diagnostic = Diagnostic::error(&codes::ADDRESSES, message);
        rules.at_value(&["backends", name, "url_weights"], "as many weights as addresses", diagnostic);
    }
}

/// The headers of one table.
pub(super) struct HeaderTables<'a> {
    pub(super) plain: &'a BTreeMap<String, String>,
    pub(super) secret: &'a BTreeMap<String, SecretRef>,
    /// Whether `Authorization` is sent anyway.
    pub(super) api_key: bool,
}

/// Checks the headers of the table at `top`, which messages call `shown`.
pub(super) fn headers(rules: &mut Rules<'_>, top: &[&str; 2], shown: &str, tables: &HeaderTables<'_>) {
    let plain = tables.plain.iter().map(|(header, value)| ("headers", header, Some(value.as_str())));
    let secret = tables.secret.keys().map(|header| ("secret_headers", header, None));
    let [first, second] = *top;
    let mut seen: Vec<(String, [&str; 2])> = Vec::new();
    if tables.api_key {
        seen.push(("authorization".to_owned(), ["api_key", ""]));
    }
    for (table, header, value) in plain.chain(secret) {
        let path = [first, second, table, header.as_str()];
        let lower = header.to_ascii_lowercase();
        if let Some(fault) = header_fault(header, value) {
            let message = format!("{} of `{shown}.{table}` is {fault}", quote(header));
            let diagnostic = Diagnostic::error(&codes::HEADER, message);
            match fault {
                "not a header value" => rules.at_value(&path, "visible ASCII characters only", diagnostic),
                _ => rules.at_key(&path, "letters, digits and `-` only", diagnostic),
            }
        } else if FRAMING.contains(&lower.as_str()) {
            let message = format!("{} cannot be set: it frames the request", quote(header));
            rules.at_key(&path, "", Diagnostic::error(&codes::HEADER, message));
        } else if let Some((_, [place, twin])) = seen.iter().find(|(other, _)| *other == lower) {
            let other: &[&str] = if twin.is_empty() { &[first, second, place] } else { &[first, second, place, twin] };
            let also = rules.origin(other);
            let diagnostic = Diagnostic::error(&codes::HEADER, format!("the header {} is set twice", quote(header)))
                .also(
                    also.key.unwrap_or(also.value),
                    if twin.is_empty() { "sends `Authorization`" } else { "the first" },
                );
            rules.at_key(&path, "the second", diagnostic);
        } else {
            seen.push((lower, [table, header.as_str()]));
        }
    }
}
