//! The transport of the engine with the decoder of a protocol, without the rest of the engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_bench::engine::clock::PointClock;
use llm_bench::measure::timeline::{Answer, Outcome};
use llm_bench::protocol::openai::completions::OpenaiCompletions;
use llm_bench::protocol::{BodyEnd, BodyOptions, Decoder, Protocol};
use llm_bench::transport::{Cancel, Direct, Exchange, HttpVersion, Outgoing, Stamping, Transport};
use llm_bench::units::Nanos;
use tokio::runtime::Runtime;

/// Longer than any test takes.
pub(super) const PATIENT: Duration = Duration::from_secs(60);

/// One worker's transport on its own runtime.
pub(super) struct Client {
    pub(super) transport: Arc<Direct>,
    pub(super) clock: PointClock,
    pub(super) cancel: Cancel,
    pub(super) runtime: Runtime,
    pub(super) timeout: Duration,
}

/// An exchange and what the decoder made of it.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) exchange: Exchange,
    pub(super) answer: Answer,
}

impl Got {
    /// Outcome and reason code.
    pub(super) fn end(&self) -> (Outcome, Option<&str>) {
        (self.answer.outcome, self.answer.reason.as_ref().map(|reason| reason.code.as_str()))
    }

    pub(super) fn detail(&self) -> &str {
        self.answer.reason.as_ref().and_then(|reason| reason.detail.as_deref()).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        self.answer.events.iter().map(|event| &*event.text).collect()
    }
}

impl Client {
    pub(super) fn new(stamping: Stamping) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let transport = Arc::new(Direct::new(stamping));
        Self { transport, clock: PointClock::starting_in(0), cancel: Cancel::default(), runtime, timeout: PATIENT }
    }

    pub(super) fn outgoing(&self, url: &str, body: impl Into<Bytes>) -> Outgoing {
        Outgoing {
            url: format!("{url}/v1/completions").parse().unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
            timeout: self.timeout,
            version: HttpVersion::Http1,
        }
    }

    pub(super) fn ask(&self, url: &str, body: &str) -> Got {
        self.send(&self.outgoing(url, body.to_owned()), decoder())
    }

    pub(super) fn send(&self, request: &Outgoing, decoder: Box<dyn Decoder>) -> Got {
        self.runtime.block_on(self.exchange(request, decoder))
    }

    pub(super) async fn exchange(&self, request: &Outgoing, mut decoder: Box<dyn Decoder>) -> Got {
        let exchange = self.transport.exchange(request, decoder.as_mut(), &self.clock, &self.cancel).await;
        let answer = match exchange.ended.clone() {
            Ok(end) => decoder.finish(end),
            Err(failure) => Answer::none(Outcome::ConnectFailed, failure.code, Some(failure.detail)),
        };
        Got { exchange, answer }
    }
}

/// A decoder of streamed completions.
pub(super) fn decoder() -> Box<dyn Decoder> {
    OpenaiCompletions::new(&BodyOptions { stream: true, usage: true, ..BodyOptions::default() }).decoder()
}

type OnData = Box<dyn FnMut(&[u8], Nanos) + Send>;

/// A decoder that a test watches, or holds up.
pub(super) struct Watched {
    inner: Box<dyn Decoder>,
    on_data: OnData,
}

impl Watched {
    pub(super) fn new(on_data: impl FnMut(&[u8], Nanos) + Send + 'static) -> Box<Self> {
        Box::new(Self { inner: decoder(), on_data: Box::new(on_data) })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Decoder for Watched {
    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.inner.head(status, headers);
    }
    fn data(&mut self, bytes: &[u8], at: Nanos) {
        self.inner.data(bytes, at);
        (self.on_data)(bytes, at);
    }
    fn finish(&mut self, end: BodyEnd) -> Answer {
        self.inner.finish(end)
    }
}
