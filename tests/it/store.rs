//! Integration tests: store.

mod conformance;
mod errors;
mod faults;
mod gcs_suite;
mod identity;
mod local;
mod real;
mod secrets;

use std::collections::BTreeMap;
use std::time::Duration;

use llm_bench::store::{Limits, Store, StoreError, StoreOptions};

use crate::support::gcs::GcsServer;

/// The environment of a store.
type Env = BTreeMap<String, String>;

fn env<const N: usize>(pairs: [(&str, String); N]) -> Env {
    pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// What points a store at the GCS server.
fn gcs_env(server: &GcsServer) -> Env {
    env([
        ("GOOGLE_BASE_URL", server.url()),
        ("GOOGLE_BEARER_TOKEN", "token-of-the-tests".into()),
        ("GOOGLE_ALLOW_HTTP", "true".into()),
    ])
}

/// Short pauses, so that faults cost milliseconds; budgets that a loaded machine does not use up.
fn quick() -> StoreOptions {
    StoreOptions {
        limits: Limits {
            open: Duration::from_secs(30),
            retry: Duration::from_secs(30),
            first_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(20),
        },
        ..StoreOptions::default()
    }
}

/// Opens patiently and gives up soon afterwards: for faults that do not end.
fn gives_up_soon() -> StoreOptions {
    let mut options = quick();
    options.limits.retry = Duration::from_secs(2);
    options
}

/// Opens within this time or gives up: for faults that do not end. What must be heard of them needs time to come.
fn opens_within(open: Duration) -> StoreOptions {
    let mut options = quick();
    options.limits.open = open;
    options
}

async fn open(url: &str, env: &Env) -> Store {
    Store::open_with(url, env, quick()).await.unwrap()
}

async fn open_error(url: &str, env: &Env) -> StoreError {
    Store::open_with(url, env, quick()).await.expect_err("opening must fail")
}
