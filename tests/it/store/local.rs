//! Directories: what is in the way, what a kill leaves behind.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use llm_bench::store::{Action, Created, GZIP, JSON, Store, StoreError};

use super::conformance::pattern;
use super::{Env, open, open_error, quick};

#[tokio::test]
async fn a_file_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("reports");
    std::fs::write(&file, "x").unwrap();
    for url in [file.clone(), file.join("below")] {
        let error = open_error(url.to_str().unwrap(), &Env::new()).await;
        let StoreError::NotADirectory { path, .. } = &error else { panic!("{error}") };
        assert_eq!(*path, file);
    }
}

#[tokio::test]
async fn a_read_only_directory_is_refused_for_writing_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.json"), "x").unwrap();
    let mut permissions = std::fs::metadata(dir.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o555);
    std::fs::set_permissions(dir.path(), permissions).unwrap();
    // Permission bits do not stop root; a kernel file system does.
    let is_root = std::fs::write(dir.path().join("probe"), "x").is_ok();
    let read_only = if is_root { Path::new("/sys/kernel") } else { dir.path() };
    let error = open_error(read_only.to_str().unwrap(), &Env::new()).await;
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("`--store`"), "{error}");

    let store = Store::open_read_only(dir.path().to_str().unwrap(), &Env::new()).await.unwrap();
    assert_eq!(store.get("a.json").await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn opening_creates_nothing_and_reading_nothing_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let url = dir.path().join("reports");
    let store = open(url.to_str().unwrap(), &Env::new()).await;
    assert_eq!(store.list("").await.unwrap(), []);
    assert!(!url.exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no probe file stays");
    store.create("a/b.json", "x".into(), JSON).await.unwrap();
    assert_eq!(std::fs::read_to_string(url.join("a/b.json")).unwrap(), "x");
    assert_eq!(store.location("a/b.json"), format!("{}/a/b.json", url.display()));
}

/// File addresses, relative paths, links and odd names lead to the same place.
#[tokio::test]
async fn a_directory_has_many_names() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("ünder 100%/it#1");
    std::fs::create_dir_all(&odd).unwrap();
    std::os::unix::fs::symlink(&odd, dir.path().join("link")).unwrap();
    open(odd.to_str().unwrap(), &Env::new()).await.create("x.json", "x".into(), JSON).await.unwrap();
    let file_url = url::Url::from_directory_path(&odd).unwrap().to_string();
    for url in [
        file_url,
        dir.path().join("link").to_str().unwrap().into(),
        dir.path().join("link/../it#1").to_str().unwrap().into(),
    ] {
        let store = open(&url, &Env::new()).await;
        assert_eq!(store.list("").await.unwrap()[0].path, "x.json", "{url}");
        assert_eq!(store.get("x.json").await.unwrap().unwrap(), "x", "{url}");
    }
    let error = open_error(dir.path().join("no/../../such").to_str().unwrap(), &Env::new()).await;
    assert!(error.to_string().contains("goes up"), "{error}");
}

#[tokio::test]
async fn a_directory_that_vanishes_or_fills_up_is_an_error_with_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path().to_str().unwrap(), &Env::new()).await;
    // A file where a folder must be.
    std::fs::write(dir.path().join("s"), "x").unwrap();
    let error = store.create("s/p/x.json", "x".into(), JSON).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Io { action: Action::Create, location, .. } if location.ends_with("s/p/x.json")),
        "{error}"
    );
}

/// What a kill leaves: staged files, whole or not. Listings do not show them, reads do not find them,
/// later writes do not trip over them.
#[tokio::test]
async fn leftovers_of_a_kill_are_invisible() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("s/p/runs/r");
    std::fs::create_dir_all(run.join("points/a")).unwrap();
    for n in 1..4 {
        std::fs::write(run.join(format!("plan.json#{n}")), "half").unwrap();
        std::fs::write(run.join(format!("points/a/requests.jsonl.gz#{n}")), "half").unwrap();
    }
    let store = open(dir.path().to_str().unwrap(), &Env::new()).await;
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.get("s/p/runs/r/plan.json").await.unwrap(), None);
    assert_eq!(store.create("s/p/runs/r/plan.json", "whole".into(), JSON).await.unwrap(), Created::New);
    let file = dir.path().join("spooled");
    std::fs::write(&file, "records").unwrap();
    let records = "s/p/runs/r/points/a/requests.jsonl.gz";
    assert_eq!(store.create_from_file(records, &file, GZIP).await.unwrap(), Created::New);
    assert_eq!(store.list("s").await.unwrap().len(), 2);
}

const KILL_DIR: &str = "BENCH_TEST_KILL_DIR";
const KILL_ROUND: &str = "BENCH_TEST_KILL_ROUND";
const KILL_HOW: &str = "BENCH_TEST_KILL_HOW";
const KILL_AT_BYTES: u64 = 1_000_000;

/// 4 MiB, quickly made.
fn kill_content() -> Vec<u8> {
    pattern(64 * 1024, 7).repeat(64)
}

/// Kills a writing process at arbitrary moments: an object that was acknowledged is there, an object that
/// is there is whole.
#[test]
fn sigkill_leaves_no_half_object_and_loses_no_stored_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = kill_content();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..10_u32 {
        let mut child = child("store::local::child_writes_until_killed", dir.path())
            .env(KILL_ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Right after another `begin` or `done` each round, and up to a millisecond later: while 4 MiB are
        // being written, flushed or linked.
        for line in
            lines.by_ref().map(Result::unwrap).filter(|line| line.contains("kill-test")).take(1 + round as usize)
        {
            note(&line, &mut acknowledged);
        }
        let moment = std::time::Instant::now() + std::time::Duration::from_micros(u64::from(round) * 100);
        while std::time::Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).for_each(|line| note(&line, &mut acknowledged));
        runtime.block_on(check_whole(&dir.path().join("store"), &acknowledged, &whole));
    }
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
}

/// The same at a chosen moment: the kernel kills the process when a file reaches 1 MB of 4.
#[test]
fn a_kill_in_the_middle_of_a_file_leaves_nothing_visible() {
    for how in ["bytes", "file"] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = child("store::local::child_dies_in_the_middle", dir.path()).env(KILL_HOW, how).spawn().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(nix::libc::SIGXFSZ), "{how}: {status}");
        let staged = std::fs::metadata(dir.path().join("store/s/records.gz#1")).unwrap();
        assert_eq!(staged.len(), KILL_AT_BYTES, "{how}: killed in the middle");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = open(dir.path().join("store").to_str().unwrap(), &Env::new()).await;
            assert_eq!(store.list("").await.unwrap(), [], "{how}");
            assert_eq!(store.get("s/records.gz").await.unwrap(), None, "{how}");
            assert_eq!(store.create("s/records.gz", "again".into(), GZIP).await.unwrap(), Created::New, "{how}");
        });
    }
}

fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]).env(KILL_DIR, dir.join("store"));
    // What the killed process leaves goes with the test's directory.
    command.env("TMPDIR", dir);
    command
}

fn note(line: &str, acknowledged: &mut Vec<String>) {
    // The harness may have begun the line itself.
    if let Some((_, path)) = line.split_once("kill-test done ") {
        acknowledged.push(path.to_string());
    }
}

async fn check_whole(dir: &Path, acknowledged: &[String], whole: &[u8]) {
    let store = Store::open_with(dir.to_str().unwrap(), &BTreeMap::new(), quick()).await.unwrap();
    let listed: Vec<_> = store.list("").await.unwrap().into_iter().map(|object| object.path).collect();
    for path in &listed {
        assert!(store.get(path).await.unwrap().unwrap() == whole, "{path} is not whole");
    }
    for path in acknowledged {
        assert!(listed.contains(path), "{path} was acknowledged and is lost");
    }
}

#[tokio::test]
#[ignore = "run and killed by a test above, in a process of its own"]
async fn child_writes_until_killed() {
    let (Ok(dir), Ok(round)) = (std::env::var(KILL_DIR), std::env::var(KILL_ROUND)) else { return };
    let store = Store::open_with(&dir, &BTreeMap::new(), quick()).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let file = spool.path().join("file");
    let whole = bytes::Bytes::from(kill_content());
    std::fs::write(&file, &whole).unwrap();
    // Ends by itself if nobody kills it.
    for n in 0..100 {
        let path = format!("round-{round}/{n}.json");
        println!("kill-test begin {path}");
        if n % 2 == 0 {
            store.create_from_file(&path, &file, GZIP).await.unwrap();
        } else {
            store.create(&path, whole.clone(), JSON).await.unwrap();
        }
        println!("kill-test done {path}");
    }
}

#[tokio::test]
#[ignore = "run and killed by a test above, in a process of its own"]
async fn child_dies_in_the_middle() {
    let (Ok(dir), Ok(how)) = (std::env::var(KILL_DIR), std::env::var(KILL_HOW)) else { return };
    let store = Store::open_with(&dir, &BTreeMap::new(), quick()).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let file = spool.path().join("file");
    std::fs::write(&file, kill_content()).unwrap();
    // Neither caught nor ignored here, so the signal ends the process as SIGKILL would, in the write.
    let resource = nix::sys::resource::Resource::RLIMIT_FSIZE;
    nix::sys::resource::setrlimit(resource, KILL_AT_BYTES, KILL_AT_BYTES).unwrap();
    match how.as_str() {
        "bytes" => store.create("s/records.gz", kill_content().into(), GZIP).await.unwrap(),
        _ => store.create_from_file("s/records.gz", &file, GZIP).await.unwrap(),
    };
}
