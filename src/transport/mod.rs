//! Joins a protocol to a connection. Replaceable: the engine knows this trait, a transport knows no
//! protocol beyond [`Decoder`].

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::engine::clock::PointClock;
use crate::measure::timeline::ConnectionUse;
use crate::protocol::{BodyEnd, Decoder};
use crate::units::Nanos;

pub mod http_client;

/// A request as it goes on the wire.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Full address.
    pub url: Url,
    /// All headers; secret values are marked sensitive.
    pub headers: HeaderMap,
    /// The body, ready before it is due.
    pub body: Bytes,
    /// Time from the first byte sent to the last byte received.
    pub timeout: Duration,
}

/// Why a request never had a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotConnected {
    /// Stable word: `refused`, `dns`, `tls`, `connect_timeout`, `connect_error`.
    pub code: &'static str,
    /// What the system said.
    pub detail: String,
}

/// What one exchange left behind; the decoder holds the rest.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When a connection was begun for it.
    pub connect_start: Option<Nanos>,
    /// When that connection stood (TLS included where this transport cannot tell).
    pub connected: Option<Nanos>,
    /// When the TLS handshake ended, where this transport can tell.
    pub tls: Option<Nanos>,
    /// When the first byte was taken for writing.
    pub sent: Option<Nanos>,
    /// When the response head arrived.
    pub headers: Option<Nanos>,
    /// When it ended.
    pub end: Nanos,
    /// Opened for it, or kept alive.
    pub connection: ConnectionUse,
    /// Whether it was sent a second time because a kept-alive connection had been closed before one
    /// byte of the answer came.
    pub resent: bool,
    /// How the answer ended, or why there was no connection.
    pub ended: Result<BodyEnd, NotConnected>,
}

/// Where stamps of received data are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// Receive timestamps of the kernel.
    Kernel,
    /// User space, where the read on the socket returned.
    User,
    /// User space, where an HTTP client library handed over the bytes.
    HttpClient,
}

impl ClockSource {
    /// Its name in a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
            Self::HttpClient => "http-client",
        }
    }
}

/// The future of an exchange.
pub type ExchangeFuture<'a> = Pin<Box<dyn Future<Output = Exchange> + Send + 'a>>;

/// Sends requests of one worker and stamps what comes back.
pub trait Transport: Debug + Send + Sync {
    /// Sends `request`, feeds `decoder` and returns when the answer ended in any way. Never retries
    /// beyond the one re-send that [`Exchange::resent`] reports.
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a>;

    /// Where it stamps.
    fn clock_source(&self) -> ClockSource;
}

/// Tells an exchange to give up, and why.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    token: CancellationToken,
    why: std::sync::Arc<std::sync::OnceLock<&'static str>>,
}

impl Cancel {
    /// Gives every exchange up; the first reason stays.
    pub fn cancel(&self, why: &'static str) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Waits for [`Self::cancel`] and returns its reason.
    pub async fn cancelled(&self) -> &'static str {
        self.token.cancelled().await;
        self.why.get().copied().unwrap_or("cancelled")
    }

    /// The reason, once given up.
    pub fn reason(&self) -> Option<&'static str> {
        if self.token.is_cancelled() { Some(self.why.get().copied().unwrap_or("cancelled")) } else { None }
    }
}
