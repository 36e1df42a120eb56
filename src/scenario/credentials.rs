//! Where a credential could stand, and how to keep it out of plans, reports and messages.

use std::ops::Range;

use http::{HeaderMap, HeaderName};

/// Words that mark a name as that of a secret.
const SECRET_WORDS: [&str; 24] = [
    "key",
    "keys",
    "apikey",
    "token",
    "secret",
    "secrets",
    "password",
    "passwd",
    "pass",
    "passphrase",
    "pwd",
    "credential",
    "credentials",
    "creds",
    "auth",
    "authorization",
    "authentication",
    "bearer",
    "cookie",
    "sig",
    "signature",
    "jwt",
    "pat",
    "session",
];

/// Endings that mark a name written without separators.
const SECRET_ENDINGS: [&str; 5] = ["apikey", "token", "secret", "password", "credential"];

/// Schemes of `Authorization` values.
const AUTH_SCHEMES: [&str; 3] = ["bearer ", "basic ", "token "];

/// Beginnings of well-known keys.
const KEY_BEGINNINGS: [&str; 8] = ["sk-", "hf_", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "eyJ"];

/// Whether a variable, header, parameter or key of this name probably holds a secret.
pub(super) fn secret_name(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for char in name.chars() {
        if !char.is_ascii_alphanumeric() || (char.is_ascii_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = char.is_ascii_lowercase();
        if let (true, Some(word)) = (char.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(char.to_ascii_lowercase());
        }
    }
    words
        .iter()
        .any(|word| SECRET_WORDS.contains(&word.as_str()) || SECRET_ENDINGS.iter().any(|ending| word.ends_with(ending)))
        || words.windows(2).any(|pair| pair[0] == "api" && pair[1] == "key")
}

/// What kind of credential position a string stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// `api_key = "…"`.
    ApiKey,
    /// An entry of `secret_headers` that is a string.
    SecretHeader,
    /// An entry of `headers` that authenticates.
    Header,
    /// User and password of a URL.
    UserInfo,
    /// A key-like parameter of a URL.
    Query,
    /// A key-like entry of `extra_body`.
    Body,
    /// A reference to a secret that is the secret itself.
    Reference,
    /// Anywhere else, but with the look of a credential.
    Text,
}

/// Whether `text` at `path` is, or holds, a credential.
pub(super) fn position(path: &[String], text: &str) -> Option<Position> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["backends", _, "api_key"] => Some(Position::ApiKey),
        ["backends" | "traffic", _, "secret_headers", _] => Some(Position::SecretHeader),
        ["backends", _, "api_key", part] | ["backends" | "traffic", _, "secret_headers", _, part] => {
            let secret = match *part {
                "env" => !is_variable_name(text) || is_known_key(text),
                "prefix" => text.split_whitespace().any(|word| word.len() > 15 || is_known_key(word)),
                _ => is_known_key(text),
            };
            secret.then_some(Position::Reference)
        }
        ["backends" | "traffic", _, "headers", name] => {
            (secret_name(name) || holds_scheme(text) || is_known_key(text)).then_some(Position::Header)
        }
        ["backends" | "traffic", _, "extra_body", .., name] => {
            (secret_name(name) || is_known_key(text)).then_some(Position::Body)
        }
        ["backends", _, "url"] | ["backends", _, "urls", _] | ["store", "url"] => in_url(text),
        _ => {
            let login = userinfo(text).is_some_and(|range| text[range].contains(':'));
            (login || text.split_whitespace().any(is_known_key)).then_some(Position::Text)
        }
    }
}

fn is_variable_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_known_key(text: &str) -> bool {
    KEY_BEGINNINGS.iter().any(|start| text.starts_with(start) && text.len() >= start.len() + 12)
}

fn holds_scheme(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    AUTH_SCHEMES.iter().any(|scheme| lower.starts_with(scheme))
}

fn in_url(text: &str) -> Option<Position> {
    if let Some(range) = userinfo(text) {
        // `abfss://container@account…` is an address, not a login.
        let container = text.starts_with("abfs") && !text[range].contains(':');
        if !container {
            return Some(Position::UserInfo);
        }
    }
    (!secret_parameters(text).is_empty()).then_some(Position::Query)
}

/// The part between `://` and `@` of the first URL in `text`.
fn userinfo(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let authority = text[start..].find(['/', '?', '#', '"', '\'', ' ']).map_or(text.len(), |at| start + at);
    text[start..authority].rfind('@').map(|at| start..start + at)
}

/// The values of key-like `?name=value` and `&name=value` parameters.
fn secret_parameters(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(['?', '&']) {
        let name_start = at + 1;
        let Some(equals) = text[name_start..].find(['=', '&', ' ', '"', '\'', '#']).map(|to| name_start + to) else {
            continue;
        };
        if text.as_bytes()[equals] == b'=' && secret_name(&text[name_start..equals]) {
            let start = equals + 1;
            let end = text[start..].find(['&', ' ', '"', '\'', '#']).map_or(text.len(), |to| start + to);
            found.push(start..end);
        }
    }
    found
}

/// `text` for a message: URLs without login and keys, tokens as `…`.
pub(super) fn redact(path: &[String], text: &str) -> String {
    if matches!(position(path, text), Some(p) if !matches!(p, Position::UserInfo | Position::Query | Position::Text)) {
        return "…".to_owned();
    }
    let mut shown = text.to_owned();
    let mut ranges = line_ranges(text);
    ranges.sort_by_key(|range| std::cmp::Reverse(range.start));
    for range in ranges {
        if range.end <= shown.len() {
            shown.replace_range(range, "…");
        }
    }
    shown
}

/// The parts of a source text that may be secrets, found by their look alone, so that they are blanked
/// out even where the text is not TOML.
pub(super) fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        ranges.extend(line_ranges(body).into_iter().map(|range| start + range.start..start + range.end));
        for (at, _) in body.match_indices('=') {
            if let Some(range) = assigned(text, start, at, body) {
                ranges.push(range);
            }
        }
        start += line.len();
    }
    ranges
}

/// Logins, key-like parameters and tokens within one line.
fn line_ranges(line: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, _) in line.match_indices("://") {
        let scheme = line[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |to| to + 1);
        if let Some(range) = userinfo(&line[scheme..]).filter(|_| !line[scheme..].starts_with("abfs")) {
            ranges.push(scheme + range.start..scheme + range.end);
        }
    }
    ranges.extend(secret_parameters(line));
    let lower = line.to_ascii_lowercase();
    for scheme in AUTH_SCHEMES {
        for (at, _) in lower.match_indices(scheme) {
            let quoted = at == 0 || matches!(line.as_bytes()[at - 1], b'"' | b'\'' | b'=' | b' ');
            let from = at + scheme.len();
            let to = line[from..].find(['"', '\'', ' ', ',', '}']).map_or(line.len(), |to| from + to);
            if quoted && to > from && !only_variable(&line[from..to]) && (scheme != "token " || to - from > 15) {
                ranges.push(from..to);
            }
        }
    }
    let mut word_start = 0;
    for word in line.split_inclusive([' ', '"', '\'', ',', '=', '[', ']', '{', '}', '/', '@', ':']) {
        if is_known_key(word) {
            let end =
                word_start + word.trim_end_matches([' ', '"', '\'', ',', '=', '[', ']', '{', '}', '/', '@', ':']).len();
            ranges.push(word_start..end);
        }
        word_start += word.len();
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

/// The value after the `=` at `at` of a line, when the key before it names a secret.
fn assigned(text: &str, line_start: usize, at: usize, line: &str) -> Option<Range<usize>> {
    if matches!(line[..at].rfind(['?', '&', ' ', '=', '"', '\'']), Some(to) if matches!(line.as_bytes()[to], b'?' | b'&'))
    {
        // A parameter of a URL, which has rules of its own.
        return None;
    }
    let key = line[..at].trim_end().trim_end_matches(['"', '\'']);
    let key = &key[key.rfind(['.', '"', '\'', '{', ',', ' ', '\t', '#']).map_or(0, |to| to + 1)..];
    if !secret_name(key) {
        return None;
    }
    let value_start = at + 1 + (line[at + 1..].len() - line[at + 1..].trim_start().len());
    let value = &line[value_start..];
    let in_string = line[..at].matches('"').count() % 2 == 1 || line[..at].matches('\'').count() % 2 == 1;
    let (open, close) = match value {
        v if v.starts_with("\"\"\"") => (3, text[line_start + value_start + 3..].find("\"\"\"")),
        v if v.starts_with("'''") => (3, text[line_start + value_start + 3..].find("'''")),
        v if v.starts_with('"') => (1, v[1..].find('"')),
        v if v.starts_with('\'') => (1, v[1..].find('\'')),
        v if v.starts_with(['{', '[']) || v.is_empty() => return None,
        v if in_string => (0, v.find(['"', '\'', ' ', ';', '&', ','])),
        v => (0, v.find([',', '}', '#'])),
    };
    let start = line_start + value_start + open;
    let rest = if open == 3 { text.len() } else { line_start + line.len() };
    let range = start..close.map_or(rest, |len| start + len).max(start);
    (!range.is_empty() && !only_variable(&text[range.clone()])).then_some(range)
}

/// Whether `text` is one variable without a default, which says nothing of the secret itself.
pub(super) fn only_variable(text: &str) -> bool {
    text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(is_variable_name)
}

/// Why `name: value` cannot be a request header, if it cannot.
pub(super) fn header_fault(name: &str, value: Option<&str>) -> Option<&'static str> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return Some("not a header name");
    };
    let mut headers = HeaderMap::new();
    match value.map(http::HeaderValue::from_str) {
        None => None,
        Some(Err(_)) => Some("not a header value"),
        Some(Ok(value)) => {
            headers.insert(name, value);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in
            ["OPENAI_API_KEY", "HF_TOKEN", "x-api-key", "apiKey", "DB_PASSWORD", "Authorization", "HFTOKEN", "sig"]
        {
            assert!(secret_name(name), "{name}");
        }
        for name in
            ["BENCH_URL", "TOKENIZER_PATH", "MAX_TOKENS", "input_tokens", "tokenizer", "MONKEY", "author", "HOST"]
        {
            assert!(!secret_name(name), "{name}");
        }
    }

    fn masked(text: &str) -> String {
        let mut bytes = text.to_owned();
        for range in secret_ranges(text) {
            let stars = text[range.clone()].replace(|c| c != '\n', "*");
            bytes.replace_range(range, &stars);
        }
        bytes
    }

    #[test]
    fn texts_that_are_not_toml_are_masked_too() {
        assert_eq!(masked("Authorization = \"Bearer abc\nx = 1"), "Authorization = \"**********\nx = 1");
        assert_eq!(masked("url = \"http://me:pw@h/v1?key=abc&x=1\""), "url = \"http://*****@h/v1?key=***&x=1\"");
        assert_eq!(masked("a = { api_key = 'abc', b = 1 }"), "a = { api_key = '***', b = 1 }");
        assert_eq!(masked("api_key = { env = \"API_KEY\" }"), "api_key = { env = \"API_KEY\" }");
        assert_eq!(masked("api_key = abc"), "api_key = ***");
        assert_eq!(masked("token = \"${LOGIN}\""), "token = \"${LOGIN}\"");
        assert_eq!(masked("note = \"sk-abcdefghijklmnop\""), "note = \"*******************\"");
        assert_eq!(masked("cookie = \"session=abc; x=1\""), "cookie = \"****************\"");
        assert_eq!(masked("note = \"session=abc; x=1\""), "note = \"session=***; x=1\"");
        assert_eq!(masked("password = \"\"\"a\nb\"\"\"\nx = 1"), "password = \"\"\"*\n*\"\"\"\nx = 1");
    }

    fn at(path: &str, text: &str) -> Option<Position> {
        position(&path.split('.').map(str::to_owned).collect::<Vec<_>>(), text)
    }

    #[test]
    fn positions_of_credentials() {
        assert_eq!(at("backends.a.headers.X-Api-Key", "x"), Some(Position::Header));
        assert_eq!(at("backends.a.headers.X-Team", "bearer x"), Some(Position::Header));
        assert_eq!(at("backends.a.headers.X-Team", "serving"), None);
        assert_eq!(at("backends.a.url", "http://u@h"), Some(Position::UserInfo));
        assert_eq!(at("backends.a.urls.1", "http://h/v1?api-key=1"), Some(Position::Query));
        assert_eq!(at("traffic.0.headers.X-Api-Key", "x"), Some(Position::Header));
        assert_eq!(at("traffic.0.secret_headers.X-Team", "x"), Some(Position::SecretHeader));
        assert_eq!(at("traffic.0.extra_body.user_token", "x"), Some(Position::Body));
        assert_eq!(at("backends.a.url", "http://h/v1?api-key=1"), Some(Position::Query));
        assert_eq!(at("backends.a.url", "http://h/@x?keyboard=1"), None);
        assert_eq!(at("store.url", "abfss://box@account.dfs.core.windows.net/p"), None);
        assert_eq!(at("description", "see http://u:p@h"), Some(Position::Text));
        assert_eq!(at("labels.x", "with sk-0123456789abcdef"), Some(Position::Text));
        assert_eq!(at("labels.x", "risk-averse sk-short http://h/@x"), None);
        assert_eq!(at("backends.a.api_key", "x"), Some(Position::ApiKey));
        assert_eq!(at("backends.a.api_key.env", "sk-abc"), Some(Position::Reference));
        assert_eq!(at("backends.a.api_key.env", "API_KEY"), None);
        assert_eq!(at("backends.a.api_key.prefix", "Bearer "), None);
        assert_eq!(at("backends.a.extra_body.user_token", "x"), Some(Position::Body));
        assert_eq!(at("backends.a.extra_body.max_tokens", "x"), None);
    }
}
