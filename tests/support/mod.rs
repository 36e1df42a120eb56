//! Servers and tools that several integration tests use.

#![allow(unreachable_pub)]

pub mod closed;
pub mod gcs;
pub mod metadata;
pub mod proxy;
pub mod scripted;
