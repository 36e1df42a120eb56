//! Pages that are not measured, such as model lists, over `reqwest`.

use std::time::Duration;

use bytes::Bytes;

use super::{HttpVersion, dial};

/// Longest wait for a page.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client.
#[derive(Debug)]
pub struct HttpClient {
    http1: reqwest::Client,
    http2: reqwest::Client,
}

/// A fetched page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Status.
    pub status: http::StatusCode,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct ClientError(String);

impl HttpClient {
    /// A client with its own connections.
    ///
    /// # Errors
    /// When the TLS set-up of the system is unusable.
    pub fn new() -> Result<Self, ClientError> {
        crate::crypto::install();
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
        };
        let built = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| ClientError(describe(&error)));
        Ok(Self { http1: built(builder().http1_only())?, http2: built(builder().http2_prior_knowledge())? })
    }

    /// Fetches a page that is not measured, such as a model list.
    ///
    /// # Errors
    /// A sentence, without the address, when no whole answer came within ten seconds.
    pub async fn get(&self, version: HttpVersion, url: url::Url, headers: http::HeaderMap) -> Result<Page, String> {
        let client = match version {
            HttpVersion::Http1 => &self.http1,
            HttpVersion::Http2 => &self.http2,
        };
        let fetch = async {
            let response = client.get(url).headers(headers).send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok(Page { status, headers, body: response.bytes().await? })
        };
        match tokio::time::timeout(TIMEOUT, fetch).await {
            Ok(page) => page.map_err(|error: reqwest::Error| describe(&error)),
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// The whole chain of causes in one line, without the address: it may hold credentials.
fn describe(error: &reqwest::Error) -> String {
    std::error::Error::source(error).map_or_else(|| "request failed".to_owned(), dial::describe)
}
