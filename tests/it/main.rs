//! One integration-test binary: it links once. One file a subject.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod apply;
mod calibrate;
mod captures;
mod cli;
mod diagnostics;
mod docs;
mod faults;
mod k8s;
mod plan;
mod report;
mod simulator;
mod store;
mod trace;
mod workload;

#[path = "../support/mod.rs"]
mod support;
