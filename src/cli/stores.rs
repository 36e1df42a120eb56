//! Which store a command means, and a runtime to reach it.

use std::path::Path;

use super::exit::Exit;
use super::load::PlanFile;
use super::output;

/// Where reports go when nobody says anything.
pub const DEFAULT: &str = "./reports";

/// The store a command means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Directory or url.
    pub url: String,
    /// Neither the command line nor the scenario named it.
    pub is_default: bool,
}

/// `--store`, then `[store]` (a directory there is relative to the scenario), then `./reports`.
pub fn address(argument: Option<&str>, file: &PlanFile) -> Address {
    if let Some(url) = argument {
        return Address { url: url.to_owned(), is_default: false };
    }
    match &file.plan.store {
        Some(store) if store.url.contains("://") || Path::new(&store.url).is_absolute() => {
            Address { url: store.url.clone(), is_default: false }
        }
        Some(store) => Address { url: file.folder.join(&store.url).to_string_lossy().into_owned(), is_default: false },
        None => Address { url: DEFAULT.to_owned(), is_default: true },
    }
}

/// A runtime for what waits for a store or a server.
///
/// # Errors
/// Exit code 1, with a message, when the system gives none.
pub fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    crate::crypto::install();
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        output::message(&format!("internal error: no runtime: {error}"));
        Exit::Internal
    })
}
