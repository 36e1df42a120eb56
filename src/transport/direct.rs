//! The transport of what is measured: each request over the version of HTTP it asks for.

use super::http1::Http1;
use super::http2::Http2;
use super::{
    Ahead, AheadFuture, Cancel, ClockSource, ExchangeFuture, HttpVersion, Outgoing, Pace, Stamping, Transport,
    TransportFacts,
};
use crate::engine::clock::PointClock;
use crate::protocol::Decoder;

/// Connections of one worker.
#[derive(Debug)]
pub struct Direct {
    http1: Http1,
    http2: Http2,
}

impl Direct {
    /// A transport with connections of its own.
    pub fn new(stamping: Stamping) -> Self {
        Self { http1: Http1::new(stamping), http2: Http2::new() }
    }
}

impl Transport for Direct {
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        match request.version {
            HttpVersion::Http1 => self.http1.exchange(request, decoder, clock, cancel),
            HttpVersion::Http2 => self.http2.exchange(request, decoder, clock, cancel),
        }
    }

    fn open_ahead<'a>(&'a self, wanted: &'a [Ahead], pace: &'a Pace, cancel: &'a Cancel) -> AheadFuture<'a> {
        Box::pin(async move {
            for ahead in wanted {
                let wanted = std::slice::from_ref(ahead);
                match ahead.version {
                    HttpVersion::Http1 => self.http1.open_ahead(wanted, pace, cancel).await,
                    HttpVersion::Http2 => self.http2.open_ahead(wanted, pace, cancel).await,
                }
            }
        })
    }

    /// Stamps of a point whose backends differ are no better than the worse of them.
    fn clock_source(&self) -> ClockSource {
        if self.http2.facts().stamps.reads > 0 { self.http2.clock_source() } else { self.http1.clock_source() }
    }

    fn facts(&self) -> TransportFacts {
        let mut facts = self.http1.facts();
        facts.add(&self.http2.facts());
        facts
    }
}
