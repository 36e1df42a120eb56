//! What stands in the way before the first request: servers, models, secrets, datasets.

use serde_json::json;

use super::harness::{ONE_USER, Ran, World, scenario, sweep};
use super::server::{Reply, Server, healthy};
use crate::support::closed::ClosedPort;

fn refusing(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |_| answer())
}

fn apply(url: &str, backend: &str) -> Ran {
    World::new(&scenario(url, backend, ONE_USER, "{ requests = 3 }", "")).apply(&[])
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is not in: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("internal"), "{}", ran.stderr);
}

#[test]
fn nobody_there_is_69_with_backend_and_address() {
    let closed = ClosedPort::new();
    let address = closed.address;
    let ran = apply(&format!("http://{address}"), "").expect(69);
    says(&ran, &["backend `main`", &address.to_string(), "refused"]);
    assert_eq!(ran.stderr.matches(&address.to_string()).count(), 1, "said once: {}", ran.stderr);
}

#[test]
fn a_starting_server_is_tried_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.method == "POST" && asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            return Reply::json(503, &json!({ "error": { "message": "loading model" } }));
        }
        healthy(seen)
    });
    apply(&server.url(), "").expect(0);
}

#[test]
fn a_server_that_stays_503_is_69() {
    let server = refusing(|| Reply::json(503, &json!({ "error": { "message": "loading model" } })));
    says(&apply(&server.url(), "").expect(69), &["backend `main`", "503"]);
}

#[test]
fn not_authorised_is_78_and_names_the_key() {
    for status in [401, 403] {
        let server = refusing(move || Reply::json(status, &json!({ "error": { "message": "who are you" } })));
        says(&apply(&server.url(), "").expect(78), &["backend `main`", &status.to_string(), "backends.main.api_key"]);
    }
}

#[test]
fn a_model_that_the_server_refuses_is_78_with_its_words() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "GET" => Reply::models(&["a", "b"]),
        _ => Reply::json(404, &json!({ "error": { "message": "The model `missing` does not exist." } })),
    });
    let text = scenario(&server.url(), "", ONE_USER, "{ requests = 3 }", "")
        .replace("workload = \"short\"", "workload = \"short\"\nmodel = \"missing\"");
    says(&World::new(&text).apply(&[]).expect(78), &["backend `main`", "`missing` does not exist", "404"]);
}

#[test]
fn auto_with_two_models_lists_them() {
    let server = Server::start(|_| Reply::models(&["small", "large"]));
    says(&apply(&server.url(), "").expect(78), &["`small`", "`large`", "model = \"auto\""]);
    let none = Server::start(|_| Reply::models(&[]));
    says(&apply(&none.url(), "").expect(78), &["lists no model"]);
}

#[test]
fn a_page_that_is_no_api_is_78() {
    let server = refusing(|| Reply { status: 200, content_type: "text/html", body: "<html>hello</html>".into() });
    says(&apply(&server.url(), "").expect(78), &["backend `main`", "model list"]);
}

#[test]
fn missing_secrets_are_all_named_before_anything_is_asked() {
    let server = Server::healthy();
    let ran = apply(&server.url(), "api_key = { env = \"FIRST_KEY\" }").expect(78);
    says(&ran, &["`backends.main.api_key`", "`FIRST_KEY`", "not set"]);
    let two = "api_key = { env = \"FIRST_KEY\" }\nsecret_headers = { X-Token = { env = \"SECOND_KEY\" }, X-File = { file = \"nowhere\" } }";
    let ran = apply(&server.url(), two).expect(78);
    says(&ran, &["`FIRST_KEY`", "`SECOND_KEY`", "`nowhere`"]);
    assert!(server.seen().is_empty(), "a server is not asked without its key");
    let optional = apply(&server.url(), "api_key = { env = \"FIRST_KEY\", optional = true }");
    optional.expect(0);
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn the_secret_goes_where_it_belongs() {
    let server = Server::healthy();
    let backend = "api_key = { env = \"KEY\" }\nsecret_headers = { X-Token = { file = \"token\", prefix = \"T \" } }";
    let mut world = World::new(&scenario(&server.url(), backend, ONE_USER, "{ requests = 3 }", ""));
    world.set_env("KEY", "k1");
    world.write("token", "t1\n");
    world.apply(&[]).expect(0);
    assert!(server.seen().len() > 4);
    for seen in server.seen() {
        assert_eq!((seen.header("authorization"), seen.header("x-token")), (Some("Bearer k1"), Some("T t1")));
    }
}

#[test]
fn a_dataset_without_conversations_is_65() {
    let text = sweep("sim:tiny", 3, &[1]).replace(
        "prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 20 }",
        "prompts = { kind = \"sharegpt\", path = \"rows.json\" }",
    );
    let world = World::new(&text);
    says(&world.apply(&[]).expect(65), &["rows.json"]);
    for rows in ["[]", "{ \"not\": \"a list\" }", "[{\"id\": 1}]", "not json"] {
        world.write("rows.json", rows);
        says(&world.apply(&[]).expect(65), &["rows.json"]);
    }
}

#[test]
fn requests_that_the_model_cannot_hold_are_refused_before_any_is_sent() {
    let models = json!({ "object": "list", "data": [{ "id": "m", "object": "model", "max_model_len": 23 }] });
    let server = Server::start(move |seen| match seen.method.as_str() {
        "GET" if seen.path == "/v1/models" => Reply::json(200, &models),
        _ => healthy(seen),
    });
    // 20 + 4 tokens.
    let ran = apply(&server.url(), "").expect(65);
    says(
        &ran,
        &[
            "traffic.all: a request of 20 + 4 tokens does not fit into the 23 tokens of context of `backends.main`",
            "2 more of the first 3 requests are too long",
            "no request was sent",
            "`context_tokens`",
        ],
    );
    let posts = |server: &Server| server.seen().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(posts(&server), 1, "the probe alone");
    apply(&server.url(), "context_tokens = 24").expect(0);
    says(&apply(&Server::healthy().url(), "context_tokens = 23").expect(65), &["23 tokens of context"]);
}

#[test]
fn a_report_says_what_a_dataset_holds_and_what_was_left_out() {
    let server = Server::healthy();
    let world = World::new(
        &scenario(&server.url(), "", ONE_USER, "{ requests = 3 }", "")
            .replace("{ kind = \"synthetic\" }", "{ kind = \"lines\", path = \"rows.txt\", max_input_tokens = 4 }")
            .replace("input_tokens = { kind = \"fixed\", value = 20 }\n", ""),
    );
    world.write("rows.txt", "one two\nthree four\none two\nfive six seven eight nine\nten\n");
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let [dataset] = applied.point().datasets.as_slice() else { panic!("{:?}", applied.point().datasets) };
    assert_eq!((dataset.path.as_str(), dataset.rows, dataset.used), ("rows.txt", 5, 3));
    let left_out: Vec<(&str, u64)> = dataset.left_out.iter().map(|(why, rows)| (why.as_str(), *rows)).collect();
    assert_eq!(left_out, [("duplicate", 1), ("too long", 1)]);
    // 2, 2 and 1 tokens.
    assert!((dataset.mean_prompt_tokens - 5.0 / 3.0).abs() < 1e-9 && dataset.mean_answer_tokens.is_none());
    let shown = world.bench(&["report", "store"]);
    assert!(shown.stdout.contains("1 duplicate, 1 too long"), "{}", shown.stdout);
}
