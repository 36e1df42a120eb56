//! The transport of what is measured: each request over the version of HTTP it asks for.

use super::http1::Http1;
use super::{
    Ahead, AheadFuture, Cancel, ClockSource, ExchangeFuture, Outgoing, Pace, Stamping, Transport, TransportFacts,
};
use crate::engine::clock::PointClock;
use crate::protocol::Decoder;

/// Connections of one worker.
#[derive(Debug)]
pub struct Direct {
    http1: Http1,
}

impl Direct {
    /// A transport with connections of its own.
    pub fn new(stamping: Stamping) -> Self {
        Self { http1: Http1::new(stamping) }
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
        self.http1.exchange(request, decoder, clock, cancel)
    }

    fn open_ahead<'a>(&'a self, wanted: &'a [Ahead], pace: &'a Pace, cancel: &'a Cancel) -> AheadFuture<'a> {
        self.http1.open_ahead(wanted, pace, cancel)
    }

    fn clock_source(&self) -> ClockSource {
        self.http1.clock_source()
    }

    fn facts(&self) -> TransportFacts {
        self.http1.facts()
    }
}
