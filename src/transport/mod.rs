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

pub mod ahead;
mod dial;
mod direct;
pub mod facts;
pub mod http1;
pub mod http2;
pub mod http_client;
mod stamps;

pub use ahead::{Ahead, Pace};
pub use direct::Direct;
pub use facts::TransportFacts;
pub use stamps::StampFacts;

/// Version of HTTP that a request speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.1: a connection to a stream, with the kernel's receive stamps.
    #[default]
    Http1,
    /// HTTP/2: many streams to a connection, with stamps of user space.
    Http2,
}

/// Whose stamps are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamping {
    /// The kernel's, where the system has them.
    #[default]
    Kernel,
    /// Those of user space.
    User,
}

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
    /// Version of HTTP.
    pub version: HttpVersion,
}

/// Why a request never had a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotConnected {
    /// Stable word: `refused`, `dns`, `tls`, `connect_timeout`, `no_descriptors`, `no_ports`, `connect_error`.
    pub code: &'static str,
    /// What the system said.
    pub detail: String,
}

/// What one exchange left behind; the decoder holds the rest.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When a connection was begun for it.
    pub connect_start: Option<Nanos>,
    /// When that connection stood, without TLS.
    pub connected: Option<Nanos>,
    /// When the TLS handshake ended, where there was one.
    pub tls: Option<Nanos>,
    /// When the first byte was taken for writing; of a request that was sent again, for the first time.
    pub sent: Option<Nanos>,
    /// When the response head arrived.
    pub headers: Option<Nanos>,
    /// When it ended.
    pub end: Nanos,
    /// Opened for it, or standing before.
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

    /// The one that is further from the wire.
    pub const fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::HttpClient, _) | (_, Self::HttpClient) => Self::HttpClient,
            (Self::User, _) | (_, Self::User) => Self::User,
            (Self::Kernel, Self::Kernel) => Self::Kernel,
        }
    }
}

/// The future of an exchange.
pub type ExchangeFuture<'a> = Pin<Box<dyn Future<Output = Exchange> + Send + 'a>>;

/// The future of opening connections ahead.
pub type AheadFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

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

    /// Opens connections, TLS included, before the clock of the point starts. A connection that fails is no error: the
    /// request that would have had it opens one of its own, and tells.
    fn open_ahead<'a>(&'a self, _: &'a [Ahead], _: &'a Pace, _: &'a Cancel) -> AheadFuture<'a> {
        Box::pin(std::future::ready(()))
    }

    /// Where it stamped so far.
    fn clock_source(&self) -> ClockSource;

    /// What it knows about itself.
    fn facts(&self) -> TransportFacts {
        TransportFacts::default()
    }
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
