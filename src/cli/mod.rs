//! Arguments, environment, terminal, exit codes.
