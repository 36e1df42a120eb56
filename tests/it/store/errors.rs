//! One error for each cause, saying what to do. (Real servers: `real.rs`.)

use std::time::Duration;

use llm_bench::store::{Action, Store, StoreError};

use super::{Env, env, gcs_env, open_error, opens_within, quick};
use crate::support::closed::ClosedPort;
use crate::support::gcs::{Fault, GcsServer, Op};

#[tokio::test]
async fn a_missing_bucket_is_told_from_wrong_credentials_and_weak_ones() {
    let server = GcsServer::start().await;
    let error = open_error("gs://typo/x", &gcs_env(&server)).await;
    assert!(matches!(&error, StoreError::NoBucket { word: "bucket", bucket, .. } if bucket == "typo"), "{error}");

    server.require_token("another-token");
    let error = open_error("gs://bucket/x", &gcs_env(&server)).await;
    assert!(
        matches!(&error, StoreError::WrongCredentials { hint, .. } if hint.contains("`GOOGLE_BEARER_TOKEN`")),
        "{error}"
    );

    let server = GcsServer::start().await;
    server.forbid(Op::List);
    let error = open_error("gs://bucket/x", &gcs_env(&server)).await;
    assert!(matches!(&error, StoreError::PermissionDenied { action: Action::List, .. }), "{error}");

    let server = GcsServer::start().await;
    server.forbid(Op::Get);
    let error = open_error("gs://bucket/x", &gcs_env(&server)).await;
    assert!(matches!(&error, StoreError::PermissionDenied { action: Action::Read, .. }), "{error}");

    let server = GcsServer::start().await;
    server.forbid(Op::Put);
    let store = Store::open_with("gs://bucket/x", &gcs_env(&server), quick()).await.unwrap();
    let error = store.create("a", "x".into(), "text/plain").await.unwrap_err();
    assert!(matches!(&error, StoreError::PermissionDenied { action: Action::Create, .. }), "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let closed = ClosedPort::new();
    let address = closed.address;
    let env = env([
        ("GOOGLE_BASE_URL", format!("http://{address}")),
        ("GOOGLE_BEARER_TOKEN", "t".into()),
        ("GOOGLE_ALLOW_HTTP", "true".into()),
    ]);
    let error = Store::open_with("gs://bucket", &env, opens_within(Duration::from_secs(2))).await.unwrap_err();
    let StoreError::Unreachable { host, reason, .. } = &error else { panic!("{error}") };
    assert_eq!(*host, address.to_string());
    assert_eq!(reason, "no connection (connection refused)");
}

#[tokio::test]
async fn a_server_that_is_no_object_store_is_told() {
    // The metadata server answers 403 or 404 without an error code.
    let server = crate::support::metadata::MetadataServer::start(None).await;
    let mut env = gcs_env(&GcsServer::start().await);
    env.insert("GOOGLE_BASE_URL".into(), format!("http://{}", server.address));
    let error = open_error("gs://bucket", &env).await;
    assert!(matches!(&error, StoreError::PermissionDenied { .. }), "{error}");
}

#[tokio::test]
async fn options_that_cannot_be_used_are_named_and_their_values_are_not() {
    let cases: [(&str, Env, &str); 5] = [
        ("az://c", env([]), "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://b", env([("AWS_ACCESS_KEY_ID", "CANARY".into())]), "AWS_ACCESS_KEY_ID"),
        ("gs://b", env([("GOOGLE_SERVICE_ACCOUNT_KEY", "\"CANARY\"".into())]), "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("gs://b", env([("GOOGLE_SERVICE_ACCOUNT", "/nowhere/CANARY.json".into())]), "GOOGLE_SERVICE_ACCOUNT"),
        (
            "az://c",
            env([
                ("AZURE_STORAGE_ACCOUNT_NAME", "a".into()),
                ("AZURE_STORAGE_ACCOUNT_KEY", "CANARY!not base64".into()),
            ]),
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
    ];
    for (url, env, named) in cases {
        let error = Store::open_with(url, &env, quick()).await.unwrap_err();
        assert!(matches!(error, StoreError::NoCredentials { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
    }
}

#[tokio::test]
async fn a_profile_that_is_not_read_is_explained() {
    let server = GcsServer::start().await;
    let metadata = crate::support::metadata::MetadataServer::start(None).await;
    let env = env([
        ("AWS_PROFILE", "work".into()),
        ("AWS_METADATA_ENDPOINT", format!("http://{}", metadata.address)),
        ("AWS_ENDPOINT", server.url()),
        ("AWS_ALLOW_HTTP", "true".into()),
    ]);
    let error = open_error("s3://bucket", &env).await.to_string();
    assert!(error.contains("`AWS_PROFILE` is not read"), "{error}");
}

/// What S3 answers, and what it means. (The server is the one for GCS: the injected status comes first.)
#[tokio::test]
async fn answers_of_s3_are_told_apart() {
    let kind = |error: &StoreError| match error {
        StoreError::WrongCredentials { .. } => "wrong credentials",
        StoreError::PermissionDenied { .. } => "permission denied",
        StoreError::NoBucket { .. } => "no bucket",
        StoreError::WrongRegion { .. } => "wrong region",
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::Unexpected { .. } => "unexpected",
        _ => "another",
    };
    let cases = [
        (301, "PermanentRedirect", "wrong region"),
        (400, "AuthorizationHeaderMalformed", "wrong region"),
        (400, "ExpiredToken", "wrong credentials"),
        (400, "InvalidArgument", "unexpected"),
        (403, "SignatureDoesNotMatch", "wrong credentials"),
        (403, "InvalidAccessKeyId", "wrong credentials"),
        (403, "RequestTimeTooSkewed", "wrong credentials"),
        (403, "AccessDenied", "permission denied"),
        (404, "NoSuchBucket", "no bucket"),
        (429, "TooManyRequests", "unavailable"),
        (500, "InternalError", "unavailable"),
        (501, "NotImplemented", "unexpected"),
        (503, "SlowDown", "unavailable"),
    ];
    // At once: what can pass is waited for.
    let told = cases.map(async |(status, code, expected)| {
        let server = GcsServer::start().await;
        server.inject(Op::List, 100_000, Fault::Status(status, code));
        let env = env([
            ("AWS_ENDPOINT", server.url()),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
        ]);
        let error = Store::open_with("s3://bucket/x", &env, opens_within(Duration::from_secs(5))).await.unwrap_err();
        assert_eq!(kind(&error), expected, "{status} {code}: {error}");
    });
    futures_util::future::join_all(told).await;
}
