//! The simulated server over real HTTP: wire shapes, known times, every fault, its life as a child.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use llm_bench::simulator::log::{End, Record};
use llm_bench::simulator::{ChildError, ChildOptions, ServeOptions, SimConfig, SimProcess, child, serve};
use llm_bench::tokens::{Pieces, Tokenizer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest time that anything is waited for: a machine that is this slow is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A word is a token; the words of answers are ` w0` … ` w999`.
#[derive(Debug)]
struct Words;

impl Tokenizer for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let id = |word: &str| word.strip_prefix('w').and_then(|number| number.parse().ok()).unwrap_or(1000);
        text.split_whitespace().map(id).collect()
    }

    fn decode(&self, ids: &[u32]) -> String {
        ids.iter().map(|id| format!(" w{id}")).collect()
    }

    fn vocab_size(&self) -> usize {
        1000
    }

    fn pieces(&self) -> &Pieces {
        unreachable!("no test makes prompts")
    }
}

/// A server of this test, in this process.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
    log: tempfile::NamedTempFile,
}

impl Server {
    async fn start(config: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let options = options(config, Some(log.path()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = oneshot::channel();
        let served =
            tokio::spawn(serve(
                options,
                move |address| ready.send(address).unwrap(),
                async move { drop(stopped.await) },
            ));
        Self { address: address.await.unwrap(), stop, served, log }
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        exchange(self.address, &request("POST", path, &body.to_string())).await
    }

    async fn get(&self, path: &str) -> Reply {
        exchange(self.address, &request("GET", path, "")).await
    }

    /// Stops the server and returns its log in the order of the requests.
    async fn stop(self) -> Vec<Record> {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(header["format"], "bench.simulator-log/1");
        let mut records: Vec<Record> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        records.sort_by_key(|record| record.request);
        records
    }
}

fn options(config: &str, log: Option<&Path>) -> ServeOptions {
    ServeOptions {
        config: SimConfig::parse(config).unwrap(),
        address: ([127, 0, 0, 1], 0).into(),
        tokenizer: Arc::new(Words),
        log: log.map(Path::to_owned),
    }
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// The same on a connection that stays open.
fn kept(path: &str, body: &Value) -> String {
    request("POST", path, &body.to_string()).replace("connection: close\r\n", "")
}

/// What came back, byte for byte understood.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    /// HTTP chunks, or the one body of a known length.
    chunks: Vec<String>,
    /// The framing was complete.
    complete: bool,
    /// How the connection ended.
    end: std::io::Result<()>,
}

impl Reply {
    fn json(&self) -> Value {
        assert!(self.complete, "{self:?}");
        serde_json::from_str(&self.chunks.concat()).unwrap()
    }

    /// JSON of each event; `[DONE]` is a string.
    fn events(&self) -> Vec<Value> {
        let body = self.chunks.concat();
        let data = body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))).collect()
    }

    /// The texts of the answer, one for each event that has a choice.
    fn texts(&self) -> Vec<String> {
        let text = |event: &Value| {
            let choice = event["choices"].get(0)?;
            let text = choice.get("text").or_else(|| choice["delta"].get("content"))?;
            Some(text.as_str()?.to_owned())
        };
        self.events().iter().filter_map(text).collect()
    }

    fn done(&self) -> bool {
        self.events().last() == Some(&Value::from("[DONE]"))
    }
}

async fn exchange(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    parse(&bytes, end.expect("an answer in time").map(drop))
}

fn parse(bytes: &[u8], end: std::io::Result<()>) -> Reply {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let Some((head, mut rest)) = text.split_once("\r\n\r\n") else {
        return Reply { status: 0, head: text, chunks: Vec::new(), complete: false, end };
    };
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let (mut chunks, mut complete) = (Vec::new(), false);
    if head.contains("transfer-encoding: chunked") {
        while let Some((length, after)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).unwrap();
            if length == 0 {
                complete = true;
                break;
            }
            chunks.push(after[..length].to_owned());
            rest = &after[length + 2..];
        }
    } else {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        complete = rest.len() == length.parse::<usize>().unwrap();
        chunks.push(rest.to_owned());
    }
    Reply { status, head, chunks, complete, end }
}

/// A prompt of ten tokens.
const PROMPT: &str = "one two three four five six seven eight nine ten";

fn completion(max_tokens: u32) -> Value {
    json!({
        "model": "sim-tiny", "prompt": PROMPT, "max_tokens": max_tokens, "stream": true,
        "stream_options": { "include_usage": true },
    })
}

fn chat(max_tokens: u32) -> Value {
    let mut body = completion(max_tokens);
    body["messages"] = json!([{ "role": "user", "content": PROMPT }]);
    body.as_object_mut().unwrap().remove("prompt");
    body
}

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_stream_has_the_computed_times_and_one_chunk_for_each_event() {
    let server = Server::start("tiny").await;
    let reply = server.post(COMPLETIONS, &completion(4)).await;
    assert_eq!((reply.status, reply.complete, reply.done()), (200, true, true));
    // Four tokens, usage, [DONE]: six events in six chunks.
    assert_eq!(reply.chunks.len(), 6);
    assert!(reply.chunks.iter().all(|chunk| chunk.starts_with("data: ") && chunk.ends_with("\n\n")));

    let records = server.stop().await;
    let [record] = records.as_slice() else { panic!("{records:?}") };
    // tiny: 1 ms a step, 10 µs a prompt token, 20 µs a sequence, 10 ns a token of context.
    // Prefill of 10: 1 000 + 100 + 20 µs = 1 120 000 ns. Decodes over 11, 12 and 13 tokens:
    // 1 020 110, 1 020 120 and 1 020 130: 2 140 110, 3 160 230, 4 180 360.
    let since: Vec<_> = record.tokens_ns.iter().map(|at| at - record.arrived_ns).collect();
    assert_eq!(since, [1_120_000, 2_140_110, 3_160_230, 4_180_360]);
    assert_eq!(record.admitted_ns, Some(record.arrived_ns));
    assert_eq!(record.written_ns.len(), 4);
    assert!(record.written_ns.iter().zip(&record.tokens_ns).all(|(written, emitted)| written >= emitted));
    assert_eq!((record.end, record.finish_reason.as_deref()), (End::Answered, Some("length")));
    assert_eq!((record.input_tokens, record.max_tokens, record.status), (10, 4, Some(200)));
}

#[tokio::test]
async fn streamed_completions_have_vllms_shape() {
    let server = Server::start("tiny").await;
    let reply = server.post(COMPLETIONS, &completion(2)).await;
    assert!(reply.head.contains("content-type: text/event-stream; charset=utf-8"), "{}", reply.head);
    let events = reply.events();
    let (id, created) = (&events[0]["id"], &events[0]["created"]);
    assert!(id.as_str().unwrap().starts_with("cmpl-") && created.is_u64());
    let event = |text: &str, finish: Value| {
        json!({
            "id": id, "object": "text_completion", "created": created, "model": "sim-tiny",
            "choices": [{
                "index": 0, "text": text, "logprobs": null, "finish_reason": finish, "stop_reason": null,
                "prompt_token_ids": null, "token_ids": null,
            }],
        })
    };
    let texts = reply.texts();
    assert_eq!(events[0], event(&texts[0], Value::Null));
    assert_eq!(events[1], event(&texts[1], json!("length")));
    assert_eq!(events[2]["choices"], json!([]));
    assert_eq!(
        events[2]["usage"],
        json!({
            "prompt_tokens": 10, "total_tokens": 12, "completion_tokens": 2, "prompt_tokens_details": { "cached_tokens": 0 },
        })
    );
    assert_eq!(events[3], "[DONE]");
}

#[tokio::test]
async fn streamed_chats_open_with_the_role_and_come_with_the_first_token() {
    let server = Server::start("tiny").await;
    let reply = server.post(CHAT, &chat(2)).await;
    let events = reply.events();
    let opening = json!([{
        "index": 0, "delta": { "role": "assistant", "content": "" }, "logprobs": null, "finish_reason": null,
    }]);
    assert_eq!(events[0]["choices"], opening);
    assert_eq!(events[0]["object"], "chat.completion.chunk");
    let texts = reply.texts();
    let first = json!([{
        "index": 0, "delta": { "content": texts[1] }, "logprobs": null, "finish_reason": null, "token_ids": null,
    }]);
    assert_eq!(events[1]["choices"], first);
    assert_eq!(events[2]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[3]["usage"]["prompt_tokens"], 10);
    assert_eq!((events[4].as_str(), events.len()), (Some("[DONE]"), 5));
}

#[tokio::test]
async fn answers_are_countable_and_follow_the_seed() {
    let mut body = completion(40);
    body["stream"] = json!(false);
    let texts = async |config: &str| {
        let server = Server::start(config).await;
        let mut texts = Vec::new();
        for _ in 0..2 {
            let whole = server.post(COMPLETIONS, &body).await.json();
            assert_eq!(whole["object"], "text_completion");
            assert_eq!(whole["choices"][0]["finish_reason"], "length");
            assert_eq!(whole["usage"]["completion_tokens"], 40);
            texts.push(whole["choices"][0]["text"].as_str().unwrap().to_owned());
        }
        texts
    };
    let first = texts("tiny?seed=5").await;
    assert_eq!(Words.count(&first[0]), 40);
    assert_ne!(first[0], first[1], "requests have different answers");
    assert_eq!(first, texts("tiny?seed=5").await);
    assert_ne!(first, texts("tiny?seed=6").await);

    let server = Server::start("tiny?seed=5").await;
    assert_eq!(server.post(COMPLETIONS, &completion(40)).await.texts().concat(), first[0], "streamed or not");
    let mut body = chat(3);
    body["stream"] = json!(false);
    let whole = server.post(CHAT, &body).await.json();
    assert_eq!((&whole["object"], &whole["usage"]["total_tokens"]), (&json!("chat.completion"), &json!(13)));
    assert_eq!(Words.count(whole["choices"][0]["message"]["content"].as_str().unwrap()), 3);
}

#[tokio::test]
async fn usage_is_given_as_asked_and_as_configured() {
    let server = Server::start("tiny").await;
    let mut body = completion(3);
    body["stream_options"]["continuous_usage_stats"] = json!(true);
    let reply = server.post(COMPLETIONS, &body).await;
    let counts: Vec<_> =
        reply.events().iter().filter_map(|event| event["usage"]["completion_tokens"].as_u64()).collect();
    assert_eq!(counts, [1, 2, 3, 3]);

    let usages = async |config: &str, asked: bool| {
        let mut body = completion(2);
        body["stream_options"]["include_usage"] = json!(asked);
        let server = Server::start(config).await;
        server.post(COMPLETIONS, &body).await.events().iter().filter(|event| event.get("usage").is_some()).count()
    };
    assert_eq!((usages("tiny", true).await, usages("tiny", false).await), (1, 0));
    assert_eq!((usages("tiny?usage=always", false).await, usages("tiny?usage=never", true).await), (1, 0));
}

/// A prompt of `words` words, the first ones of an endless row.
fn words(range: std::ops::Range<usize>) -> String {
    range.map(|n| format!("w{n} ")).collect()
}

/// `cached_tokens` of an answer, streamed or whole.
fn cached(events: &[Value]) -> Option<u64> {
    events.iter().rev().find_map(|event| event["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64())
}

#[tokio::test]
async fn a_conversation_is_found_in_the_prefix_cache_with_the_answers_in_it() {
    let server = Server::start("tiny").await;
    let mut messages = vec![json!({ "role": "user", "content": words(0..40) })];
    let (mut found, mut looked_up) = (Vec::new(), 0);
    for turn in 0..3 {
        let mut body = chat(24);
        body["messages"] = json!(messages);
        let events = server.post(CHAT, &body).await.events();
        found.push(cached(&events).unwrap());
        looked_up += 40 + turn * 28;
        let answer: String =
            events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        messages.push(json!({ "role": "assistant", "content": answer }));
        messages.push(json!({ "role": "user", "content": words(100 * (turn + 1)..100 * (turn + 1) + 4) }));
    }
    // Prompts of 40, 68 and 96 tokens. A turn leaves its prompt and 23 of its 24 answer tokens computed: 63 and 91, whole
    // blocks 48 and 80; the last token of a prompt never counts as found, which takes nothing here.
    assert_eq!(found, [0, 48, 80]);
    let page = server.get("/metrics").await.chunks.concat();
    assert_eq!(sample(&page, &["vllm:prefix_cache_queries_total{"]), looked_up as f64);
    assert_eq!(sample(&page, &["vllm:prefix_cache_hits_total{"]), 128.0);
    let records = server.stop().await;
    assert_eq!(records.iter().map(|record| record.cached_tokens).collect::<Vec<_>>(), [0, 48, 80]);
}

#[tokio::test]
async fn what_is_found_depends_on_model_and_setting_not_on_the_route() {
    let ask = async |server: &Server, path: &str, model: &str, stream: bool| {
        let mut body = if path == CHAT { chat(1) } else { completion(1) };
        body["model"] = json!(model);
        body["stream"] = json!(stream);
        let text = words(0..40);
        match path {
            CHAT => body["messages"] = json!([{ "role": "user", "content": text }]),
            // Token ids of the same words.
            _ => body["prompt"] = json!((0..40).collect::<Vec<_>>()),
        }
        let reply = server.post(path, &body).await;
        if stream { cached(&reply.events()) } else { cached(&[reply.json()]) }
    };
    let server = Server::start("tiny?models=a,b").await;
    assert_eq!(ask(&server, CHAT, "a", true).await, Some(0));
    assert_eq!(ask(&server, COMPLETIONS, "a", false).await, Some(32));
    assert_eq!(ask(&server, CHAT, "b", true).await, Some(0));
    let server = Server::start("tiny?models=a,b&prefix_cache=off").await;
    for _ in 0..2 {
        assert_eq!(ask(&server, CHAT, "a", true).await, None, "without a cache nothing is said about it");
    }
}

#[tokio::test]
async fn a_small_cache_preempts_and_the_answer_is_whole() {
    // Ten blocks: two prompts of 40 tokens take three each, answers of 60 end at 99 tokens: seven blocks each.
    let server = Server::start("tiny?kv_tokens=160").await;
    let ask = async |from: usize| {
        let mut body = completion(60);
        body["prompt"] = json!((from..from + 40).collect::<Vec<_>>());
        server.post(COMPLETIONS, &body).await.events()
    };
    let both = tokio::join!(ask(0), ask(100));
    for events in [both.0, both.1] {
        assert_eq!(events.iter().filter(|event| event["choices"][0]["text"].is_string()).count(), 60);
    }
    let page = server.get("/metrics").await.chunks.concat();
    assert_eq!(sample(&page, &["vllm:request_success_total{", "finished_reason=\"length\""]), 2.0);
    let mut body = completion(150);
    body["prompt"] = json!((0..40).collect::<Vec<_>>());
    assert_eq!(server.post(COMPLETIONS, &body).await.status, 400);
}

#[tokio::test]
async fn an_answer_that_ends_by_itself_has_a_last_token_without_text() {
    let server = Server::start("tiny?eos=1").await;
    let reply = server.post(COMPLETIONS, &completion(50)).await;
    let events = reply.events();
    let usage = events[events.len() - 2]["usage"]["completion_tokens"].as_u64().unwrap();
    let last = &events[events.len() - 3]["choices"][0];
    assert_eq!((&last["text"], &last["finish_reason"]), (&json!(""), &json!("stop")));
    assert!((2..=50).contains(&usage));
    assert_eq!(Words.count(&reply.texts().concat()) as u64, usage - 1);

    let mut body = completion(50);
    body["ignore_eos"] = json!(true);
    assert_eq!(Words.count(&server.post(COMPLETIONS, &body).await.texts().concat()), 50);
}

#[tokio::test]
async fn prompts_may_be_token_ids_and_contents_may_be_parts() {
    let server = Server::start("tiny").await;
    let mut body = completion(1);
    body["prompt"] = json!([5, 6, 7]);
    let reply = server.post(COMPLETIONS, &body).await;
    assert_eq!(reply.events()[1]["usage"]["prompt_tokens"], 3);
    let mut body = chat(1);
    body["messages"] = json!([
        { "role": "system", "content": "be terse" },
        { "role": "user", "content": [{ "type": "text", "text": "a b c" }] },
    ]);
    assert_eq!(server.post(CHAT, &body).await.events()[2]["usage"]["prompt_tokens"], 5);
}

#[tokio::test]
async fn bad_requests_get_vllms_statuses_and_error_shape() {
    let server = Server::start("tiny?max_model_len=16").await;
    let with = |key: &str, value: Value| {
        let mut body = completion(2);
        body[key] = value;
        body.to_string()
    };
    let long = vec!["word"; 17].join(" ");
    let cases = [
        (String::new(), 400, "Bad Request", "body"),
        ("{\"model\": ".to_owned(), 400, "Bad Request", "body"),
        (with("max_tokens", json!("many")), 400, "Bad Request", "body"),
        (with("max_tokens", json!(0)), 400, "BadRequestError", "max_tokens"),
        (with("max_tokens", json!(-5)), 400, "BadRequestError", "max_tokens"),
        (with("max_tokens", json!(7)), 400, "BadRequestError", "max_tokens"),
        (with("max_tokens", json!(99_999_999_999_i64)), 400, "BadRequestError", "max_tokens"),
        (with("prompt", json!(long)), 400, "BadRequestError", "input_tokens"),
        (with("prompt", json!("")), 400, "BadRequestError", "prompt"),
        (with("prompt", Value::Null), 400, "BadRequestError", "prompt"),
        (with("prompt", json!(["a", "b"])), 400, "BadRequestError", "prompt"),
        (with("prompt", json!(7)), 400, "Bad Request", "body.prompt"),
        (with("temperature", json!(-1)), 400, "BadRequestError", "temperature"),
        (with("n", json!(2)), 400, "BadRequestError", "n"),
        (with("echo", json!(true)), 400, "BadRequestError", "echo"),
        (with("logprobs", json!(5)), 400, "BadRequestError", "logprobs"),
        (with("model", json!("other")), 404, "NotFoundError", "model"),
    ];
    for (body, status, kind, param) in cases {
        let reply = exchange(server.address, &request("POST", COMPLETIONS, &body)).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, error["code"].as_u64()), (status, Some(status.into())), "{body}: {error}");
        assert_eq!((error["type"].as_str(), error["param"].as_str()), (Some(kind), Some(param)), "{body}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    let mut body = chat(2);
    body.as_object_mut().unwrap().remove("messages");
    let reply = server.post(CHAT, &body).await;
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("body.messages")));
    // Exactly the room there is: 10 + 6 = 16 tokens.
    assert_eq!(server.post(COMPLETIONS, &completion(6)).await.status, 200);
}

#[tokio::test]
async fn the_other_routes_answer() {
    let server = Server::start("tiny?models=base,adapter&max_model_len=4096").await;
    let models = server.get("/v1/models").await.json();
    let ids: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!((&models["object"], ids), (&json!("list"), vec![&json!("base"), &json!("adapter")]));
    assert_eq!(models["data"][0]["max_model_len"], 4096);
    let health = server.get("/health").await;
    assert_eq!((health.status, health.chunks.concat().as_str()), (200, ""));
    assert_eq!(server.get("/version").await.json()["profile"], "tiny");
    let missing = server.get("/v1/nope").await;
    assert_eq!((missing.status, missing.json()), (404, json!({ "detail": "Not Found" })));
    let wrong = server.get(COMPLETIONS).await;
    assert_eq!((wrong.status, wrong.json()), (405, json!({ "detail": "Method Not Allowed" })));
    assert!(wrong.head.contains("allow: post"), "{}", wrong.head);
    let mut body = completion(1);
    body["model"] = json!("adapter");
    assert_eq!(server.post(COMPLETIONS, &body).await.events()[0]["model"], "adapter");
}

/// The value of the first sample whose name and labels contain all of `parts`.
fn sample(page: &str, parts: &[&str]) -> f64 {
    let line = page.lines().find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    line.unwrap_or_else(|| panic!("no sample with {parts:?}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn metrics_tell_what_the_engine_did() {
    let server = Server::start("tiny").await;
    for _ in 0..3 {
        server.post(COMPLETIONS, &completion(4)).await;
    }
    let reply = server.get("/metrics").await;
    assert!(reply.head.contains("content-type: text/plain"), "{}", reply.head);
    let page = reply.chunks.concat();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(['v', 'b']) && name.ends_with('}') && value.parse::<f64>().is_ok(), "{line}");
    }
    for idle in ["vllm:num_requests_running{", "vllm:num_requests_waiting{", "vllm:kv_cache_usage_perc{"] {
        assert_eq!(sample(&page, &[idle]), 0.0);
    }
    assert_eq!(sample(&page, &["vllm:prompt_tokens_total{"]), 30.0);
    assert_eq!(sample(&page, &["vllm:generation_tokens_total{"]), 12.0);
    assert_eq!(sample(&page, &["vllm:request_success_total{", "finished_reason=\"length\""]), 3.0);
    // Each TTFT is 1.12 ms (the sum of three: 3.36 ms): above the bound of 1 ms, below that of 5 ms.
    assert!((sample(&page, &["vllm:time_to_first_token_seconds_sum"]) - 0.003_36).abs() < 1e-9);
    assert_eq!(sample(&page, &["vllm:time_to_first_token_seconds_bucket", "le=\"0.001\""]), 0.0);
    assert_eq!(sample(&page, &["vllm:time_to_first_token_seconds_bucket", "le=\"0.005\""]), 3.0);
    assert_eq!(sample(&page, &["vllm:inter_token_latency_seconds_count"]), 9.0);
    // E2E 4.180 360 ms each.
    assert!((sample(&page, &["vllm:e2e_request_latency_seconds_sum"]) - 0.012_541_08).abs() < 1e-9);
}

#[tokio::test]
async fn every_third_request_fails_with_the_status_that_was_injected() {
    for (fault, status) in [("http_500", 500), ("http_429", 429), ("http_503", 503)] {
        let server = Server::start(&format!("tiny?fault={fault}&every=3&retry_after=7")).await;
        let mut statuses = Vec::new();
        for _ in 0..6 {
            let reply = server.post(COMPLETIONS, &completion(1)).await;
            statuses.push(reply.status);
            if reply.status != 200 {
                assert_eq!(reply.json()["error"]["code"], status);
                assert_eq!(reply.head.contains("retry-after: 7"), status == 429);
            }
        }
        assert_eq!(statuses, [200, 200, status, 200, 200, status]);
        assert_eq!(server.stop().await[2].faults, [fault]);
    }
}

#[tokio::test]
async fn an_error_in_the_stream_comes_halfway_under_status_200() {
    let server = Server::start("tiny?fault=in_band_error").await;
    let reply = server.post(COMPLETIONS, &completion(6)).await;
    let events = reply.events();
    // Three of six tokens, the error, [DONE].
    assert_eq!((reply.status, reply.complete, reply.texts().len(), events.len()), (200, true, 3, 5));
    assert_eq!(events[3]["error"]["code"], 500);
    let mut body = completion(6);
    body["stream"] = json!(false);
    let whole = server.post(COMPLETIONS, &body).await;
    assert_eq!((whole.status, &whole.json()["error"]["code"]), (200, &json!(500)));
}

#[tokio::test]
async fn a_cut_ends_the_connection_behind_half_of_the_tokens() {
    for (fault, is_reset) in [("cut", false), ("reset", true)] {
        let server = Server::start(&format!("tiny?fault={fault}")).await;
        let reply = server.post(COMPLETIONS, &completion(6)).await;
        assert_eq!(
            (reply.status, reply.complete, reply.texts().len(), reply.done()),
            (200, false, 3, false),
            "{fault}"
        );
        assert_eq!(reply.end.is_err(), is_reset, "{fault}: {:?}", reply.end);
        let mut body = completion(6);
        body["stream"] = json!(false);
        let whole = server.post(COMPLETIONS, &body).await;
        assert_eq!((whole.status, whole.complete, whole.end.is_err()), (200, false, is_reset), "{fault}: {whole:?}");
        assert!(!whole.chunks.concat().is_empty());
        let records = server.stop().await;
        assert!(records.iter().all(|record| record.end == End::Broken), "{records:?}");
        assert_eq!(records[0].written_ns.len(), 3);
    }
}

#[tokio::test]
async fn cut_headers_leave_half_a_head() {
    let server = Server::start("tiny?fault=cut_headers").await;
    for body in [completion(2), chat(2)] {
        let reply = server.post(COMPLETIONS, &body).await;
        // A request that is refused keeps its whole head.
        if body.get("prompt").is_none() {
            assert_eq!(reply.status, 400);
            continue;
        }
        assert_eq!((reply.status, reply.complete), (0, false));
        assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", reply.head);
    }
    assert_eq!(server.stop().await[0].end, End::Broken);
}

#[tokio::test]
async fn an_empty_answer_ends_properly_without_content() {
    let server = Server::start("tiny?fault=empty").await;
    let reply = server.post(COMPLETIONS, &completion(6)).await;
    assert_eq!((reply.complete, reply.texts(), reply.done()), (true, vec![], true));
    assert_eq!(reply.events()[0]["usage"]["completion_tokens"], 0);
    let reply = server.post(CHAT, &chat(6)).await;
    assert_eq!((reply.texts(), reply.done()), (vec![String::new()], true), "only the role");
    let mut body = completion(6);
    body["stream"] = json!(false);
    assert_eq!(server.post(COMPLETIONS, &body).await.json()["choices"][0]["text"], "");
}

#[tokio::test]
async fn no_done_leaves_out_only_the_last_event() {
    let server = Server::start("tiny?fault=no_done").await;
    let reply = server.post(COMPLETIONS, &completion(3)).await;
    assert_eq!((reply.complete, reply.texts().len(), reply.done()), (true, 3, false));
    assert_eq!(reply.events()[2]["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn a_malformed_event_stands_in_the_middle() {
    let server = Server::start("tiny?fault=malformed").await;
    let reply = server.post(COMPLETIONS, &completion(4)).await;
    let events = reply.events();
    assert!(events[2].is_string() && events[1].is_object() && events[3].is_object(), "{events:?}");
    assert_eq!((reply.complete, reply.texts().len(), reply.done()), (true, 4, true));
    let mut body = completion(4);
    body["stream"] = json!(false);
    let whole = server.post(COMPLETIONS, &body).await;
    assert!(whole.complete && serde_json::from_str::<Value>(&whole.chunks.concat()).is_err());
}

#[tokio::test]
async fn merged_tokens_share_an_event_and_the_rest_comes_last() {
    let server = Server::start("tiny?merge=3").await;
    let reply = server.post(COMPLETIONS, &completion(7)).await;
    let counts: Vec<_> = reply.texts().iter().map(|text| Words.count(text)).collect();
    assert_eq!(counts, [3, 3, 1]);
    let [record] = server.stop().await.try_into().unwrap();
    assert_eq!((record.tokens_ns.len(), record.written_ns.len()), (7, 7));
    assert_eq!(record.written_ns[0], record.written_ns[2]);
}

#[tokio::test]
async fn a_stall_holds_the_second_half_back_but_not_the_engine() {
    let server = Server::start("tiny?stall=300ms").await;
    let reply = server.post(COMPLETIONS, &completion(4)).await;
    assert_eq!((reply.complete, reply.texts().len(), reply.done()), (true, 4, true));
    let [record] = server.stop().await.try_into().unwrap();
    // A timer never fires early: from the third token on, bytes are at least 300 ms late.
    assert!(record.written_ns[2] >= record.tokens_ns[2] + 300_000_000);
    assert!(record.written_ns[1] < record.written_ns[2]);
    assert!(record.tokens_ns[3] - record.tokens_ns[2] < 2_000_000, "the engine goes on");
}

#[tokio::test]
async fn a_server_stall_delays_everybody() {
    let server = Server::start("tiny?stall_server_at=5ms&stall_for=200ms").await;
    let body = completion(20);
    tokio::join!(server.post(COMPLETIONS, &body), server.post(COMPLETIONS, &body));
    let records = server.stop().await;
    // Whatever step was under way 5 ms after the first arrival ends at least 200 ms later.
    let from = records.iter().map(|record| record.arrived_ns).min().unwrap() + 5_000_000;
    let tokens: Vec<_> = records.iter().flat_map(|record| &record.tokens_ns).copied().collect();
    assert_eq!(tokens.len(), 40);
    assert!(tokens.iter().any(|at| *at <= from), "the first request had tokens before");
    assert!(!tokens.iter().any(|at| (from + 1..from + 200_000_000).contains(at)), "{tokens:?}");
}

#[tokio::test]
async fn slow_headers_hold_back_the_head() {
    let server = Server::start("tiny?slow_headers=200ms").await;
    let reply = server.post(COMPLETIONS, &completion(2)).await;
    assert_eq!((reply.complete, reply.texts().len()), (true, 2));
    let [record] = server.stop().await.try_into().unwrap();
    assert!(record.written_ns[0] >= record.arrived_ns + 200_000_000);
}

/// Reads one complete chunked answer from a connection that stays open.
async fn read_stream(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert!(read.unwrap().unwrap() > 0, "the connection ended early");
    }
    parse(&bytes, Ok(()))
}

async fn ends(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await;
    !matches!(read.expect("an end in time"), Ok(1..))
}

#[tokio::test]
async fn connections_are_kept_alive_unless_told_otherwise() {
    let body = completion(2);
    let server = Server::start("tiny").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(kept(COMPLETIONS, &body).as_bytes()).await.unwrap();
        let reply = read_stream(&mut stream).await;
        assert!(reply.done() && !reply.head.contains("connection: close"), "{}", reply.head);
    }

    let server = Server::start("tiny?keepalive=off").await;
    let reply = exchange(server.address, &kept(COMPLETIONS, &body)).await;
    assert!(reply.done() && reply.head.contains("connection: close"), "{}", reply.head);

    // Longer than this test may be held up between connecting and asking.
    let server = Server::start("tiny?keepalive=500ms").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(kept(COMPLETIONS, &completion(600)).as_bytes()).await.unwrap();
    assert!(read_stream(&mut stream).await.done(), "longer than the idle time, but not idle");
    assert!(ends(&mut stream).await);
}

#[tokio::test]
async fn close_after_stream_breaks_the_promise_of_keep_alive() {
    let server = Server::start("tiny?fault=close_after_stream").await;
    let reply = exchange(server.address, &kept(COMPLETIONS, &completion(2))).await;
    assert!(reply.complete && reply.done() && reply.end.is_ok(), "{reply:?}");
    assert!(!reply.head.contains("connection: close"), "{}", reply.head);
    assert_eq!(server.stop().await[0].end, End::Answered);
}

#[tokio::test]
async fn a_hanging_request_gets_no_byte_and_holds_up_nobody() {
    let server = Server::start("tiny?fault=hang&first=1").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(kept(COMPLETIONS, &completion(2)).as_bytes()).await.unwrap();
    while sample(&server.get("/metrics").await.chunks.concat(), &["bench_simulator_requests_total"]) < 1.0 {}
    for _ in 0..3 {
        assert!(server.post(COMPLETIONS, &completion(2)).await.done());
    }
    let unread = stream.try_read(&mut [0]);
    assert_eq!(unread.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(stream);
    let records = server.stop().await;
    let hung = records.iter().find(|record| record.faults == ["hang"]).unwrap();
    assert_eq!((hung.request, hung.status, hung.tokens_ns.len()), (1, None, 0));
    assert_eq!(hung.end, End::Disconnected);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_slot_back() {
    let server = Server::start("tiny?slots=1&max_model_len=65536").await;
    for streamed in [true, false] {
        let mut body = completion(65_000);
        body["stream"] = json!(streamed);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(kept(COMPLETIONS, &body).as_bytes()).await.unwrap();
        if streamed {
            stream.read_u8().await.unwrap();
        } else {
            while sample(&server.get("/metrics").await.chunks.concat(), &["num_requests_running"]) < 1.0 {}
        }
        drop(stream);
        // 65 000 steps take more than 80 seconds: were the slot not given back, this would time out.
        assert!(server.post(COMPLETIONS, &completion(1)).await.done());
    }
    let page = server.get("/metrics").await.chunks.concat();
    assert_eq!(sample(&page, &["request_success_total", "finished_reason=\"abort\""]), 2.0);
    assert_eq!(sample(&page, &["num_requests_running"]), 0.0);
    let records = server.stop().await;
    assert_eq!((records[0].end, records[1].end), (End::Disconnected, End::Answered));
}

#[tokio::test]
async fn a_tokenizer_without_usable_words_is_refused() {
    #[derive(Debug)]
    struct Mute;
    impl Tokenizer for Mute {
        fn name(&self) -> &str {
            "mute"
        }
        fn encode(&self, _: &str) -> Vec<u32> {
            vec![0]
        }
        fn decode(&self, _: &[u32]) -> String {
            String::new()
        }
        fn vocab_size(&self) -> usize {
            10
        }

        fn pieces(&self) -> &Pieces {
            unreachable!("no test makes prompts")
        }
    }
    let options = ServeOptions { tokenizer: Arc::new(Mute), ..options("tiny", None) };
    let error = serve(options, |_| panic!("ready"), std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("`mute`"), "{error}");
}

// The simulator as a child process. This test binary plays `bench simulate`: a shell puts the arguments
// into the environment and runs `child_entry` below.

const ARGUMENTS: &str = "BENCH_TEST_SIMULATE";

fn child_options() -> ChildOptions {
    let this = std::env::current_exe().unwrap();
    let script =
        format!("{ARGUMENTS}=\"$*\" exec '{}' --ignored --exact simulator::child_entry --nocapture", this.display());
    ChildOptions {
        program: Some("/bin/sh".into()),
        leading_args: ["-c", &script, "sh"].map(Into::into).into(),
        ..ChildOptions::default()
    }
}

#[test]
#[ignore = "the body of a child process"]
fn child_entry() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let words: Vec<_> = arguments.split(' ').collect();
    let value = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
    assert_eq!((words[0], value("--port")), ("simulate", Some("0")));
    let options = options(value("--profile").unwrap(), value("--log").map(Path::new));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = child::stop_requested(words.contains(&"--die-with-parent")).unwrap();
        serve(options, |address| println!("\n{}http://{address}", child::READY), stop).await.unwrap();
    });
}

#[test]
#[ignore = "the body of a process that has a simulator and is killed"]
fn parent_entry() {
    if std::env::var_os(ARGUMENTS).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let simulator = SimProcess::start(&SimConfig::parse("tiny").unwrap(), &child_options()).await.unwrap();
        println!("\nCHILD {}", simulator.url());
        std::future::pending::<()>().await;
    });
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_child_serves_logs_and_ends_when_told() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let options = ChildOptions { log: Some(log.path().to_owned()), ..child_options() };
    let config = SimConfig::parse("tiny?fault=http_500&every=2&models=a").unwrap();
    let mut simulator = SimProcess::start(&config, &options).await.unwrap();
    let mut body = completion(1);
    body["model"] = json!("a");
    let request = request("POST", COMPLETIONS, &body.to_string());
    for status in [200, 500] {
        assert_eq!(exchange(address(simulator.url()), &request).await.status, status);
    }
    assert!(simulator.is_running().unwrap());
    simulator.stop().await.unwrap();
    assert_eq!(std::fs::read_to_string(log.path()).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn a_child_ignores_ctrl_c_and_obeys_sigterm() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let simulator = SimProcess::start(&SimConfig::parse("tiny").unwrap(), &child_options()).await.unwrap();
    let pid = Pid::from_raw(simulator.pid().cast_signed());
    let mut stream = TcpStream::connect(address(simulator.url())).await.unwrap();
    assert_eq!(nix::unistd::getpgid(Some(pid)).unwrap(), pid, "a process group of its own");
    kill(pid, Signal::SIGINT).unwrap();
    stream.write_all(kept(COMPLETIONS, &completion(2)).as_bytes()).await.unwrap();
    assert!(read_stream(&mut stream).await.done());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(ends(&mut stream).await);
}

#[tokio::test]
async fn dropping_the_handle_kills_the_child() {
    let simulator = SimProcess::start(&SimConfig::parse("tiny").unwrap(), &child_options()).await.unwrap();
    let mut stream = TcpStream::connect(address(simulator.url())).await.unwrap();
    drop(simulator);
    assert!(ends(&mut stream).await);
}

#[tokio::test]
async fn a_child_ends_when_its_parent_is_killed() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "simulator::parent_entry", "--nocapture"])
        .env(ARGUMENTS, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let url = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("CHILD ").map(str::to_owned)).unwrap();
    let mut stream = TcpStream::connect(address(&url)).await.unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(ends(&mut stream).await);
}

#[tokio::test]
async fn a_child_that_does_not_start_says_so() {
    let config = SimConfig::parse("tiny").unwrap();
    let missing = ChildOptions { program: Some("/no/such/program".into()), ..ChildOptions::default() };
    assert!(matches!(SimProcess::start(&config, &missing).await, Err(ChildError::Start(_))));
    let ends = ChildOptions { program: Some("/bin/false".into()), ..ChildOptions::default() };
    let Err(error) = SimProcess::start(&config, &ends).await else { panic!("started") };
    assert_eq!(error.to_string(), "the simulator ended before it was ready (exit status: 1)");
}

/// Token events a second as fast as the server can, for the README. Server and client share one thread.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_events_per_second() {
    let server = Server::start("instant").await;
    let body = json!({ "model": "sim-instant", "prompt": "a", "max_tokens": 2000, "stream": true });
    let started = std::time::Instant::now();
    let replies = futures_util::future::join_all((0..16).map(|_| server.post(COMPLETIONS, &body))).await;
    let events: usize = replies.iter().map(|reply| reply.chunks.len()).sum();
    println!("{events} events, {:.0} a second", events as f64 / started.elapsed().as_secs_f64());
}

/// How late the bytes of tokens reach the socket when 256 streams get a token every 6.1 ms (42,000 events
/// a second, each a write of its own). The client is a thread of its own.
#[test]
#[ignore = "a measurement"]
fn measure_lateness_of_paced_streams() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async {
        let server = Server::start("tiny?slots=256&kv_tokens=1000000").await;
        let address = server.address;
        let mut body = completion(300);
        body["ignore_eos"] = json!(true);
        let request = request("POST", COMPLETIONS, &body.to_string());
        let client = std::thread::spawn(move || {
            runtime().block_on(futures_util::future::join_all((0..256).map(|_| exchange(address, &request)))).len()
        });
        tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
        let records = server.stop().await;
        let mut late: Vec<_> = records
            .iter()
            .flat_map(|record| record.written_ns.iter().zip(&record.tokens_ns))
            .map(|(written, emitted)| (written - emitted) / 1000)
            .collect();
        late.sort_unstable();
        let [p50, p90, p99] = [50, 90, 99].map(|percent| late[late.len() * percent / 100]);
        println!("{} tokens, late by {p50} us (p50), {p90} us (p90), {p99} us (p99)", late.len());
    });
}

/// What a constant load of equal requests (420 tokens in, 180 out) does to an engine without jitter: mean
/// TTFT and TPOT in milliseconds over the later half of a minute of arrivals.
fn under_load(profile: &str, rate_per_s: u64) -> [f64; 2] {
    use llm_bench::simulator::core::{Core, Job};
    let profile = SimConfig::parse(&format!("{profile}?jitter=0")).unwrap().profile;
    let mut core = Core::new(profile, 0);
    let count = rate_per_s * 60;
    let arrival = |id: u64| id * 1_000_000_000 / rate_per_s;
    for id in 0..count {
        core.submit(arrival(id), Job { id, input_tokens: 420, max_tokens: 180, ..Job::default() }).unwrap();
    }
    let mut emissions = Vec::new();
    while let Some(at) = core.next_event_time() {
        core.advance_to(at, &mut emissions);
    }
    let (mut ttft, mut decode) = (0.0, 0.0);
    for emission in emissions.iter().filter(|emission| emission.job >= count / 2) {
        if emission.token_index == 0 {
            ttft += (emission.at - arrival(emission.job)) as f64 / 1e6;
            decode -= emission.at as f64 / 1e6;
        } else if emission.last() {
            decode += emission.at as f64 / 1e6;
        }
    }
    let requests = (count - count / 2) as f64;
    [ttft / requests, decode / requests / 179.0]
}

const REFERENCE: &str = include_str!("../../docs/simulator.md");

#[test]
fn the_latency_curve_of_the_reference_is_the_engines() {
    let mut rows = 0;
    for line in REFERENCE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [profile, rate, ttft, tpot] = cells.as_slice() else { continue };
        let Ok(rate) = rate.parse() else { continue };
        let [computed_ttft, computed_tpot] = under_load(profile.trim_matches('`'), rate);
        assert_eq!(
            (format!("{computed_ttft:.1}"), format!("{computed_tpot:.1}")),
            ((*ttft).into(), (*tpot).into()),
            "{line}"
        );
        rows += 1;
    }
    assert!(rows >= 8, "{rows} rows");
}

#[test]
fn the_reference_names_every_profile_setting_and_fault() {
    use llm_bench::simulator::{config, fault, profile};
    let names = profile::PROFILES.map(|profile| profile.name).into_iter().chain(config::KEYS);
    for name in names.chain(fault::FaultKind::NAMED.map(|(name, _)| name)) {
        let named = [format!("`{name}"), format!("`fault={name}`")].iter().any(|text| REFERENCE.contains(text));
        assert!(named, "`{name}` is missing in docs/simulator.md");
    }
}
