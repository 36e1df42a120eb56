//! Servers that fail in every way, against the transport alone and against whole points.

pub(crate) mod page;

mod answers;
mod client;
mod connections;
mod floods;
mod http2;
mod points;
mod script;
mod stamps;
mod table;
mod tls;
mod transport;
