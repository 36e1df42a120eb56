//! Arguments, environment, terminal, exit codes.

pub mod args;
pub mod env;
pub mod exit;
pub mod output;

pub use args::Cli;
