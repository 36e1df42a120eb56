//! One file a command: options in, library calls, text out.

pub mod apply;
pub mod calibrate;
pub mod completions;
pub mod explain;
pub mod import;
pub mod init;
pub mod plan;
pub mod report;
pub mod schema;
pub mod simulate;
pub mod validate;
