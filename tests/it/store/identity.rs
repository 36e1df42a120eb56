//! Workload identity: credentials from the metadata server, as in a pod on GKE.
//!
//! Its address is read from the process's environment by the client library, so a child process runs the
//! test's body.

use std::process::Command;

use llm_bench::store::{JSON, Store};

use super::{env, quick};
use crate::support::gcs::GcsServer;
use crate::support::metadata::MetadataServer;

const TOKEN: &str = "ya29.CANARY-of-the-metadata-server";
const STORE_URL: &str = "BENCH_TEST_STORE_ENDPOINT";
const LABEL: &str = "BENCH_TEST_LABEL";

#[test]
fn every_request_carries_the_token_of_the_metadata_server_and_nothing_prints_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (server, metadata) =
        runtime.block_on(async { (GcsServer::start().await, MetadataServer::start(Some(TOKEN)).await) });
    server.require_token(TOKEN);
    let output = child("good", &server, metadata.address.to_string());
    assert!(output.status.success(), "{}", text(&output));
    let log = server.log();
    assert!(log.len() >= 4, "probe, create, list, read: {log:?}");
    for request in &log {
        assert_eq!(request.authorization, format!("Bearer {TOKEN}"), "{} {}", request.method, request.path_and_query);
    }
    assert_eq!(metadata.tokens_given(), 1, "the token is kept until it expires");
    assert!(!text(&output).contains("CANARY"), "{}", text(&output));
}

#[test]
fn a_machine_without_an_identity_is_told_what_to_set() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (server, metadata) = runtime.block_on(async { (GcsServer::start().await, MetadataServer::start(None).await) });
    let output = child("bad", &server, metadata.address.to_string());
    assert!(text(&output).contains("no credentials for the store `gs://bucket/x`"), "{}", text(&output));
    assert!(text(&output).contains("GOOGLE_APPLICATION_CREDENTIALS"), "{}", text(&output));
    assert!(server.log().is_empty(), "no request without credentials");
}

/// Runs [`child_body`] in a process that sees this metadata server and no other credentials.
fn child(label: &str, server: &GcsServer, metadata: String) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["store::identity::child_body", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        .env("GCE_METADATA_HOST", &metadata)
        .env("GCE_METADATA_IP", &metadata)
        .env(STORE_URL, server.url())
        .env(LABEL, label)
        .output()
        .unwrap()
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
#[ignore = "run by the tests above, in a process of its own"]
async fn child_body() {
    let Ok(endpoint) = std::env::var(STORE_URL) else { return };
    let env = env([("GOOGLE_BASE_URL", endpoint), ("GOOGLE_ALLOW_HTTP", "true".into())]);
    let mut options = quick();
    if std::env::var(LABEL).as_deref() == Ok("bad") {
        // No identity comes however long one waits.
        options.limits.open = std::time::Duration::from_secs(3);
    }
    match Store::open_with("gs://bucket/x", &env, options).await {
        Ok(store) => {
            store.create("a.json", "x".into(), JSON).await.unwrap();
            assert_eq!(store.list("").await.unwrap().len(), 1);
            println!("{store:?} {}", store.describe());
        }
        Err(error) => println!("{error} {error:?}"),
    }
}
