//! Takes secrets and machine paths out of text that goes into reports.
//!
//! Redaction errs on the side of hiding: a masked harmless value costs a reader a moment, a leaked key costs more.

/// Stands where a secret was.
pub const MASK: &str = "***";

/// Ends of words that name a secret: `api_key`, `X-Amz-Signature`, `accessToken`. Plural `tokens` is a count.
const SECRET_ENDINGS: [&str; 13] = [
    "key",
    "keys",
    "token",
    "secret",
    "secrets",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "credential",
    "credentials",
    "signature",
    "authorization",
];
/// Words that name a secret only when they stand alone.
const SECRET_WORDS: [&str; 8] = ["auth", "bearer", "cookie", "sig", "sas", "jwt", "pat", "pass"];
/// How issued keys begin, so that one in an unexpected place is still found.
const SECRET_PREFIXES: [&str; 16] = [
    "sk-",
    "sk_",
    "hf_",
    "gsk_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "nvapi-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
];
/// Shorter words that begin like an issued key are words.
const SHORTEST_ISSUED_KEY: usize = 16;

/// Whether a setting, header, query parameter or variable of this name is likely to hold a secret.
pub fn looks_secret(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        let lower = word.to_ascii_lowercase();
        SECRET_ENDINGS.iter().any(|ending| lower.ends_with(ending)) || SECRET_WORDS.contains(&lower.as_str())
    })
}

/// A command line for reports: secrets masked, absolute paths reduced to their file name.
pub fn redact_args(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut redacted = Vec::new();
    let mut before = String::new();
    for arg in args {
        redacted.push(redact_arg(&before, &arg));
        before = arg;
    }
    redacted
}

/// One argument; `before` is the argument in front of it.
fn redact_arg(before: &str, arg: &str) -> String {
    if let Some(setting) = arg.strip_prefix("--set=") {
        return format!("--set={}", redact_setting(setting));
    }
    if before == "--set" {
        return redact_setting(arg);
    }
    let value_of_secret_flag = before.starts_with('-') && !before.contains('=') && looks_secret(before);
    if value_of_secret_flag && !arg.starts_with('-') {
        return MASK.to_owned();
    }
    if let Some((name, _)) = arg.split_once('=')
        && looks_secret(name)
        && !name.contains("://")
    {
        return format!("{}={MASK}", redact_text(name));
    }
    redact_text(arg)
}

/// `key.path=value` of `--set`. Header values may hold a credential under any name.
fn redact_setting(setting: &str) -> String {
    match setting.split_once('=') {
        Some((key, _)) if looks_secret(key) || key.split('.').any(|part| part.trim() == "headers") => {
            format!("{key}={MASK}")
        }
        Some((key, value)) => format!("{key}={}", redact_text(value)),
        None => redact_text(setting),
    }
}

/// Any text: userinfo and key-like query parameters of URLs, values assigned to key-like names, words that look like
/// issued keys, absolute paths.
pub fn redact_text(text: &str) -> String {
    redact_paths(&redact_assignments(&redact_issued_keys(&redact_userinfo(text))))
}

/// Masks `user:password@` after each `://`.
fn redact_userinfo(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        output.push_str(head);
        let authority = tail.find(|c: char| "/?#\"'".contains(c) || c.is_whitespace()).unwrap_or(tail.len());
        rest = match tail[..authority].rfind('@') {
            Some(end) => {
                output.push_str(MASK);
                &tail[end..]
            }
            None => tail,
        };
    }
    output.push_str(rest);
    output
}

/// Masks the value in `name=value`, `name = "value"` and `"name": "value"` where `name` looks secret: query parameters
/// of URLs and inline tables of settings.
fn redact_assignments(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (head, tail) = rest.split_at(at + 1);
        output.push_str(head);
        rest = tail;
        if tail.starts_with("//") || !looks_secret(name_before(&head[..at])) {
            continue;
        }
        let value = tail.trim_start();
        output.push_str(&tail[..tail.len() - value.len()]);
        output.push_str(MASK);
        rest = &value[value_length(value)..];
    }
    output.push_str(rest);
    output
}

/// The bare or quoted name that ends `text`.
fn name_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let start = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-.%".contains(c)));
    start.map_or(text, |start| &text[start..])
}

/// Bytes of the quoted string, inline table, array or bare word that `text` begins with.
fn value_length(text: &str) -> usize {
    let closing = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => return text[1..].find(quote).map_or(text.len(), |end| end + 2),
        Some('{') => '}',
        Some('[') => ']',
        _ => return text.find(|c: char| "&,;}]#\"'".contains(c) || c.is_whitespace()).unwrap_or(text.len()),
    };
    // The last one: nested values go with it.
    text.rfind(closing).map_or(text.len(), |end| end + 1)
}

/// Masks words with the shape of an issued key, JSON web tokens, and what follows `Bearer` or `Basic`.
fn redact_issued_keys(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut after_scheme = false;
    for piece in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))) {
        let word_end = piece.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).len();
        let (word, end) = piece.split_at(word_end);
        let issued = word.len() >= SHORTEST_ISSUED_KEY
            && (SECRET_PREFIXES.iter().any(|prefix| word.starts_with(prefix))
                || (word.starts_with("eyJ") && word.contains('.')));
        let secret = !word.is_empty() && (issued || after_scheme);
        output.push_str(if secret { MASK } else { word });
        output.push_str(end);
        if !word.is_empty() {
            after_scheme = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
        }
    }
    output
}

/// Reduces absolute paths to their file name, wherever they begin in `text`.
fn redact_paths(text: &str) -> String {
    if text.starts_with('/') || text.starts_with("~/") || is_windows_path(text) {
        return file_name(text).to_owned();
    }
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let (head, tail) = rest.split_at(at);
        let before = head.chars().next_back();
        let home = before == Some('~');
        let end = tail.find(|c: char| "\"',;}])".contains(c) || c.is_whitespace()).unwrap_or(tail.len());
        let remote = tail.starts_with("//") && before == Some(':') && !head.ends_with("file:");
        let absolute = home || before.is_none_or(|c| "=\"',:;([{@".contains(c) || c.is_whitespace());
        // A relative path or an address is copied whole, so that its inner slashes are not looked at again.
        let kept = if absolute && !remote { file_name(&tail[..end]) } else { &tail[..end] };
        output.push_str(if home { &head[..at - 1] } else { head });
        output.push_str(kept);
        rest = &tail[end..];
    }
    output.push_str(rest);
    output
}

fn is_windows_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.starts_with("\\\\") || (bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && &bytes[1..3] == b":\\")
}

/// The last component of a path of any system; a root has none and stays `/`.
pub fn file_name(path: &str) -> &str {
    let name = path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    if name.is_empty() { "/" } else { name }
}

/// A path for a report: a relative one as it was given, an absolute one by its file name.
pub fn path_for_report(given: &str) -> &str {
    let absolute = given.starts_with(['/', '\\']) || given.starts_with("~/") || is_windows_path(given);
    if absolute { file_name(given) } else { given }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(line: &[&str]) -> Vec<String> {
        redact_args(line.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn names_of_secrets() {
        for name in [
            "api_key",
            "apiKey",
            "X-Amz-Signature",
            "OPENAI_API_KEY",
            "HF_TOKEN",
            "backends.main.api_key",
            "sig",
            "Authorization",
            "proxy-authorization",
            "client_secret",
            "password",
            "AccountKey",
            "secret_headers.X-Org",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in
            ["input_tokens", "max_tokens", "tokenizer", "author", "keyboard", "load.rate_per_s", "url", "signal"]
        {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn settings_on_the_command_line() {
        let cases = [
            ("backends.main.api_key=CANARY", "backends.main.api_key=***"),
            ("backends.main.api_key=CAN ARY,x", "backends.main.api_key=***"),
            ("backends.main.headers.X-Org=CANARY", "backends.main.headers.X-Org=***"),
            ("backends.main.headers={ X-Org = \"CANARY\" }", "backends.main.headers=***"),
            ("load.rate_per_s=4", "load.rate_per_s=4"),
            (
                "workloads.chat.output_tokens={ kind = \"fixed\", value = 9 }",
                "workloads.chat.output_tokens={ kind = \"fixed\", value = 9 }",
            ),
            (
                "backends.main={ url = \"http://h/v1\", api_key = \"CANARY\" }",
                "backends.main={ url = \"http://h/v1\", api_key = *** }",
            ),
            ("backends.main.url=https://u:CANARY@h:1/v1?x=1", "backends.main.url=https://***@h:1/v1?x=1"),
            ("backends.main.url=https://u:CAN@ARY@h/v1", "backends.main.url=https://***@h/v1"),
            (
                "backends.main.url=https://h/v1?a=1&api-key=CANARY&b=2",
                "backends.main.url=https://h/v1?a=1&api-key=***&b=2",
            ),
            ("store.url=az://c/p?sv=1&sig=CANARY", "store.url=az://c/p?sv=1&sig=***"),
            ("tokenizers.t.path=/home/me/models/tokenizer.json", "tokenizers.t.path=tokenizer.json"),
            (
                "tokenizers.t={ path = \"/home/me/tokenizer.json\", kind = \"file\" }",
                "tokenizers.t={ path = \"tokenizer.json\", kind = \"file\" }",
            ),
            ("description=\"Authorization:  Basic  CANARY\"", "description=\"Authorization:  ***  ***\""),
            ("description=\"Authorization: Bearer CANARY\"", "description=\"Authorization: *** ***\""),
        ];
        for (given, expected) in cases {
            assert_eq!(redacted(&["--set", given]), ["--set", expected]);
            assert_eq!(redacted(&[&format!("--set={given}")]), [format!("--set={expected}")]);
        }
    }

    #[test]
    fn other_arguments() {
        let line =
            ["/opt/bin/bench", "apply", "/data/x/curve.toml", "--store", "gs://bucket/prefix", "--run-id=nightly-1"];
        let expected = ["bench", "apply", "curve.toml", "--store", "gs://bucket/prefix", "--run-id=nightly-1"];
        assert_eq!(redacted(&line), expected);
        assert_eq!(redacted(&["--api-key", "CANARY", "--strict"]), ["--api-key", "***", "--strict"]);
        assert_eq!(redacted(&["--api-key", "--strict"]), ["--api-key", "--strict"]);
        assert_eq!(redacted(&["--hf-token=CANARY"]), ["--hf-token=***"]);
        assert_eq!(
            redacted(&["--store=/var/reports/", "scenarios/curve.toml"]),
            ["--store=reports", "scenarios/curve.toml"]
        );
        assert_eq!(redacted(&["file:///home/me/reports"]), ["file:reports"]);
        assert_eq!(redacted(&["~/reports", "--store=~/reports"]), ["reports", "--store=reports"]);
        assert_eq!(redacted(&["C:\\Users\\me\\curve.toml"]), ["curve.toml"]);
        assert_eq!(redacted(&["../shared/base.toml", "/"]), ["../shared/base.toml", "/"]);
    }

    #[test]
    fn issued_keys_anywhere() {
        for key in ["sk-abcdefghijklmnop", "hf_abcdefghijklmnop", "AKIAABCDEFGHIJKLMNOP", "eyJhbGciOiJI.eyJzdWIi.c2ln"]
        {
            assert_eq!(redact_text(&format!("note {key} end")), "note *** end");
            assert_eq!(redact_text(&format!("https://h/{key}/v1")), "https://h/***/v1");
        }
        assert_eq!(redact_text("sk-short and ASIA"), "sk-short and ASIA");
    }

    #[test]
    fn paths_of_reports() {
        for (given, expected) in [
            ("scenarios/curve.toml", "scenarios/curve.toml"),
            ("/home/me/curve.toml", "curve.toml"),
            ("~/curve.toml", "curve.toml"),
            ("C:\\me\\curve.toml", "curve.toml"),
        ] {
            assert_eq!(path_for_report(given), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in any::<String>(), odd in "[=:/@?&\"'{}\\[\\]~a-zé ]{0,40}") {
            redact_text(&text);
            redact_text(&odd);
            redact_args([text, odd]);
        }

        #[test]
        fn a_credential_of_an_address_never_stays(
            before in "[a-z =\"]{0,8}", user in "[a-zA-Z0-9%._-]{0,8}", host in "[a-z]{1,8}(:[0-9]{1,4})?", name in "[a-z]{0,5}[_-]?key",
        ) {
            for text in [
                format!("{before}https://{user}:CANARY@{host}/v1"),
                format!("{before}https://{host}/v1?a=1&{name}=CANARY"),
                format!("{before}https://{host}/v1?{name}=CANARY&b=2"),
            ] {
                let redacted = redact_text(&text);
                prop_assert!(!redacted.contains("CANARY"), "{} became {}", text, redacted);
                // `pwd:8000` and `key="https://…` read as a setting and its value, which goes whole.
                let by_chance = looks_secret(&host) || looks_secret(&before);
                prop_assert!(by_chance || redacted.contains(&host), "{} became {}", text, redacted);
            }
        }
    }

    #[test]
    fn odd_text_is_survived() {
        for text in ["", "=", "://", "http://@", "key=", "a=b=c", "é=ü/ö", "\"token\":", "key={", "key=\"x", "bearer"]
        {
            let _ = redact_text(text);
        }
    }
}
