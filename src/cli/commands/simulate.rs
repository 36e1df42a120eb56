//! `bench simulate`: the built-in LLM server, by hand or as the child behind a `sim:` url.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::args::SimulateArgs;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::simulator::child::{READY, stop_requested};
use crate::simulator::config::SimConfig;
use crate::simulator::http::{ServeOptions, serve};
use crate::tokens;

/// Runs until a signal, or until the parent is gone.
pub fn run(args: &SimulateArgs) -> Exit {
    let config = match SimConfig::parse(&args.profile) {
        Ok(config) => config,
        Err(error) => {
            output::message(&format!("error: --profile: {error}"));
            return Exit::Usage;
        }
    };
    let options = ServeOptions {
        config,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        tokenizer: tokens::builtin(),
        log: args.log.clone(),
    };
    let served = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async {
            let stop = stop_requested(args.die_with_parent)?;
            let ready = |address: SocketAddr| output::result(&format!("{READY}http://{address}"));
            serve(options, ready, stop).await
        })
    });
    match served {
        Ok(()) => Exit::Success,
        Err(error) => {
            let help = if error.kind() == std::io::ErrorKind::AddrInUse {
                format!(": port {} is taken; `--port 0` takes a free one", args.port)
            } else {
                String::new()
            };
            output::message(&format!("error: cannot serve: {error}{help}"));
            Exit::EnvironmentFailed
        }
    }
}
