//! `bench`: LLM-inference benchmarks as code.

use std::process::ExitCode;

fn main() -> ExitCode {
    llm_bench::cli::main().into()
}
