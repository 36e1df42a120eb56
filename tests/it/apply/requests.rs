//! What requests carry, class by class, and which address they go to.

use serde_json::{Value, json};

use super::harness::{ANY_CLIENT, ONE_USER, World, files};
use super::server::{Reply, Seen, Server, healthy};

const CANARY: &str = "CLASScanary/5b+2c=Rr71";

/// Two classes in turns, one user, `requests` measured requests.
fn scenario(backend: &str, first: &str, second: &str, requests: u32) -> String {
    format!(
        "schema = 1
name = \"test\"

[backends.main]
protocol = \"openai-completions\"
{backend}

[workloads.short]
prompts = {{ kind = \"synthetic\" }}
input_tokens = {{ kind = \"fixed\", value = 20 }}
output_tokens = {{ kind = \"fixed\", value = 7 }}

[[traffic]]
name = \"first\"
backend = \"main\"
workload = \"short\"
{first}

[[traffic]]
name = \"second\"
backend = \"main\"
workload = \"short\"
{second}

{ONE_USER}split = \"exact\"

[phases]
warmup = \"0s\"
measure = {{ requests = {requests} }}

{ANY_CLIENT}"
    )
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

#[test]
fn each_class_has_its_own_sampling_headers_and_length() {
    let server = Server::healthy();
    let backend = format!(
        "url = \"{}\"\nserver = \"vllm\"\nheaders = {{ x-team = \"serving\" }}\nsampling = {{ temperature = 0.0, top_p = 0.9 }}\n\
         extra_body = {{ cache_salt = \"a\" }}",
        server.url()
    );
    let first =
        "sampling = { temperature = 0.7, stop = [\"END\"] }\nheaders = { x-team = \"research\" }\npriority = -3";
    let second = "force_output_length = true\nextra_body = { cache_salt = \"b\" }\n\
                  secret_headers = { x-second = { env = \"THE_CLASS_KEY\" } }";
    let mut world = World::new(&scenario(&backend, first, second, 8));
    let missing = world.apply(&[]).expect(78);
    assert!(missing.stderr.contains("`traffic.second.secret_headers.x-second`"), "{missing:?}");
    world.set_env("THE_CLASS_KEY", CANARY);
    world.apply(&[]).expect(0);
    let sent: Vec<Seen> = server.seen().into_iter().filter(|seen| seen.method == "POST").collect();
    let (mut firsts, mut seconds) = (0, 0);
    for seen in &sent {
        let body = body(seen);
        // The probes ask for 4 tokens, the requests for 7.
        let tokens = body["max_tokens"].clone();
        if seen.header("x-second").is_some() {
            seconds += 1;
            assert_eq!(seen.header("x-second"), Some(CANARY));
            assert_eq!(seen.header("x-team"), Some("serving"));
            assert_eq!((&body["ignore_eos"], &body["min_tokens"]), (&json!(true), &tokens));
            assert_eq!((&body["temperature"], &body["cache_salt"]), (&json!(0), &json!("b")));
            assert_eq!(body.get("priority"), None);
        } else {
            firsts += 1;
            assert_eq!(seen.header("x-team"), Some("research"));
            assert_eq!((body.get("ignore_eos"), body.get("min_tokens")), (None, None));
            assert_eq!(
                (&body["temperature"], &body["top_p"], &body["stop"]),
                (&json!(0.7), &json!(0.9), &json!(["END"]))
            );
            assert_eq!((&body["priority"], &body["cache_salt"]), (&json!(-3), &json!("a")));
        }
    }
    // Four measured requests of each class and a probe each; more of them while the last ones finish.
    assert!(firsts >= 5 && seconds >= 5, "{firsts} {seconds}");
    for file in files(&world.store()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("CLASScanary"), "{}", file.display());
    }
}

#[test]
fn a_server_that_is_other_software_than_the_scenario_says_is_warned_of() {
    let server = Server::start(|seen| {
        if seen.path.ends_with("/models") {
            return Reply::json(200, &json!({ "data": [{ "id": "m", "object": "model", "owned_by": "llamacpp" }] }));
        }
        healthy(seen)
    });
    let backend = format!("url = \"{}\"\nserver = \"vllm\"\nforce_output_length = true", server.url());
    let ran = World::new(&scenario(&backend, "", "", 2)).apply(&[]).expect(0);
    assert!(ran.stderr.contains("says that it is `llamacpp`, the scenario says `server = \"vllm\"`"), "{}", ran.stderr);
}

/// Requests of the measured length that a server got.
fn asked(server: &Server) -> Vec<Value> {
    server.seen().iter().filter(|seen| seen.method == "POST").map(body).filter(|body| body["max_tokens"] == 7).collect()
}

#[test]
fn requests_take_turns_among_addresses_by_weight() {
    let (large, small) = (Server::healthy(), Server::healthy());
    let backend = format!("urls = [\"{}\", \"{}\"]\nurl_weights = [2, 1]", large.url(), small.url());
    let world = World::new(&scenario(&backend, "", "", 30));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let point = applied.point();
    let counts: Vec<(&str, &str, u64, u64)> = point
        .addresses
        .iter()
        .map(|address| (&*address.backend, &*address.url, address.outcomes.planned, address.outcomes.completed))
        .collect();
    // Of 30 requests, whatever their class, two of three go to the first address.
    assert_eq!(counts, [("main", &*large.url(), 20, 20), ("main", &*small.url(), 10, 10)]);
    assert!(asked(&large).len() >= 20 && asked(&small).len() >= 10, "{} {}", asked(&large).len(), asked(&small).len());
    // Lengths are in the report, beside the means of the laws; this server counts every answer as two tokens.
    let lengths = point.lengths.unwrap();
    assert_eq!((lengths.input.count, lengths.input.mean, lengths.input.law_mean), (30, 20.0, Some(20.0)));
    assert_eq!((lengths.input.tokenizer.unwrap().differing, lengths.input.server.unwrap().differing), (0, 0));
    let server = lengths.output.server.unwrap();
    assert_eq!((lengths.output.mean, server.mean, server.differing), (7.0, 2.0, 30));
    assert_eq!(point.classes["first"].lengths.unwrap().input.count, point.classes["first"].outcomes.planned);
    assert_eq!(point.classes["first"].outcomes.planned + point.classes["second"].outcomes.planned, 30);
    let shown = world.bench(&["report", "store"]).expect(0).stdout;
    assert!(shown.contains("Addresses") && shown.contains(&*small.url()), "{shown}");
    assert!(shown.contains("Lengths") && shown.contains("drawn mean"), "{shown}");
}

#[test]
fn the_same_simulated_address_twice_is_two_servers() {
    let world = World::new(&scenario("urls = [\"sim:instant\", \"sim:instant\"]", "", "", 20));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let counts: Vec<(&str, u64)> =
        applied.point().addresses.iter().map(|address| (&*address.url, address.outcomes.completed)).collect();
    assert_eq!(counts, [("sim:instant", 10), ("sim:instant #2", 10)]);
}

#[test]
fn every_address_is_probed_and_must_serve_the_same_model() {
    let other =
        Server::start(|seen| if seen.path.ends_with("/models") { Reply::models(&["another"]) } else { healthy(seen) });
    let first = Server::healthy();
    let backend = format!("urls = [\"{}\", \"{}\"]", first.url(), other.url());
    let ran = World::new(&scenario(&backend, "", "", 4)).apply(&[]).expect(78);
    assert!(ran.stderr.contains("this address serves `another`, the first one `m`"), "{}", ran.stderr);
    let gone = format!("urls = [\"{}\", \"http://127.0.0.1:1\"]", first.url());
    let ran = World::new(&scenario(&gone, "", "", 4)).apply(&[]).expect(69);
    assert!(ran.stderr.contains("http://127.0.0.1:1"), "{}", ran.stderr);
}
