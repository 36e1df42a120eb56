//! What every store must do, run on a directory, on memory, on the GCS server, and (`real.rs`) on real
//! servers.

use std::sync::Arc;

use bytes::Bytes;
use llm_bench::store::layout::RunPath;
use llm_bench::store::runs::{runs_of_plan, runs_of_scenario, store_partial};
use llm_bench::store::{Created, GZIP, JSON, Store, StoreError, StoreOptions};

use super::{Env, gcs_env, open, quick};
use crate::support::gcs::GcsServer;

/// Every check, in a folder of its own so that a server can be used again.
pub(super) async fn check_all(url: &str, env: &Env) {
    let folder = uuid::Uuid::now_v7();
    let url = format!("{}/{folder}", url.trim_end_matches('/'));
    let store = open(&url, env).await;
    assert_eq!(store.describe(), url);
    objects_are_created_once(&store).await;
    one_of_eight_racers_wins(&store).await;
    equal_racers_all_succeed(&store).await;
    listings_see_what_was_created(&store).await;
    runs_can_be_resumed(&store).await;
    partials_get_numbers(&store).await;
    second_creation_is_refused(&store).await;
    long_files_arrive_whole(&url, env).await;
}

async fn objects_are_created_once(store: &Store) {
    assert_eq!(store.get("once/a.json").await.unwrap(), None);
    assert_eq!(store.create("once/a.json", "one".into(), JSON).await.unwrap(), Created::New);
    assert_eq!(store.create("once/a.json", "one".into(), JSON).await.unwrap(), Created::AlreadyThere);
    let error = store.create("once/a.json", "two".into(), JSON).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict { location } if *location == store.location("once/a.json")),
        "{error}"
    );
    assert_eq!(store.get("once/a.json").await.unwrap().unwrap(), "one", "the first stays");
    assert_eq!(store.create("once/empty", Bytes::new(), JSON).await.unwrap(), Created::New);
    assert_eq!(store.get("once/empty").await.unwrap().unwrap(), "");
    for bad in ["", "/a", "a/", "a//b", "../a"] {
        assert!(matches!(store.create(bad, "x".into(), JSON).await, Err(StoreError::Path { .. })), "{bad}");
    }
}

async fn one_of_eight_racers_wins(store: &Store) {
    let barrier = Arc::new(tokio::sync::Barrier::new(8));
    let racers = (0..8).map(|n| {
        let (store, barrier) = (store.clone(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            store.create("race/winner.json", format!("racer {n}").into(), JSON).await
        })
    });
    let results: Vec<_> = futures_util::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<_> = results.iter().enumerate().filter(|(_, r)| matches!(r, Ok(Created::New))).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let conflicts = results.iter().filter(|r| matches!(r, Err(StoreError::Conflict { .. }))).count();
    assert_eq!(conflicts, 7, "{results:?}");
    let stored = store.get("race/winner.json").await.unwrap().unwrap();
    assert_eq!(stored, format!("racer {}", winners[0].0));
}

async fn equal_racers_all_succeed(store: &Store) {
    let racers = (0..8).map(|_| store.create("race/equal.json", "same".into(), JSON));
    let results = futures_util::future::join_all(racers).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(results.iter().filter(|r| matches!(r, Ok(Created::New))).count(), 1, "{results:?}");
}

async fn listings_see_what_was_created(store: &Store) {
    for path in ["list/b/2.json", "list/a/1.json", "list/a/deep/3.json", "list/top.json", "listless/x.json"] {
        store.create(path, path.to_string().into(), JSON).await.unwrap();
    }
    let listed: Vec<_> = store.list("list").await.unwrap().into_iter().map(|o| (o.path, o.size)).collect();
    let expected = ["list/a/1.json", "list/a/deep/3.json", "list/b/2.json", "list/top.json"];
    assert_eq!(listed, expected.map(|path| (path.to_string(), path.len() as u64)));
    assert_eq!(store.folders("list").await.unwrap(), ["a", "b"]);
    assert_eq!(store.list("nothing/here").await.unwrap(), []);
    assert_eq!(store.folders("nothing/here").await.unwrap(), Vec::<String>::new());
    let everything = store.list("").await.unwrap();
    assert!(everything.iter().any(|object| object.path == "listless/x.json"));
}

async fn runs_can_be_resumed(store: &Store) {
    let run = RunPath::new("latency-curve", "0a1b", "nightly-1").unwrap();
    let put = async |path: String| store.create(&path, path.clone().into(), JSON).await.unwrap();
    put(run.plan_json()).await;
    put(run.point_requests("a", 1).unwrap()).await;
    put(run.point_report("a").unwrap()).await;
    put(run.point_requests("b", 1).unwrap()).await;
    // The process was killed here. Another opens the store and sees what is finished.
    let runs = runs_of_plan(store, "latency-curve", "0a1b").await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].path, run);
    assert!(!runs[0].is_finished());
    assert_eq!(runs[0].finished_points().collect::<Vec<_>>(), ["a"]);
    put(run.point_report("b").unwrap()).await;
    put(run.report()).await;
    put(RunPath::new("latency-curve", "ffff", "other").unwrap().plan_json()).await;
    let runs = runs_of_plan(store, "latency-curve", "0a1b").await.unwrap();
    assert!(runs[0].is_finished() && runs[0].finished_points().count() == 2);
    assert_eq!(runs_of_scenario(store, "latency-curve").await.unwrap().len(), 2, "under any plan");
}

async fn partials_get_numbers(store: &Store) {
    let run = RunPath::new("latency-curve", "0a1b", "interrupted").unwrap();
    assert_eq!(store_partial(store, &run, "one".into()).await.unwrap(), run.partial(1));
    assert_eq!(store_partial(store, &run, "two".into()).await.unwrap(), run.partial(2));
    assert_eq!(store_partial(store, &run, "two".into()).await.unwrap(), run.partial(2), "a retry changes nothing");
}

async fn second_creation_is_refused(store: &Store) {
    store.create("probe/plan.json", "plan".into(), JSON).await.unwrap();
    store.ensure_conditional("probe/plan.json", "plan".into(), JSON).await.unwrap();
    assert_eq!(store.get("probe/plan.json").await.unwrap().unwrap(), "plan");
}

/// A file in one request and one in three parts (5 MiB is the least a bucket takes).
async fn long_files_arrive_whole(url: &str, env: &Env) {
    const PART: usize = 5 * 1024 * 1024;
    let options = StoreOptions { single_put_max_bytes: 1024 * 1024, part_bytes: PART, ..quick() };
    let store = Store::open_with(url, env, options).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, size) in [("short", 1000), ("long", 2 * PART + 17)] {
        let content = pattern(size, 1);
        let (path, file) = (format!("files/{name}.gz"), dir.path().join(name));
        std::fs::write(&file, &content).unwrap();
        assert_eq!(store.create_from_file(&path, &file, GZIP).await.unwrap(), Created::New, "{name}");
        assert_eq!(store.get(&path).await.unwrap().unwrap(), content, "{name}");
        assert_eq!(store.create_from_file(&path, &file, GZIP).await.unwrap(), Created::AlreadyThere, "{name}");
        std::fs::write(&file, pattern(size, 2)).unwrap();
        let error = store.create_from_file(&path, &file, GZIP).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{name}: {error}");
        std::fs::write(&file, pattern(size + 1, 1)).unwrap();
        let error = store.create_from_file(&path, &file, GZIP).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{name}: {error}");
        assert_eq!(store.get(&path).await.unwrap().unwrap(), content, "{name}: the first stays");
    }
}

/// Bytes that differ at every megabyte and by `salt`.
pub(super) fn pattern(size: usize, salt: u8) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 16) as u8 ^ salt).collect()
}

#[tokio::test]
async fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    check_all(dir.path().join("not yet/there").to_str().unwrap(), &Env::new()).await;
}

#[tokio::test]
async fn the_gcs_server_conforms() {
    let server = GcsServer::start().await;
    server.set_page_size(2);
    check_all("gs://bucket/nightly", &gcs_env(&server)).await;
    assert_eq!(server.open_uploads(), 0, "abandoned uploads cost money");
}
