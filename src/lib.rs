//! `bench`: LLM-inference benchmarks as code.

pub mod apply;
pub mod assets;
pub mod calibrate;
pub mod cli;
pub mod crypto;
pub mod diagnostic;
pub mod engine;
pub mod measure;
pub mod numerals;
pub mod observe;
pub mod plan;
pub mod protocol;
pub mod report;
pub mod scenario;
pub mod seed;
pub mod simulator;
pub mod store;
pub mod tokens;
pub mod trace;
pub mod transport;
pub mod units;
pub mod workload;
