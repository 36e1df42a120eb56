//! Canaries in every place where a credential can stand; none may be found anywhere afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::harness::{ONE_USER, Ran, World, children_of, files, scenario, wait_until};
use super::server::{Reply, Seen, Server, healthy};
use crate::support::gcs::GcsServer;

/// One for each place, with characters that percent-encoding and JSON change.
const KEY: &str = "KEYcanary/7f+3a=\"Zq81";
const HEADER: &str = "HEADERcanary/8e+4b=Xw92";
const FILE: &str = "FILEcanary/9d+5c=Yv03";
const STORE: &str = "STOREcanary-0c6d-Uu14";
const ALL: [&str; 4] = [KEY, HEADER, FILE, STORE];

const BACKEND: &str = "api_key = { env = \"THE_KEY\" }
secret_headers = { X-Token = { env = \"THE_TOKEN\", prefix = \"Token \" }, X-File = { file = \"secret.txt\" } }";

/// The forms in which a canary could appear.
fn forms(canary: &str) -> Vec<String> {
    let json = serde_json::Value::from(canary).to_string();
    let mut all = vec![
        canary.to_owned(),
        canary[..12].to_owned(),
        json.trim_matches('"').to_owned(),
        canary.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        canary.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        url::form_urlencoded::byte_serialize(canary.as_bytes()).collect(),
    ];
    for shift in 0..3 {
        let padded = format!("{}{canary}", "x".repeat(shift));
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            all.push(text[4..text.len() - 4].to_owned());
        }
    }
    all
}

#[track_caller]
fn assert_clean(bytes: &[u8], context: &str) {
    let text = String::from_utf8_lossy(bytes);
    for form in ALL.iter().flat_map(|canary| forms(canary)) {
        assert!(!text.contains(&form), "`{form}` in {context}: {text}");
    }
}

/// The bytes of a file, unpacked where they are packed.
fn content(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
        return unpacked;
    }
    bytes
}

fn world(url: &str) -> World {
    // A few failures are within the budget, so that the run goes on to its report.
    let text = scenario(url, BACKEND, ONE_USER, "{ requests = 12 }", "[errors]\nmax_share = 0.01\n");
    let mut world = World::new(&text);
    world.set_env("THE_KEY", KEY);
    world.set_env("THE_TOKEN", HEADER);
    world.set_env("AWS_SECRET_ACCESS_KEY", STORE);
    world.set_env("GOOGLE_BEARER_TOKEN", STORE);
    world.set_env("GOOGLE_ALLOW_HTTP", "true");
    world.write("secret.txt", &format!("{FILE}\n"));
    world
}

#[track_caller]
fn assert_nothing_leaked(world: &World, ran: &Ran) {
    assert_clean(ran.stdout.as_bytes(), "stdout");
    assert_clean(ran.stderr.as_bytes(), "stderr");
    let mut looked_at = 0;
    for path in files(world.dir.path()) {
        if path.file_name().is_some_and(|name| name == "secret.txt") {
            continue;
        }
        assert_clean(&content(&path), &path.display().to_string());
        looked_at += 1;
    }
    assert!(looked_at > 0);
}

/// What a careless server says: every credential it was sent, in every form.
fn echo(seen: &Seen) -> String {
    let sent = |name: &str| seen.header(name).unwrap_or_default().to_owned();
    let [key, token, file] = [sent("authorization"), sent("x-token"), sent("x-file")];
    let bare = key.trim_start_matches("Bearer ");
    let percent: String = bare.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("no: {key} {token} {file} {percent} {}", STANDARD_NO_PAD.encode(format!("u:{bare}")))
}

fn each_format(run: impl Fn(&[&str])) {
    run(&["--format", "human"]);
    run(&["--format", "json"]);
}

#[test]
fn a_good_run_leaks_nothing_not_even_into_process_titles() {
    let mut simulator =
        World::new("").command(&["simulate", "--port", "0", "--profile", "tiny?speed=0.05", "--log", "log.jsonl"]);
    let place = tempfile::tempdir().unwrap();
    let mut simulator =
        simulator.current_dir(place.path()).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(simulator.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let world = world(line.trim().strip_prefix("READY ").unwrap());
    let mut running = world.start(&["--run-id", "titles"]);
    let mut titles = 0;
    while running.is_running() {
        for pid in children_of(running.pid()).into_iter().chain([running.pid()]) {
            for name in ["cmdline", "comm"] {
                let title = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                assert_clean(&title, "a process title");
                titles += usize::from(!title.is_empty());
            }
        }
    }
    assert!(titles > 0);
    let ran = running.wait().expect(0);
    assert_nothing_leaked(&world, &ran);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(simulator.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    simulator.wait().unwrap();
    let log = fs::read(place.path().join("log.jsonl")).unwrap();
    assert!(log.len() > 1000, "the log has its records");
    assert_clean(&log, "the simulator's log");
}

#[test]
fn a_401_that_echoes_the_credentials_leaks_nothing() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => Reply::models(&["m"]),
        _ => Reply::json(401, &json!({ "error": { "message": echo(seen) } })),
    });
    each_format(|args| {
        let world = world(&server.url());
        let ran = world.apply(args).expect(78);
        assert_nothing_leaked(&world, &ran);
    });
    assert!(server.seen().iter().any(|seen| seen.header("authorization").unwrap().contains(KEY)), "it was sent");
}

#[test]
fn a_400_whose_words_are_shown_is_masked() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => Reply::models(&["m"]),
        _ => Reply::json(400, &json!({ "error": { "message": echo(seen) } })),
    });
    let world = world(&server.url());
    let ran = world.apply(&[]).expect(78);
    assert_nothing_leaked(&world, &ran);
    assert!(ran.stderr.contains("no: Bearer *** Token *** ***"), "masked, not dropped: {}", ran.stderr);
}

#[test]
fn failures_that_echo_the_credentials_are_masked_in_records_and_reports() {
    let posts = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.method == "POST" {
            match posts.fetch_add(1, Ordering::SeqCst) % 4 {
                1 => return Reply::json(500, &json!({ "error": { "message": echo(seen) } })),
                2 => {
                    let event = json!({ "error": { "message": echo(seen), "code": echo(seen) } });
                    let body = format!("data: {event}\n\ndata: [DONE]\n\n");
                    return Reply { status: 200, content_type: "text/event-stream", body };
                }
                3 => {
                    // In fields that are no errors.
                    let said = echo(seen);
                    let choice = json!({ "index": 0, "text": " x", "finish_reason": said });
                    let event = json!({ "id": "c", "model": said, "system_fingerprint": said, "choices": [choice] });
                    let body = format!("data: {event}\n\ndata: [DONE]\n\n");
                    return Reply { status: 200, content_type: "text/event-stream", body };
                }
                _ => {}
            }
        }
        healthy(seen)
    });
    each_format(|args| {
        let world = world(&server.url());
        let ran = world.apply(args).expect(100);
        assert_nothing_leaked(&world, &ran);
        assert!(ran.stdout.contains("***"), "masked, not dropped: {}", ran.stdout);
        let shown = world.bench(&["report", "store", "--format", "terminal,md,csv,junit,json"]);
        assert_nothing_leaked(&world, &shown);
    });
}

#[test]
fn a_bucket_holds_no_credential_and_neither_do_its_errors() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let gcs = runtime.block_on(GcsServer::start());
    let server = Server::healthy();
    let mut world = world(&server.url());
    world.set_env("GOOGLE_BASE_URL", &gcs.url());
    let args = ["apply", "scenario.toml", "--store", "gs://bucket/x"];
    let ran = world.bench(&args).expect(0);
    assert_nothing_leaked(&world, &ran);
    let log = gcs.log();
    assert!(log.iter().any(|seen| seen.authorization.contains(STORE)), "it was sent");
    let mut objects = 0;
    for seen in log.iter().filter(|seen| seen.method == "PUT") {
        assert_clean(seen.path_and_query.as_bytes(), "an object's name");
        let path = seen.path_and_query.split('?').next().unwrap();
        let pair = format!("k={}", path.trim_start_matches("/bucket/"));
        let (_, key) = url::form_urlencoded::parse(pair.as_bytes()).next().unwrap();
        if let Some(bytes) = gcs.object(&key) {
            objects += 1;
            let mut unpacked = Vec::new();
            let packed = key.ends_with(".gz");
            if packed {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
            }
            assert_clean(if packed { &unpacked } else { &bytes }, &key);
        }
    }
    assert!(objects >= 4, "plan, records, point and report: {objects}");

    // Errors of this server echo the credential.
    gcs.require_token("another");
    let ran = world.bench(&args).expect(78);
    assert_nothing_leaked(&world, &ran);
    wait_until("the server to be asked", || gcs.log().len() > log.len());
}
