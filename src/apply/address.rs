//! From the `url` of a backend to the addresses that requests go to.

use url::Url;

/// The root of a backend's API: `/v1` is added to an address without a path.
///
/// # Errors
/// A sentence, when `text` is not an http or https address.
pub fn api_root(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("`{text}` is not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("`{text}` is not an http or https address"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(if path.is_empty() { "/v1" } else { &path });
    Ok(url)
}

/// `path` below the root; a query of the root stays.
pub fn endpoint(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_path(&format!("{}{path}", root.path()));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_and_endpoints() {
        for (text, path, expected) in [
            ("http://h:8000", "/chat/completions", "http://h:8000/v1/chat/completions"),
            ("http://h:8000/", "/models", "http://h:8000/v1/models"),
            ("https://h/openai/v1", "/models", "https://h/openai/v1/models"),
            ("https://h/v1/?api-version=2", "/models", "https://h/v1/models?api-version=2"),
        ] {
            assert_eq!(endpoint(&api_root(text).unwrap(), path).as_str(), expected);
        }
        assert!(api_root("ftp://h").is_err());
        assert!(api_root("localhost:8000").is_err());
    }
}
