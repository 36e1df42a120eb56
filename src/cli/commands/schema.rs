//! `bench schema`: prints a JSON schema as it is committed under schema/.

use crate::cli::args::{SchemaArgs, SchemaName};
use crate::cli::exit::Exit;
use crate::cli::output;

/// Runs the command.
pub fn run(args: &SchemaArgs) -> Exit {
    output::result(text(args.which));
    Exit::Success
}

/// The committed schema; tests prove it current.
pub const fn text(which: SchemaName) -> &'static str {
    match which {
        SchemaName::Scenario => include_str!("../../../schema/scenario.v1.json"),
        SchemaName::Report => include_str!("../../../schema/report.v1.json"),
        SchemaName::Plan => include_str!("../../../schema/plan.v1.json"),
        SchemaName::Requests => include_str!("../../../schema/requests.v1.json"),
        SchemaName::Trace => include_str!("../../../schema/trace.v1.json"),
    }
}
