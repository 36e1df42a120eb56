//! Integration tests: apply. The real binary, real sockets, real signals.

mod correctness;
mod failures;
pub(crate) mod harness;
mod interruption;
mod llamacpp;
mod loads;
mod probe;
mod requests;
mod runs;
mod scenarios;
mod secrets;
mod server;
mod sessions;
mod stores;
mod validity;
