//! Idle connections of one worker, and what each server does with them.

use url::Url;

use super::connection::Connection;
use crate::transport::dial::Origin;

/// So many idle connections must have been closed by a server that never kept one, before it counts as a server
/// that closes.
const CLOSED_ENOUGH: u32 = 2;

/// Idle connections by origin, the youngest last.
#[derive(Debug, Default)]
pub(super) struct Pool {
    origins: Vec<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    origin: Origin,
    idle: Vec<Connection>,
    /// Answers on a connection that had carried one before.
    kept: u64,
    /// Idle connections that had carried an answer and that the server had closed.
    closed: u32,
}

/// A place in the pool: one per origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Pool {
    /// The place of the origin of `url`.
    pub(super) fn place(&mut self, url: &Url) -> Place {
        let known = self.origins.iter().position(|shelf| shelf.origin.is_of(url));
        Place(known.unwrap_or_else(|| {
            self.origins.push(Shelf { origin: Origin::of(url), idle: Vec::new(), kept: 0, closed: 0 });
            self.origins.len() - 1
        }))
    }

    pub(super) fn origin(&self, place: Place) -> Origin {
        self.origins[place.0].origin.clone()
    }

    /// Takes the youngest idle connection.
    pub(super) fn take(&mut self, place: Place) -> Option<Connection> {
        self.origins[place.0].idle.pop()
    }

    /// Puts back a connection whose answer is complete, unless this server closes them all the same: llama.cpp promises to
    /// keep its connections and closes them, and the next request would meet the end.
    pub(super) fn put(&mut self, place: Place, connection: Connection) {
        if self.keeps(place) {
            self.add(place, connection);
        }
    }

    /// Adds a connection that has carried no request.
    pub(super) fn add(&mut self, place: Place, connection: Connection) {
        self.origins[place.0].idle.push(connection);
    }

    /// Whether the server keeps connections, as far as is known.
    pub(super) fn keeps(&self, place: Place) -> bool {
        let shelf = &self.origins[place.0];
        shelf.kept > 0 || shelf.closed < CLOSED_ENOUGH
    }

    /// A connection that had carried an answer carried another one.
    pub(super) fn was_kept(&mut self, place: Place) {
        self.origins[place.0].kept += 1;
    }

    /// A connection that had carried an answer was found closed.
    pub(super) fn was_closed(&mut self, place: Place) {
        let shelf = &mut self.origins[place.0];
        shelf.closed = shelf.closed.saturating_add(1);
        if !self.keeps(place) {
            self.origins[place.0].idle.retain(Connection::fresh);
        }
    }
}
