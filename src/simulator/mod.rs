//! The built-in LLM server: continuous batching as a pure step loop, with real HTTP around it.
//!
//! [`core`] decides when each token comes, with integer arithmetic and no clock of its own;
//! [`driver`] plays it against a clock, real or virtual; [`http`] puts it on the wire the way vLLM
//! does; [`child`] runs it as a process of its own, so that it never blurs the client's metrics.

pub mod child;
pub mod clock;
pub mod config;
mod connection;
pub mod core;
pub mod driver;
pub mod fault;
pub mod http;
pub mod log;
pub mod metrics;
pub mod profile;
mod vocabulary;

pub use child::{ChildError, ChildOptions, SimProcess};
pub use config::{SimConfig, SimConfigError};
pub use http::{ServeOptions, serve};
