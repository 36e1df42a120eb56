//! Real servers: SeaweedFS for S3 and Azurite for Azure, started by `.ci/stores.sh start`, which writes the
//! variables read here. Without them these tests say so and pass.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use llm_bench::store::{Action, Created, GZIP, JSON, Store, StoreError, StoreOptions};

use super::conformance::{check_all, pattern};
use super::{Env, env, open_error, quick};
use crate::support::proxy::{Break, FaultProxy};

/// A real server: its address, and how the environment points at it.
struct Real {
    url: String,
    endpoint: String,
    endpoint_key: &'static str,
    env: Env,
    /// The variable with the secret.
    secret_key: &'static str,
}

impl Real {
    /// The environment with `key` set to `value`.
    fn with(&self, key: &str, value: &str) -> Env {
        let mut env = self.env.clone();
        env.insert(key.to_string(), value.to_string());
        env
    }

    fn bucket_url(&self, bucket: &str) -> String {
        let (scheme, _) = self.url.split_once("://").unwrap();
        format!("{scheme}://{bucket}/x")
    }

    /// The environment that goes through `proxy`.
    fn through(&self, proxy: &FaultProxy) -> Env {
        let endpoint = self.endpoint.replace(&self.address().to_string(), &proxy.address.to_string());
        self.with(self.endpoint_key, &endpoint)
    }

    fn address(&self) -> SocketAddr {
        let rest = self.endpoint.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn s3() -> Option<Real> {
    let endpoint = variable("BENCH_E2E_S3_ENDPOINT")?;
    Some(Real {
        url: variable("BENCH_E2E_S3_URL")?,
        env: env([
            ("AWS_ENDPOINT", endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", variable("BENCH_E2E_S3_KEY")?),
            ("AWS_SECRET_ACCESS_KEY", variable("BENCH_E2E_S3_SECRET")?),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]),
        endpoint,
        endpoint_key: "AWS_ENDPOINT",
        secret_key: "AWS_SECRET_ACCESS_KEY",
    })
}

fn azure() -> Option<Real> {
    let endpoint = variable("BENCH_E2E_AZURE_ENDPOINT")?;
    Some(Real {
        url: variable("BENCH_E2E_AZURE_URL")?,
        env: env([
            ("AZURE_ENDPOINT", endpoint.clone()),
            ("AZURE_STORAGE_ACCOUNT_NAME", variable("BENCH_E2E_AZURE_ACCOUNT")?),
            ("AZURE_STORAGE_ACCOUNT_KEY", variable("BENCH_E2E_AZURE_KEY")?),
            ("AZURE_ALLOW_HTTP", "true".into()),
        ]),
        endpoint,
        endpoint_key: "AZURE_ENDPOINT",
        secret_key: "AZURE_STORAGE_ACCOUNT_KEY",
    })
}

/// Past the test harness's capture: a skipped check must not look like a passed one.
fn skipped(what: &str) {
    let line =
        format!("SKIPPED (not provisioned): {what}; run .ci/stores.sh start and set the variables of stores.env\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

macro_rules! on_each {
    ($($check:ident),* $(,)?) => {
        mod on_s3 {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                match super::s3() {
                    Some(real) => super::$check(&real).await,
                    None => super::skipped(concat!("S3 ", stringify!($check))),
                }
            }
        )*}
        mod on_azure {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                match super::azure() {
                    Some(real) => super::$check(&real).await,
                    None => super::skipped(concat!("Azure ", stringify!($check))),
                }
            }
        )*}
    };
}

on_each!(
    conforms,
    wrong_credentials_and_missing_buckets_are_told_apart,
    lost_acknowledgements_are_settled,
    resets_are_survived,
    a_stalled_answer_is_tried_again,
    an_upload_in_parts_survives_resets,
);

async fn conforms(real: &Real) {
    check_all(&real.url, &real.env).await;
}

async fn wrong_credentials_and_missing_buckets_are_told_apart(real: &Real) {
    // Well-formed and wrong; base64 for Azure.
    let wrong = real.with(real.secret_key, "d3JvbmctQ0FOQVJZLXNlY3JldA==");
    let error = open_error(&format!("{}/x", real.url), &wrong).await;
    assert!(matches!(error, StoreError::WrongCredentials { .. }), "{error}");
    assert!(!format!("{error:?}").contains("d3JvbmctQ0FOQVJZLXNlY3JldA"), "{error:?}");
    let error = open_error(&real.bucket_url("no-such-bucket"), &real.env).await;
    assert!(matches!(&error, StoreError::NoBucket { bucket, .. } if bucket == "no-such-bucket"), "{error}");
}

/// A folder that no other test uses.
fn fresh(real: &Real) -> String {
    format!("{}/{}", real.url, uuid::Uuid::now_v7())
}

async fn lost_acknowledgements_are_settled(real: &Real) {
    let proxy = FaultProxy::start(real.address()).await;
    let store = Store::open_with(&fresh(real), &real.through(&proxy), quick()).await.unwrap();
    for n in 0..5 {
        proxy.inject("PUT ", 1, Break::LostAcknowledgement);
        let path = format!("lost/{n}.json");
        let created = store.create(&path, "content".into(), JSON).await.unwrap();
        assert_eq!(created, Created::AlreadyThere, "stored by the first attempt, settled by the second");
        assert_eq!(proxy.faults_left(), 0);
        assert_eq!(store.get(&path).await.unwrap().unwrap(), "content");
    }
}

async fn resets_are_survived(real: &Real) {
    let proxy = FaultProxy::start(real.address()).await;
    let store = Store::open_with(&fresh(real), &real.through(&proxy), quick()).await.unwrap();
    let content = pattern(1_000_000, 3);
    // In the headers, and in the body.
    for (n, at) in [20, 400, 100_000, 900_000].into_iter().enumerate() {
        proxy.inject("PUT ", 2, Break::RequestAfter(at));
        let path = format!("reset/{n}");
        store.create(&path, content.clone().into(), JSON).await.unwrap();
        proxy.inject("GET ", 2, Break::AnswerAfter(at));
        assert!(store.get(&path).await.unwrap().unwrap() == content, "cut at {at}");
        assert_eq!(proxy.faults_left(), 0, "cut at {at}");
    }
    proxy.inject("GET ", 2, Break::AnswerAfter(100));
    assert_eq!(store.list("reset").await.unwrap().len(), 4);
}

async fn a_stalled_answer_is_tried_again(real: &Real) {
    let proxy = FaultProxy::start(real.address()).await;
    let timeout_key = real.endpoint_key.replace("ENDPOINT", "TIMEOUT");
    let mut env = real.through(&proxy);
    env.insert(timeout_key, "1s".into());
    let store = Store::open_with(&fresh(real), &env, quick()).await.unwrap();
    // Longer than any test: only the client's timeout ends the exchange.
    proxy.inject("PUT ", 1, Break::Delay(Duration::from_secs(3600)));
    let created = store.create("stall.json", "content".into(), JSON).await.unwrap();
    assert_eq!(created, Created::AlreadyThere);
    proxy.inject("GET ", 1, Break::Delay(Duration::from_secs(3600)));
    assert_eq!(store.get("stall.json").await.unwrap().unwrap(), "content");
    assert_eq!(proxy.faults_left(), 0);
}

async fn an_upload_in_parts_survives_resets(real: &Real) {
    let proxy = FaultProxy::start(real.address()).await;
    let options = StoreOptions { single_put_max_bytes: 1024, part_bytes: 5 * 1024 * 1024, ..quick() };
    let store = Store::open_with(&fresh(real), &real.through(&proxy), options).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("requests.jsonl.gz");
    let content = pattern(12 * 1024 * 1024, 5);
    std::fs::write(&file, &content).unwrap();
    proxy.inject("PUT ", 2, Break::RequestAfter(2_000_000));
    proxy.inject("PUT ", 1, Break::LostAcknowledgement);
    proxy.inject("POST ", 1, Break::LostAcknowledgement);
    store.create_from_file("long.gz", &file, GZIP).await.unwrap();
    assert!(store.get("long.gz").await.unwrap().unwrap() == content);
}

#[tokio::test]
async fn s3_credentials_without_the_right_to_create_are_told() {
    let (Some(real), Some(reader)) = (s3(), variable("BENCH_E2E_S3_READONLY_KEY")) else {
        return skipped("S3 read-only credentials");
    };
    let env = real.with("AWS_ACCESS_KEY_ID", &reader);
    let store = Store::open_with(&fresh(&real), &env, quick()).await.unwrap();
    let error = store.create("a.json", "x".into(), JSON).await.unwrap_err();
    assert!(matches!(&error, StoreError::PermissionDenied { action: Action::Create, .. }), "{error}");

    let error = open_error(&fresh(&real), &real.with("AWS_ACCESS_KEY_ID", "NOSUCHKEY")).await;
    assert!(matches!(error, StoreError::WrongCredentials { .. }), "{error}");
}
