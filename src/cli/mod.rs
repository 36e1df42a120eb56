//! Arguments, environment, terminal, exit codes.

pub mod exit;
