//! The real llama.cpp server with a real model, started by `.ci/llamacpp.sh`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use llm_bench::report::requests::OutputSource;

use super::harness::{World, scenario, skipped};

/// The server; it ends when its stdin closes.
struct Llama {
    child: Child,
    url: String,
}

impl Llama {
    /// `None` where it is not provisioned or not asked for.
    fn start() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let home = std::env::var_os("BENCH_E2E_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/bench-e2e")));
        let installed = home.is_some_and(|home| home.join("llamacpp/installed").exists());
        if !(set("BENCH_E2E_LLAMACPP") || set("BENCH_E2E") && installed) {
            return None;
        }
        // The port is free when it is looked for, and another test may get it before the server does.
        let served = (0..3).find_map(|_| Self::serve());
        Some(served.expect("the server ended before it was ready, three times"))
    }

    /// `None` when it ended before it was ready.
    fn serve() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/llamacpp.sh");
        let mut child = Command::new("bash")
            .args([script, "serve", &port.to_string(), "4", "8192"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let Some(line) = lines.next() else {
                let _ = child.wait();
                return None;
            };
            let line = line.unwrap();
            if let Some(url) = line.strip_prefix("READY ") {
                break url.trim().to_owned();
            }
        };
        // It must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, url })
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

const LOOPS: [(&str, &str); 2] =
    [("closed", "[load]\nkind = \"users\"\nusers = 2\n"), ("open", "[load]\nkind = \"constant\"\nrate_per_s = 4\n")];

#[test]
fn the_real_llama_cpp_server_is_measured_without_false_errors() {
    const REQUESTS: u64 = 6;
    let Some(server) = Llama::start() else {
        return skipped("the real llama.cpp server", "run .ci/llamacpp.sh install and set BENCH_E2E=1");
    };
    for (loop_name, load) in LOOPS {
        for protocol in ["openai-completions", "openai-chat"] {
            for stream in [true, false] {
                let what = format!("{protocol}, stream {stream}, {loop_name} loop");
                let backend = format!("stream = {stream}\nignore_eos = true");
                let text = scenario(&server.url, &backend, load, &format!("{{ requests = {REQUESTS} }}"), "");
                let world = World::new(&text.replace("openai-completions", protocol));
                let (ran, applied) = world.apply_json(&[]);
                assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
                assert!(ran.stderr.contains("answers with model "), "auto: {}", ran.stderr);
                let point = applied.point();
                assert_eq!((point.outcomes.planned, point.outcomes.completed), (REQUESTS, REQUESTS), "{what}");
                assert!(point.errors.reasons.is_empty(), "{what}: {:?}", point.errors.reasons);
                assert_eq!(point.metrics.contains_key("ttft_ms"), stream, "{what}");
                let records = world.records();
                for record in &records {
                    let tokens = record.tokens;
                    assert_eq!((tokens.output, tokens.output_source), (Some(4), Some(OutputSource::Usage)), "{what}");
                    assert!(tokens.input_usage.is_some_and(|tokens| tokens >= 10), "{what}: {tokens:?}");
                    if stream {
                        let events = record.events.as_ref().unwrap();
                        // A token that ends inside a character comes with the next one. How many tokens an event
                        // has is only told by the tokenizer of the workload, which is not that of the model.
                        assert!((1..=4).contains(&events.len()), "{what}: {} events", events.len());
                    }
                }
                if stream {
                    // It closes the connection after every stream although it promised to keep it: each
                    // request has its own, and none fails for it.
                    let connections = point.client.connections;
                    assert!(connections.opened >= REQUESTS, "{what}: {connections:?}");
                    assert_eq!(connections.failed, 0, "{what}: {connections:?}");
                }
                let servers = &applied.report.provenance.servers["main"];
                assert!(servers.model.is_some(), "{what}: {servers:?}");
            }
        }
    }
}
