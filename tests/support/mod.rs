//! Servers and tools that several integration tests use.

pub mod gcs;
pub mod metadata;
pub mod proxy;
