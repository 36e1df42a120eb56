//! Host and server facts around a run. Never touches the request path.
//!
//! [`host`] tells whether the client had the processor when it needed it; [`provenance`] tells where a report
//! comes from. The formats of the kernel are parsed by pure functions in [`procfs`] and [`cgroup`].

pub mod cgroup;
pub mod git;
pub mod host;
pub mod preflight;
pub mod procfs;
pub mod provenance;
pub mod redact;
pub mod server;
