//! Layout of directories and buckets: create-once objects, resume, retries. Judges no result.
//!
//! | part | job |
//! |---|---|
//! | [`Store`] | open and probe a directory or a bucket; create once, get, list |
//! | [`StoreError`] | one kind per cause, each saying what to check; never a credential |
//! | [`layout`] | typed paths of plans, runs, points and reports, and listings read back into them |
//! | [`runs`] | which runs a plan has, which points of them are finished |
//! | [`Spool`] | the local directory in which files are written before they are stored |
//!
//! Rights needed in a bucket: create, get, list. Nothing is ever overwritten or deleted.

mod address;
mod create;
mod error;
pub mod layout;
mod local;
mod multipart;
mod open;
mod options;
mod read;
mod retry;
pub mod runs;
mod spool;
mod wire;

pub use create::Created;
pub use error::{Action, StoreError};
pub use open::Store;
pub use options::{Limits, StoreOptions};
pub use read::ObjectInfo;
pub use spool::{Kept, Spool};

/// Content type of JSON objects.
pub const JSON: &str = "application/json";
/// Content type of `requests.jsonl.gz`.
pub const GZIP: &str = "application/gzip";
