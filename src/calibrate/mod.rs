//! How far the numbers of this machine can be trusted: a server that knows the truth, and the real engine against it.
//!
//! The [`metronome`] writes events on an exact schedule in a process of its own and logs when it really wrote them
//! ([`truth`]). A [`cell`] is one load: the engine, as `bench apply` runs it, against that server; [`compare`] puts the
//! stored request records beside the log, request by request. [`run`] looks for the largest loads whose error stays under
//! a bound ([`climb`]), and [`stored`] keeps them, so that reports can say how near a point came to them.

pub mod cell;
pub mod child;
pub mod climb;
#[cfg(target_os = "linux")]
mod clock;
pub mod compare;
#[cfg(target_os = "linux")]
pub mod metronome;
pub mod run;
pub mod stored;
pub mod truth;
