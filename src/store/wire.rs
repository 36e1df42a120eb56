//! Sees every HTTP exchange of a bucket, so that an error can be told by what was answered.
//!
//! The client library's errors are text that mixes URLs, bodies and statuses. This connector sits below
//! it and notes, for the operation running in the current task, the last thing that happened: a status
//! with the `<Code>` of its body, or the kind of transport failure. Nothing else is kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

/// Error bodies are a few hundred bytes; a longer one is not an object store's.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

/// The last thing that happened on the wire in one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Host and port that were asked.
    pub(super) host: String,
    /// Whether the request was addressed to the bucket; otherwise it was for credentials.
    pub(super) for_bucket: bool,
    /// What came back.
    pub(super) what: What,
}

/// An answer, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A status; the error code of the body where it is a plain word.
    Status { status: u16, code: Option<String> },
    /// No (complete) answer.
    Transport { reason: String },
}

tokio::task_local! {
    static LAST: Arc<Mutex<Option<Seen>>>;
}

/// Runs `operation` and returns what was last seen on the wire beside its result.
pub(super) async fn observe<T>(operation: impl Future<Output = T>) -> (T, Option<Seen>) {
    let last = Arc::new(Mutex::new(None));
    let result = LAST.scope(last.clone(), operation).await;
    let seen = last.lock().unwrap_or_else(PoisonError::into_inner).take();
    (result, seen)
}

fn note(seen: Seen) {
    // Outside an observed operation (a library's background task) there is nobody to tell.
    let _ = LAST.try_with(|last| *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen));
}

/// Makes HTTP clients that report to [`observe`].
#[derive(Debug)]
pub(super) struct ObservedConnector {
    /// The bucket, to tell its requests from those for credentials.
    pub(super) bucket: String,
    /// Host and port of the bucket's server, for endpoints that do not show the bucket's name.
    pub(super) endpoint: String,
}

impl HttpConnector for ObservedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(ObservedService { inner, bucket: self.bucket.clone(), endpoint: self.endpoint.clone() }))
    }
}

#[derive(Debug)]
struct ObservedService {
    inner: HttpClient,
    bucket: String,
    endpoint: String,
}

impl ObservedService {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri();
        let name = uri.host().unwrap_or_default();
        let host = uri.port_u16().map_or_else(|| name.to_string(), |port| format!("{name}:{port}"));
        let for_bucket = host == self.endpoint
            || name.starts_with(&format!("{}.", self.bucket))
            || uri.path().split('/').any(|part| decoded(part) == self.bucket);
        let seen = |what| Seen { host: host.clone(), for_bucket, what };

        let response = match self.inner.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                note(seen(What::Transport { reason: transport_reason(&error) }));
                return Err(error);
            }
        };
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            note(seen(What::Status { status: status.as_u16(), code: None }));
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ERROR_BODY_BYTES).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        note(seen(What::Status { status: status.as_u16(), code: error_code(&body) }));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body)))
    }
}

impl HttpService for ObservedService {
    fn call<'a, 'f>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(self.exchange(request))
    }
}

fn decoded(part: &str) -> String {
    url::form_urlencoded::parse(format!("x={}", part.replace('+', "%2B")).as_bytes())
        .next()
        .map_or_else(|| part.to_string(), |(_, value)| value.into_owned())
}

/// A fixed sentence for each kind of failure, with the operating system's words where there are any.
pub(super) fn transport_reason(error: &HttpError) -> String {
    let kind = match error.kind() {
        HttpErrorKind::Connect => "no connection",
        HttpErrorKind::Timeout => "no answer in time",
        HttpErrorKind::Interrupted | HttpErrorKind::Request => "the connection broke",
        HttpErrorKind::Decode => "the answer broke off",
        _ => "the request failed",
    };
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            // Only errors of the operating system: their text is a fixed list.
            if let Some(code) = io.raw_os_error() {
                return format!("{kind} ({})", std::io::Error::from_raw_os_error(code).kind());
            }
        }
        if current.is::<rustls::Error>() {
            return format!("{kind} (TLS failed)");
        }
        source = current.source();
    }
    kind.to_string()
}

/// The `<Code>` of an XML error, if it is a plain word: anything else might be an echo of the request.
fn error_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.len() <= 48 && code.bytes().all(|b| b.is_ascii_alphabetic());
    plain.then(|| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_are_taken_as_error_codes() {
        assert_eq!(error_code(b"<Error><Code>NoSuchBucket</Code></Error>").as_deref(), Some("NoSuchBucket"));
        for body in ["", "<Code></Code>", "<Code>see https://x/?sig=abc</Code>", "<Code>A", "no xml"] {
            assert_eq!(error_code(body.as_bytes()), None, "{body}");
        }
        assert_eq!(error_code(&[0xff, 0xfe]), None);
    }

    #[tokio::test]
    async fn the_last_thing_seen_belongs_to_its_own_operation() {
        let seen = |status| Seen { host: "h".into(), for_bucket: true, what: What::Status { status, code: None } };
        let (first, second) = tokio::join!(
            observe(async {
                note(seen(500));
                tokio::task::yield_now().await;
                note(seen(200));
            }),
            observe(async {
                tokio::task::yield_now().await;
                note(seen(404));
            })
        );
        assert_eq!(first.1, Some(seen(200)));
        assert_eq!(second.1, Some(seen(404)));
        assert_eq!(observe(async {}).await.1, None);
    }
}
