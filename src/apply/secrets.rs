//! References to secrets, resolved at the last moment and kept out of everything printable.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::assets::Assets;
use crate::scenario::file::{OpenaiConfig, SecretRef, TrafficConfig};

/// Why a secret is not at hand. Names the reference, never a value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// The variable of a required reference is not set.
    #[error("`{at}` needs the environment variable `{variable}`, which is not set; set it, or add `optional = true`")]
    MissingVariable {
        /// Key path of the reference.
        at: String,
        /// Name of the variable.
        variable: String,
    },
    /// The file of a required reference cannot be read.
    #[error("`{at}` needs the file `{file}`, which cannot be read: {reason}")]
    UnreadableFile {
        /// Key path of the reference.
        at: String,
        /// The file as the scenario spells it.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The value cannot stand in a header.
    #[error("the secret of `{at}` holds characters that a header cannot carry (a line break in the middle, perhaps)")]
    NotAHeader {
        /// Key path of the reference.
        at: String,
    },
    /// A header name is not one.
    #[error("`{at}`: `{name}` is not a header name")]
    BadName {
        /// Key path of the header.
        at: String,
        /// The name.
        name: String,
    },
}

/// Request headers, and the secrets in them.
#[derive(Debug, Default)]
pub struct Headers {
    /// All headers; secret ones are marked sensitive so that no `Debug` prints them.
    pub headers: HeaderMap,
    /// The secrets alone, to mask them where a server echoes them.
    pub secrets: Vec<SecretString>,
}

/// All request headers of a backend, those of one class of its traffic over them.
///
/// # Errors
/// All references that cannot be resolved, not only the first.
pub fn headers(
    backend: &str,
    config: &OpenaiConfig,
    class: Option<&TrafficConfig>,
    env: &BTreeMap<String, String>,
    assets: &Assets,
) -> Result<Headers, Vec<SecretError>> {
    let mut headers = HeaderMap::new();
    let mut secrets = Vec::new();
    let mut errors = Vec::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = if config.stream { "text/event-stream" } else { "application/json" };
    headers.insert(http::header::ACCEPT, HeaderValue::from_static(accept));
    let agent = concat!("bench/", env!("CARGO_PKG_VERSION"));
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static(agent));
    let own = config.headers.iter().map(|header| (format!("backends.{backend}"), header));
    let over = class
        .into_iter()
        .flat_map(|class| class.headers.iter().map(move |header| (format!("traffic.{}", class.name), header)));
    for (table, (name, value)) in own.chain(over) {
        let at = format!("{table}.headers.{name}");
        match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
            }
            (Err(_), _) => errors.push(SecretError::BadName { at, name: name.clone() }),
            (_, Err(_)) => errors.push(SecretError::NotAHeader { at }),
        }
    }
    let mut secret = |at: String, name: HeaderName, reference: &SecretRef, default_prefix: &str| match resolve(
        &at, reference, env, assets,
    ) {
        Ok(None) => {}
        Ok(Some(value)) => {
            let prefix = reference.prefix.as_deref().unwrap_or(default_prefix);
            match HeaderValue::try_from(format!("{prefix}{}", value.expose_secret())) {
                Ok(mut header) => {
                    header.set_sensitive(true);
                    headers.insert(name, header);
                }
                Err(_) => errors.push(SecretError::NotAHeader { at }),
            }
            secrets.push(value);
        }
        Err(error) => errors.push(error),
    };
    if let Some(reference) = &config.api_key {
        secret(format!("backends.{backend}.api_key"), http::header::AUTHORIZATION, reference, "Bearer ");
    }
    let mut bad_names = Vec::new();
    let own = config.secret_headers.iter().map(|header| (format!("backends.{backend}"), header));
    let over = class
        .into_iter()
        .flat_map(|class| class.secret_headers.iter().map(move |header| (format!("traffic.{}", class.name), header)));
    for (table, (name, reference)) in own.chain(over) {
        let at = format!("{table}.secret_headers.{name}");
        match HeaderName::try_from(name.as_str()) {
            Ok(header) => secret(at, header, reference, ""),
            Err(_) => bad_names.push(SecretError::BadName { at, name: name.clone() }),
        }
    }
    errors.extend(bad_names);
    if errors.is_empty() { Ok(Headers { headers, secrets }) } else { Err(errors) }
}

fn resolve(
    at: &str,
    reference: &SecretRef,
    env: &BTreeMap<String, String>,
    assets: &Assets,
) -> Result<Option<SecretString>, SecretError> {
    let value = match (&reference.env, &reference.file) {
        (Some(variable), _) => match env.get(variable).filter(|value| !value.is_empty()) {
            Some(value) => Some(value.clone()),
            None if reference.optional => None,
            None => {
                return Err(SecretError::MissingVariable { at: at.to_owned(), variable: variable.clone() });
            }
        },
        (None, Some(file)) => match std::fs::read_to_string(assets.locate(file)) {
            Ok(text) => Some(text),
            Err(error) if reference.optional && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(SecretError::UnreadableFile {
                    at: at.to_owned(),
                    file: file.clone(),
                    reason: error.kind().to_string(),
                });
            }
        },
        // The scenario pass has refused a reference with neither.
        (None, None) => None,
    };
    Ok(value.map(|text| SecretString::from(text.trim_end().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> OpenaiConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn headers_carry_secrets_that_do_not_print() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "file-canary\n").unwrap();
        let config = config(
            "url = 'http://x'\napi_key = { env = 'KEY' }\nheaders = { X-Team = 'a' }\n\
             secret_headers = { X-Token = { file = 'token', prefix = 'T ' } }",
        );
        let env = BTreeMap::from([("KEY".to_owned(), "env-canary".to_owned())]);
        let Headers { headers, secrets } = headers("main", &config, None, &env, &Assets::new(folder.path())).unwrap();
        let secrets: Vec<_> = secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(secrets, ["env-canary", "file-canary"]);
        assert_eq!(headers["authorization"], "Bearer env-canary");
        assert_eq!(headers["x-token"], "T file-canary");
        assert_eq!(headers["x-team"], "a");
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn all_missing_references_are_named_at_once() {
        let config = config(
            "url = 'http://x'\napi_key = { env = 'KEY' }\n\
             secret_headers = { A = { file = 'nowhere' }, B = { env = 'B', optional = true } }",
        );
        let errors = headers("main", &config, None, &BTreeMap::new(), &Assets::new(".")).unwrap_err();
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("`backends.main.api_key` needs the environment variable `KEY`"));
        assert!(texts[1].contains("`backends.main.secret_headers.A` needs the file `nowhere`"));
    }
}
