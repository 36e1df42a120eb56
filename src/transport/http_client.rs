//! Transport over `reqwest`.
//!
//! What it can stamp, and what not: a response byte is stamped where the client library hands it
//! over, one task switch after the read (`clock.source = "http-client"`); `sent` is the moment the
//! connection takes the body for writing; a connection is stamped through the connector hook, TLS
//! included.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use super::{Cancel, ClockSource, Exchange, ExchangeFuture, NotConnected, Outgoing, Transport};
use crate::engine::clock::PointClock;
use crate::measure::timeline::ConnectionUse;
use crate::protocol::{BodyEnd, Decoder, reason};
use crate::units::Nanos;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker's HTTP client.
#[derive(Debug)]
pub struct HttpClient {
    client: reqwest::Client,
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
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // A retry hidden in a layer would merge two requests into one measurement.
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            // Servers close idle connections after 5 s (uvicorn, llama.cpp); a younger limit keeps
            // most closed ones out of the pool.
            .pool_idle_timeout(Duration::from_secs(4))
            .connector_layer(ConnectStampLayer)
            .build()
            .map_err(|error| ClientError(describe(&error)))?;
        Ok(Self { client })
    }

    /// Fetches a page that is not measured, such as a model list.
    ///
    /// # Errors
    /// A sentence, without the address, when no whole answer came within ten seconds.
    pub async fn get(&self, url: url::Url, headers: http::HeaderMap) -> Result<Page, String> {
        let fetch = async {
            let response = self.client.get(url).headers(headers).send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok(Page { status, headers, body: response.bytes().await? })
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, fetch).await {
            Ok(page) => page.map_err(|error: reqwest::Error| describe(&error)),
            Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
        }
    }

    async fn attempt(
        &self,
        request: &Outgoing,
        decoder: &mut dyn Decoder,
        clock: &PointClock,
        cancel: &Cancel,
    ) -> Attempt {
        let probe = Arc::new(Probe::new(*clock));
        let body = StampedBody { data: Some(request.body.clone()), probe: Arc::clone(&probe) };
        let sending = self
            .client
            .post(request.url.clone())
            .headers(request.headers.clone())
            .body(reqwest::Body::wrap(body))
            .send();
        let mut attempt =
            Attempt { probe: Arc::clone(&probe), headers: None, answered: false, ended: None, reusable_error: false };
        let deadline = probe.deadline(request.timeout);
        tokio::pin!(deadline);
        let sending = PROBE.scope(Arc::clone(&probe), sending);
        let response = tokio::select! {
            biased;
            response = sending => response,
            () = &mut deadline => { attempt.ended = Some(Ok(BodyEnd::TimedOut)); return attempt; }
            why = cancel.cancelled() => { attempt.ended = Some(Ok(BodyEnd::Cancelled(why))); return attempt; }
        };
        let mut response = match response {
            Ok(response) => response,
            Err(error) => {
                attempt.reusable_error = closed_before_answer(&error);
                attempt.ended = Some(send_error(&error));
                return attempt;
            }
        };
        attempt.headers = Some(clock.now());
        attempt.answered = true;
        decoder.head(response.status(), response.headers());
        let end = loop {
            let chunk = tokio::select! {
                biased;
                chunk = response.chunk() => chunk,
                () = &mut deadline => break BodyEnd::TimedOut,
                why = cancel.cancelled() => break BodyEnd::Cancelled(why),
            };
            match chunk {
                Ok(Some(bytes)) => decoder.data(&bytes, clock.now()),
                Ok(None) => break BodyEnd::Complete,
                Err(error) => break body_error(&error),
            }
        };
        attempt.ended = Some(Ok(end));
        attempt
    }
}

impl Transport for HttpClient {
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        Box::pin(async move {
            let mut resent = false;
            let mut attempt = self.attempt(request, decoder, clock, cancel).await;
            if attempt.reusable_error && !attempt.answered && attempt.probe.connected().is_none() {
                resent = true;
                attempt = self.attempt(request, decoder, clock, cancel).await;
            }
            let probe = &attempt.probe;
            let connected = probe.connected();
            let sent = probe.sent();
            Exchange {
                connect_start: probe.connect_start(),
                connected,
                tls: None,
                sent,
                headers: attempt.headers,
                end: clock.now(),
                connection: match (connected, sent) {
                    (Some(connected), Some(sent)) if connected <= sent => ConnectionUse::Opened,
                    (_, Some(_)) => ConnectionUse::Reused,
                    (_, None) => ConnectionUse::Unknown,
                },
                resent,
                ended: attempt.ended.unwrap_or_else(|| Ok(BodyEnd::Cut("no end was seen".to_owned()))),
            }
        })
    }

    fn clock_source(&self) -> ClockSource {
        ClockSource::HttpClient
    }
}

struct Attempt {
    probe: Arc<Probe>,
    headers: Option<Nanos>,
    answered: bool,
    ended: Option<Result<BodyEnd, NotConnected>>,
    reusable_error: bool,
}

tokio::task_local! {
    /// The request whose task polls the connector: a connection begun by it is its own.
    static PROBE: Arc<Probe>;
}

/// Stamps of a request that are taken inside the client library. `u64::MAX` means not taken.
#[derive(Debug)]
struct Probe {
    clock: PointClock,
    connect_start: AtomicU64,
    connected: AtomicU64,
    sent: AtomicU64,
    was_sent: Notify,
}

const NOT_TAKEN: u64 = u64::MAX;

impl Probe {
    fn new(clock: PointClock) -> Self {
        Self {
            clock,
            connect_start: AtomicU64::new(NOT_TAKEN),
            connected: AtomicU64::new(NOT_TAKEN),
            sent: AtomicU64::new(NOT_TAKEN),
            was_sent: Notify::new(),
        }
    }

    fn take(stamp: &AtomicU64, now: Nanos) {
        let _ = stamp.compare_exchange(NOT_TAKEN, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn read(stamp: &AtomicU64) -> Option<Nanos> {
        let at = stamp.load(Ordering::Relaxed);
        (at != NOT_TAKEN).then_some(at)
    }

    fn connect_start(&self) -> Option<Nanos> {
        Self::read(&self.connect_start)
    }

    fn connected(&self) -> Option<Nanos> {
        Self::read(&self.connected)
    }

    fn sent(&self) -> Option<Nanos> {
        Self::read(&self.sent)
    }

    /// Ends `timeout` after the first byte was sent: a request that waits for its connection is not
    /// running against the server's time yet.
    async fn deadline(&self, timeout: Duration) {
        self.was_sent.notified().await;
        tokio::time::sleep(timeout).await;
    }
}

/// The request body; being polled is being written.
struct StampedBody {
    data: Option<Bytes>,
    probe: Arc<Probe>,
}

impl Body for StampedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Probe::take(&self.probe.sent, self.probe.clock.now());
        self.probe.was_sent.notify_one();
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

#[derive(Clone, Copy, Debug)]
struct ConnectStampLayer;

impl<S> tower_layer::Layer<S> for ConnectStampLayer {
    type Service = ConnectStamp<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnectStamp { inner }
    }
}

#[derive(Clone, Debug)]
struct ConnectStamp<S> {
    inner: S,
}

impl<S, Request> tower_service::Service<Request> for ConnectStamp<S>
where
    S: tower_service::Service<Request>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let probe = PROBE.try_with(Arc::clone).ok();
        if let Some(probe) = &probe {
            Probe::take(&probe.connect_start, probe.clock.now());
        }
        let connecting = self.inner.call(request);
        Box::pin(async move {
            let connection = connecting.await;
            if let (Some(probe), true) = (&probe, connection.is_ok()) {
                Probe::take(&probe.connected, probe.clock.now());
            }
            connection
        })
    }
}

/// The whole chain of causes in one line, without the address: it may hold credentials.
fn describe(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut source: Option<&dyn StdError> = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        source = cause.source();
    }
    if parts.is_empty() { "request failed".to_owned() } else { parts.join(": ") }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// A kept-alive connection that the server had closed: not a failed request.
fn closed_before_answer(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            return hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed();
        }
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| {
            matches!(
                io.kind(),
                std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::BrokenPipe
                    | std::io::ErrorKind::ConnectionAborted
                    | std::io::ErrorKind::NotConnected
            )
        })
    })
}

fn send_error(error: &reqwest::Error) -> Result<BodyEnd, NotConnected> {
    let detail = describe(error);
    if error.is_connect() || error.is_timeout() {
        let code = if error.is_timeout() {
            reason::CONNECT_TIMEOUT
        } else if causes(error)
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            reason::REFUSED
        } else if detail.contains("dns error") || detail.contains("failed to lookup") {
            reason::DNS
        } else if causes(error).any(|cause| cause.is::<rustls::Error>()) || detail.contains("certificate") {
            reason::TLS
        } else {
            reason::CONNECT_ERROR
        };
        return Err(NotConnected { code, detail });
    }
    Ok(body_error(error))
}

fn body_error(error: &reqwest::Error) -> BodyEnd {
    let malformed = causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|hyper| hyper.is_parse() && !hyper.is_incomplete_message());
    if malformed { BodyEnd::Malformed(describe(error)) } else { BodyEnd::Cut(describe(error)) }
}
