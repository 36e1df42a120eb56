//! Plan to engine to measure to report to store: converge, resume, order.
//!
//! [`apply`] chooses a run in the store ([`held`]), makes the servers ready and probes them
//! ([`servers`], [`probe`]), measures the points that are missing one after another ([`point`]) and
//! stores each as it finishes. It tells an observer what happens and prints nothing.

pub mod address;
pub mod error;
pub mod event;
pub mod held;
pub mod mask;
pub mod point;
pub mod probe;
mod run;
pub mod secrets;
pub mod servers;

pub use error::ApplyError;
pub use event::{Event, Progress};
pub use held::RunMode;
pub use run::{Applied, Options, apply};
