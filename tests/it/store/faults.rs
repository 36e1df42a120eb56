//! Faults that pass are survived, faults that stay are told, and nothing is ever written twice.

use std::time::Duration;

use llm_bench::store::{Created, GZIP, JSON, Store, StoreError, StoreOptions};

use super::conformance::pattern;
use super::{gcs_env, gives_up_soon, open, quick};
use crate::support::gcs::{Fault, GcsServer, Op};

const PATH: &str = "s/p/runs/r/plan.json";

async fn gcs() -> (GcsServer, Store) {
    let server = GcsServer::start().await;
    let store = open("gs://bucket/x", &gcs_env(&server)).await;
    (server, store)
}

/// Every fault that a create may meet and survive, several in a row.
#[tokio::test]
async fn a_create_survives_faults_that_pass() {
    for fault in [
        Fault::Status(429, "SlowDown"),
        Fault::Status(503, "ServiceUnavailable"),
        Fault::Status(500, "InternalError"),
        Fault::Status(408, "RequestTimeout"),
        Fault::DropRequest,
        Fault::LostAcknowledgement,
    ] {
        for times in [1, 4, 9] {
            let (server, store) = gcs().await;
            server.inject(Op::Put, times, fault.clone());
            let created = store.create(PATH, "plan".into(), JSON).await;
            assert!(created.is_ok(), "{fault:?} x {times}: {created:?}");
            assert_eq!(server.object(&format!("x/{PATH}")).unwrap(), "plan", "{fault:?}");
            assert_eq!(server.generations(&format!("x/{PATH}")), 1, "{fault:?}: written once");
            assert_eq!(server.faults_left(), 0, "{fault:?} x {times}: each was met");
        }
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_is_settled_by_reading_back() {
    let (server, store) = gcs().await;
    server.inject(Op::Put, 1, Fault::LostAcknowledgement);
    assert_eq!(store.create(PATH, "plan".into(), JSON).await.unwrap(), Created::AlreadyThere);
    assert_eq!(server.generations(&format!("x/{PATH}")), 1);
}

/// Even when the store fails until the last attempt: that one may have been stored.
#[tokio::test]
async fn the_last_attempt_is_settled_too() {
    let server = GcsServer::start().await;
    let store = Store::open_with("gs://bucket/x", &gcs_env(&server), gives_up_soon()).await.unwrap();
    // Stored by the first request without an answer; every later one is turned away.
    server.inject(Op::Put, 1, Fault::LostAcknowledgement);
    server.inject(Op::Put, 100_000, Fault::Status(503, "ServiceUnavailable"));
    assert_eq!(store.create(PATH, "plan".into(), JSON).await.unwrap(), Created::AlreadyThere);
}

#[tokio::test]
async fn another_writer_is_a_conflict_unless_it_wrote_the_same() {
    let (server, store) = gcs().await;
    server.inject(Op::Put, 1, Fault::OtherWriterFirst("theirs"));
    let error = store.create(PATH, "ours".into(), JSON).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    assert_eq!(server.object(&format!("x/{PATH}")).unwrap(), "theirs");

    server.inject(Op::Put, 1, Fault::OtherWriterFirst("same"));
    assert_eq!(store.create("other", "same".into(), JSON).await.unwrap(), Created::AlreadyThere);
    assert_eq!(server.generations("x/other"), 1);
}

/// A 412 for an object that is not there (a race that was undone, a cache): tried again, not believed.
#[tokio::test]
async fn a_412_without_an_object_is_tried_again() {
    let (server, store) = gcs().await;
    server.inject(Op::Put, 3, Fault::Status(412, "PreconditionFailed"));
    assert_eq!(store.create(PATH, "plan".into(), JSON).await.unwrap(), Created::New);
    assert_eq!(server.faults_left(), 0);
}

#[tokio::test]
async fn reads_and_listings_survive_faults_that_pass() {
    let (server, store) = gcs().await;
    let long = "0123456789".repeat(100_000);
    store.create(PATH, long.clone().into(), JSON).await.unwrap();
    for fault in [
        Fault::Status(429, "SlowDown"),
        Fault::Status(503, "ServiceUnavailable"),
        Fault::CutAnswer,
        Fault::LostAcknowledgement,
    ] {
        server.inject(Op::Get, 4, fault.clone());
        server.inject(Op::List, 4, fault.clone());
        assert_eq!(store.get(PATH).await.unwrap().unwrap(), long, "{fault:?}");
        assert_eq!(store.list("").await.unwrap().len(), 1, "{fault:?}");
        assert_eq!(server.faults_left(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn faults_that_stay_end_with_the_cause() {
    let server = GcsServer::start().await;
    let store = Store::open_with("gs://bucket/x", &gcs_env(&server), gives_up_soon()).await.unwrap();
    server.inject(Op::Put, 100_000, Fault::Status(503, "ServiceUnavailable"));
    let error = store.create(PATH, "plan".into(), JSON).await.unwrap_err();
    let StoreError::Unavailable { attempts, answer, .. } = &error else { panic!("{error}") };
    assert!(*attempts > 1 && answer == "HTTP 503 ServiceUnavailable", "{error}");

    server.inject(Op::List, 1, Fault::Hang);
    let error = store.list("").await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable { reason, .. } if reason == "no answer in time"), "{error}");

    drop(server);
    let error = store.get(PATH).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable { attempts, .. } if *attempts > 1), "{error}");
}

fn in_parts() -> StoreOptions {
    StoreOptions { single_put_max_bytes: 1024, part_bytes: 5 * 1024 * 1024, ..quick() }
}

#[tokio::test]
async fn an_upload_in_parts_survives_faults_that_pass() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("requests.jsonl.gz");
    let content = pattern(11 * 1024 * 1024, 1);
    std::fs::write(&file, &content).unwrap();
    for fault in [
        (Op::Initiate, Fault::Status(503, "ServiceUnavailable")),
        (Op::Part, Fault::Status(429, "SlowDown")),
        (Op::Part, Fault::DropRequest),
        (Op::Part, Fault::LostAcknowledgement),
        (Op::Complete, Fault::Status(503, "ServiceUnavailable")),
        (Op::Complete, Fault::LostAcknowledgement),
    ] {
        let server = GcsServer::start().await;
        let store = Store::open_with("gs://bucket/x", &gcs_env(&server), in_parts()).await.unwrap();
        server.inject(fault.0, 4, fault.1.clone());
        let created = store.create_from_file("records.gz", &file, GZIP).await;
        assert!(created.is_ok(), "{fault:?}: {created:?}");
        assert_eq!(server.object("x/records.gz").unwrap(), content, "{fault:?}");
        assert_eq!(server.generations("x/records.gz"), 1, "{fault:?}");
        assert_eq!(server.open_uploads(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn an_upload_in_parts_notices_other_writers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("requests.jsonl.gz");
    std::fs::write(&file, pattern(6 * 1024 * 1024, 1)).unwrap();
    let server = GcsServer::start().await;
    let store = Store::open_with("gs://bucket/x", &gcs_env(&server), in_parts()).await.unwrap();

    // While the parts go out: the last check before completing sees it, and theirs stays.
    server.inject(Op::Part, 1, Fault::OtherWriterFirst("theirs"));
    let error = store.create_from_file("during.gz", &file, GZIP).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    assert_eq!(server.object("x/during.gz").unwrap(), "theirs");
    assert_eq!(server.open_uploads(), 0, "the upload is given up");

    // Right after completing: the comparison sees it.
    server.inject(Op::Complete, 1, Fault::OtherWriterAfter("theirs"));
    let error = store.create_from_file("after.gz", &file, GZIP).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
}

/// The positive control of the check: a server that accepts everything is refused.
#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let (server, store) = gcs().await;
    server.ignore_conditions();
    store.create(PATH, "plan".into(), JSON).await.unwrap();
    let error = store.ensure_conditional(PATH, "plan".into(), JSON).await.unwrap_err();
    assert!(matches!(error, StoreError::ConditionsIgnored { .. }), "{error}");
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    assert_eq!(server.object(&format!("x/{PATH}")).unwrap(), "plan", "nothing was destroyed");
}

/// Rights without deletion: some servers answer 403, not 412, where an object exists.
#[tokio::test]
async fn rights_without_deletion_are_enough() {
    let (server, store) = gcs().await;
    server.forbid_overwriting();
    server.inject(Op::Put, 1, Fault::LostAcknowledgement);
    assert_eq!(store.create(PATH, "plan".into(), JSON).await.unwrap(), Created::AlreadyThere);
    store.ensure_conditional(PATH, "plan".into(), JSON).await.unwrap();
    let error = store.create(PATH, "another".into(), JSON).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn the_check_of_conditions_survives_faults_that_pass() {
    let (server, store) = gcs().await;
    store.create(PATH, "plan".into(), JSON).await.unwrap();
    server.inject(Op::Put, 3, Fault::Status(429, "SlowDown"));
    server.inject(Op::Put, 1, Fault::LostAcknowledgement);
    store.ensure_conditional(PATH, "plan".into(), JSON).await.unwrap();
}

/// A hung connection does not outlive the budget: the deadline ends the attempt.
#[tokio::test]
async fn a_hung_create_ends_within_its_budget() {
    let server = GcsServer::start().await;
    let store = Store::open_with("gs://bucket/x", &gcs_env(&server), gives_up_soon()).await.unwrap();
    server.inject(Op::Put, 100, Fault::Hang);
    let ended = tokio::time::timeout(Duration::from_secs(60), store.create(PATH, "plan".into(), JSON)).await;
    let error = ended.expect("the budget is 2 s").unwrap_err();
    assert!(error.is_transient(), "{error}");
}
