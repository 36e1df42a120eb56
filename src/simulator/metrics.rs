//! What the engine says about itself, in Prometheus text under vLLM's names.
//!
//! Times are those of the step loop, not of the socket: they are the truth a client is compared with.

use std::fmt::Write;

use super::core::{Counts, FinishReason};
use crate::units::Nanos;

/// Upper bounds in seconds, as vLLM has them.
const TTFT_S: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const TOKEN_S: [f64; 19] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST_S: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];
const TOKENS: [f64; 18] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5];

/// Why a request left, in the order the counters are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The model ended the answer.
    Stop,
    /// The answer is as long as was asked.
    Length,
    /// The client went away, or a fault took the request out.
    Abort,
}

impl From<FinishReason> for Finished {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Length,
        }
    }
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    fn record(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn record_ns(&mut self, value: Nanos) {
        self.record(value as f64 / 1e9);
    }
}

/// Times of one finished request, all on the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct RequestTimes {
    /// When it came.
    pub arrived: Nanos,
    /// When it left the waiting line.
    pub admitted: Nanos,
    /// Its first token.
    pub first: Nanos,
    /// Its last token.
    pub last: Nanos,
    /// Tokens of its prompt.
    pub input_tokens: u32,
    /// Tokens of its answer.
    pub output_tokens: u32,
}

/// The gauges at the moment of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Sequences in the batch.
    pub running: usize,
    /// Jobs in the line.
    pub waiting: usize,
    /// Share of the KV cache in use.
    pub kv_usage: f64,
    /// Completion requests that came in, refused and faulty ones included.
    pub received: u64,
    /// Preemptions and the prefix cache.
    pub counts: Counts,
}

/// Counters and histograms of one server.
#[derive(Debug)]
pub struct Metrics {
    prompt_tokens: u64,
    generation_tokens: u64,
    finished: [u64; 3],
    ttft: Histogram,
    itl: Histogram,
    tpot: Histogram,
    e2e: Histogram,
    queue: Histogram,
    prefill: Histogram,
    decode: Histogram,
    inference: Histogram,
    prompt_lengths: Histogram,
    generation_lengths: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            finished: [0; 3],
            ttft: Histogram::new(&TTFT_S),
            itl: Histogram::new(&TOKEN_S),
            tpot: Histogram::new(&TOKEN_S),
            e2e: Histogram::new(&REQUEST_S),
            queue: Histogram::new(&REQUEST_S),
            prefill: Histogram::new(&REQUEST_S),
            decode: Histogram::new(&REQUEST_S),
            inference: Histogram::new(&REQUEST_S),
            prompt_lengths: Histogram::new(&TOKENS),
            generation_lengths: Histogram::new(&TOKENS),
        }
    }
}

impl Metrics {
    /// The first token of an answer: its prompt is computed.
    pub fn first_token(&mut self, input_tokens: u32, ttft: Nanos) {
        self.prompt_tokens += u64::from(input_tokens);
        self.generation_tokens += 1;
        self.ttft.record_ns(ttft);
    }

    /// A further token, `gap` after the one before it.
    pub fn next_token(&mut self, gap: Nanos) {
        self.generation_tokens += 1;
        self.itl.record_ns(gap);
    }

    /// A complete answer.
    pub fn completed(&mut self, times: RequestTimes, reason: FinishReason) {
        self.finished[Finished::from(reason) as usize] += 1;
        let RequestTimes { arrived, admitted, first, last, input_tokens, output_tokens } = times;
        self.e2e.record_ns(last - arrived);
        self.queue.record_ns(admitted - arrived);
        self.prefill.record_ns(first - admitted);
        self.decode.record_ns(last - first);
        self.inference.record_ns(last - admitted);
        if output_tokens > 1 {
            self.tpot.record((last - first) as f64 / 1e9 / f64::from(output_tokens - 1));
        }
        self.prompt_lengths.record(f64::from(input_tokens));
        self.generation_lengths.record(f64::from(output_tokens));
    }

    /// A request that was taken out.
    pub fn aborted(&mut self) {
        self.finished[Finished::Abort as usize] += 1;
    }

    /// The page of `GET /metrics`.
    pub fn render(&self, gauges: Gauges, model: &str) -> String {
        let mut page = Page { text: String::with_capacity(16 << 10), labels: labels(model) };
        page.gauge("num_requests_running", "Requests in the batch.", gauges.running as f64);
        page.gauge("num_requests_waiting", "Requests that wait for a slot or for KV cache.", gauges.waiting as f64);
        page.gauge("kv_cache_usage_perc", "Share of the KV cache in use; 1 is all of it.", gauges.kv_usage);
        let Counts { preemptions, prefix_queries, prefix_hits } = gauges.counts;
        page.counter("num_preemptions_total", "Times a running request was put back into the line.", preemptions);
        page.counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", prefix_queries);
        page.counter("prefix_cache_hits_total", "Those of them that it had.", prefix_hits);
        page.counter("prompt_tokens_total", "Prompt tokens of the requests that got a token.", self.prompt_tokens);
        page.counter("generation_tokens_total", "Answer tokens generated.", self.generation_tokens);
        page.head("request_success_total", "Requests that left, by reason.", "counter");
        for (reason, count) in ["stop", "length", "abort"].into_iter().zip(self.finished) {
            page.sample("request_success_total", &format!(",finished_reason=\"{reason}\""), count as f64);
        }
        for (name, help, histogram) in [
            ("time_to_first_token_seconds", "From arrival to the first token.", &self.ttft),
            ("inter_token_latency_seconds", "Between two tokens of an answer.", &self.itl),
            ("request_time_per_output_token_seconds", "Mean time of a token after the first.", &self.tpot),
            ("e2e_request_latency_seconds", "From arrival to the last token.", &self.e2e),
            ("request_queue_time_seconds", "In the waiting line.", &self.queue),
            ("request_prefill_time_seconds", "From admission to the first token.", &self.prefill),
            ("request_decode_time_seconds", "From the first to the last token.", &self.decode),
            ("request_inference_time_seconds", "From admission to the last token.", &self.inference),
            ("request_prompt_tokens", "Tokens of a prompt.", &self.prompt_lengths),
            ("request_generation_tokens", "Tokens of an answer.", &self.generation_lengths),
        ] {
            page.histogram(name, help, histogram);
        }
        page.received(gauges.received);
        page.text
    }
}

fn labels(model: &str) -> String {
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("engine=\"0\",model_name=\"{model}\"")
}

/// A page under construction. Writing to a string cannot fail.
struct Page {
    text: String,
    labels: String,
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
    }

    fn sample(&mut self, name: &str, more_labels: &str, value: f64) {
        let _ = writeln!(self.text, "vllm:{name}{{{}{more_labels}}} {value:?}", self.labels);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.sample(name, "", value as f64);
    }

    /// The one number that vLLM does not have: faults are counted by it.
    fn received(&mut self, count: u64) {
        const NAME: &str = "bench_simulator_requests_total";
        let _ = writeln!(self.text, "# HELP {NAME} Completion requests received.\n# TYPE {NAME} counter");
        let _ = writeln!(self.text, "{NAME}{{{}}} {:?}", self.labels, count as f64);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            self.sample(&bucket, &format!(",le=\"{bound:?}\""), below as f64);
        }
        self.sample(&bucket, ",le=\"+Inf\"", histogram.count as f64);
        self.sample(&format!("{name}_count"), "", histogram.count as f64);
        self.sample(&format!("{name}_sum"), "", histogram.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(page: &str, sample: &str) -> f64 {
        let line = page.lines().find(|line| line.starts_with(sample)).unwrap_or_else(|| panic!("no `{sample}`"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_request_shows_up_in_every_histogram() {
        let mut metrics = Metrics::default();
        metrics.first_token(100, 30_000_000);
        metrics.next_token(20_000_000);
        metrics.next_token(20_000_000);
        let times = RequestTimes {
            arrived: 1_000_000_000,
            admitted: 1_010_000_000,
            first: 1_030_000_000,
            last: 1_070_000_000,
            input_tokens: 100,
            output_tokens: 3,
        };
        metrics.completed(times, FinishReason::Length);
        metrics.aborted();
        let counts = Counts { preemptions: 3, prefix_queries: 100, prefix_hits: 48 };
        let page = metrics.render(Gauges { running: 2, waiting: 5, kv_usage: 0.25, received: 9, counts }, "m\"1");
        assert!(page.contains(r#"vllm:num_requests_waiting{engine="0",model_name="m\"1"} 5.0"#));
        assert_eq!(value(&page, "vllm:kv_cache_usage_perc{"), 0.25);
        assert_eq!(value(&page, "bench_simulator_requests_total{"), 9.0);
        assert_eq!(value(&page, "vllm:num_preemptions_total{"), 3.0);
        assert_eq!(value(&page, "vllm:prefix_cache_queries_total{"), 100.0);
        assert_eq!(value(&page, "vllm:prefix_cache_hits_total{"), 48.0);
        assert_eq!(value(&page, "vllm:prompt_tokens_total{"), 100.0);
        assert_eq!(value(&page, "vllm:generation_tokens_total{"), 3.0);
        let with =
            |name: &str, label: &str| value(&page, &format!(r#"vllm:{name}{{engine="0",model_name="m\"1",{label}}}"#));
        assert_eq!(with("request_success_total", "finished_reason=\"length\""), 1.0);
        assert_eq!(with("request_success_total", "finished_reason=\"abort\""), 1.0);
        // TTFT 30 ms: not below 20 ms, below 40 ms.
        assert_eq!(with("time_to_first_token_seconds_bucket", "le=\"0.02\""), 0.0);
        assert_eq!(with("time_to_first_token_seconds_bucket", "le=\"0.04\""), 1.0);
        // Two gaps of 20 ms; their mean is the time per token.
        assert_eq!(with("inter_token_latency_seconds_bucket", "le=\"0.025\""), 2.0);
        assert_eq!(value(&page, "vllm:inter_token_latency_seconds_sum"), 0.04);
        assert_eq!(value(&page, "vllm:request_time_per_output_token_seconds_sum"), 0.02);
        // E2E 70 ms = queue 10 + prefill 20 + decode 40.
        for (name, sum) in [("e2e_request_latency", 0.07), ("request_queue_time", 0.01), ("request_decode_time", 0.04)]
        {
            assert_eq!(value(&page, &format!("vllm:{name}_seconds_sum")), sum);
        }
    }

    #[test]
    fn a_value_beyond_the_last_bound_is_only_in_infinity() {
        let mut histogram = Histogram::new(&TTFT_S);
        histogram.record(1e6);
        histogram.record(0.001);
        assert_eq!((histogram.count, histogram.counts.iter().sum::<u64>(), histogram.counts[0]), (2, 1, 1));
    }
}
