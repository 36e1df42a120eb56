//! Plays the core against a clock and hands each token to the connection that waits for it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::clock::Clock;
use super::config::{ServerStall, SimConfig};
use super::core::{Core, Emission, Job, JobId, TooLarge};
use super::metrics::{Gauges, Metrics, RequestTimes};
use crate::units::Nanos;

/// Steps played before others get a turn, when the clock is ahead of the engine.
const STEPS_PER_TURN: usize = 64;

/// A job in the engine and where its tokens go.
#[derive(Debug)]
struct Client {
    sink: UnboundedSender<Emission>,
    arrived: Nanos,
    input_tokens: u32,
    first: Nanos,
    last: Nanos,
}

#[derive(Debug)]
struct State {
    core: Core,
    clients: HashMap<JobId, Client>,
    metrics: Metrics,
    stall: Option<ServerStall>,
    emissions: Vec<Emission>,
}

/// The running engine: shared by all connections and the task that drives it.
#[derive(Debug)]
pub struct Driver<C> {
    clock: C,
    state: Mutex<State>,
    changed: Notify,
}

impl<C: Clock> Driver<C> {
    /// An idle engine on `clock`.
    pub fn new(config: &SimConfig, clock: C) -> Self {
        let state = State {
            core: Core::new(config.profile.clone(), config.seed),
            clients: HashMap::new(),
            metrics: Metrics::default(),
            stall: config.server_stall,
            emissions: Vec::new(),
        };
        Self { clock, state: Mutex::new(state), changed: Notify::new() }
    }

    /// The clock the engine runs on.
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// Hands in a job that arrived at `at`. Its tokens come out of the returned stream; dropping the
    /// stream cancels the job.
    ///
    /// # Errors
    /// When the job can never be admitted.
    pub fn submit(self: &Arc<Self>, at: Nanos, job: Job) -> Result<Tokens<C>, TooLarge> {
        let (sink, emissions) = unbounded_channel();
        let mut state = self.lock();
        if let Some(stall) = state.stall.take() {
            state.core.pause(at.saturating_add(stall.at), stall.length);
        }
        let (id, input_tokens) = (job.id, job.input_tokens);
        state.core.submit(at, job)?;
        state.clients.insert(id, Client { sink, arrived: at, input_tokens, first: 0, last: 0 });
        drop(state);
        self.changed.notify_one();
        Ok(Tokens { driver: Arc::clone(self), job: id, emissions, ended: false })
    }

    /// The page of `GET /metrics`; `received` counts the requests the server saw.
    pub fn metrics(&self, model: &str, received: u64) -> String {
        let state = self.lock();
        let core = &state.core;
        let gauges = Gauges {
            running: core.running(),
            waiting: core.waiting(),
            kv_usage: core.kv_usage(),
            received,
            counts: core.counts(),
        };
        state.metrics.render(gauges, model)
    }

    /// Drives the engine for ever.
    ///
    /// # Errors
    /// When the clock's timer fails.
    pub async fn run(&self) -> io::Result<Infallible> {
        loop {
            let now = self.clock.now();
            let next = self.lock().play(now);
            match next {
                Some(at) if at <= now => tokio::task::yield_now().await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        slept = self.clock.sleep_until(at) => slept?,
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn cancel(&self, job: JobId) {
        let mut state = self.lock();
        if state.clients.remove(&job).is_some() {
            state.core.cancel(job);
            state.metrics.aborted();
            drop(state);
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed, so a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Plays what is due by `now`, a bounded number of steps, and says when to look again.
    fn play(&mut self, now: Nanos) -> Option<Nanos> {
        for _ in 0..STEPS_PER_TURN {
            let at = self.core.next_event_time()?;
            if at > now {
                return Some(at);
            }
            self.core.advance_to(at, &mut self.emissions);
            for emission in std::mem::take(&mut self.emissions) {
                self.deliver(emission);
            }
        }
        Some(now)
    }

    fn deliver(&mut self, emission: Emission) {
        let Some(client) = self.clients.get_mut(&emission.job) else { return };
        if emission.token_index == 0 {
            client.first = emission.at;
            self.metrics.first_token(client.input_tokens, emission.at - client.arrived);
        } else {
            self.metrics.next_token(emission.at - client.last);
        }
        client.last = emission.at;
        // A stream that was dropped cancels its job by itself.
        let _ = client.sink.send(emission);
        if let Some(reason) = emission.finish_reason {
            let times = RequestTimes {
                arrived: client.arrived,
                admitted: emission.admitted,
                first: client.first,
                last: client.last,
                input_tokens: client.input_tokens,
                output_tokens: emission.token_index + 1,
            };
            self.metrics.completed(times, reason);
            self.clients.remove(&emission.job);
        }
    }
}

/// The tokens of one job as they come. Dropping it before the last one cancels the job.
#[derive(Debug)]
pub struct Tokens<C: Clock> {
    driver: Arc<Driver<C>>,
    job: JobId,
    emissions: UnboundedReceiver<Emission>,
    ended: bool,
}

impl<C: Clock> Tokens<C> {
    /// The next token, or `None` after the last.
    pub async fn next(&mut self) -> Option<Emission> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for bodies.
    pub fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Emission>> {
        if self.ended {
            return std::task::Poll::Ready(None);
        }
        self.emissions.poll_recv(cx).map(|emission| {
            self.ended = emission.is_none_or(|emission| emission.last());
            emission
        })
    }
}

impl<C: Clock> Drop for Tokens<C> {
    fn drop(&mut self) {
        if !self.ended {
            self.driver.cancel(self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::clock::VirtualClock;

    fn job(id: JobId, input_tokens: u32, max_tokens: u32) -> Job {
        Job { id, input_tokens, max_tokens, ..Job::default() }
    }

    /// Runs `test` beside the driver of `config` in virtual time.
    async fn with<T>(config: &str, test: impl AsyncFnOnce(Arc<Driver<VirtualClock>>) -> T) -> T {
        let config = SimConfig::parse(config).unwrap();
        let driver = Arc::new(Driver::new(&config, VirtualClock::default()));
        tokio::select! {
            biased;
            result = test(Arc::clone(&driver)) => result,
            ended = driver.run() => panic!("the driver ended: {ended:?}"),
        }
    }

    async fn times(mut tokens: Tokens<VirtualClock>) -> Vec<Nanos> {
        let mut times = Vec::new();
        while let Some(emission) = tokens.next().await {
            times.push(emission.at);
        }
        times
    }

    #[tokio::test]
    async fn tokens_reach_their_stream_at_the_computed_times() {
        let (first, second, page) = with("tiny", async |driver| {
            let first = driver.submit(0, job(1, 10, 3)).unwrap();
            let second = driver.submit(0, job(2, 20, 2)).unwrap();
            let (first, second) = tokio::join!(times(first), times(second));
            (first, second, driver.metrics("m", 0))
        })
        .await;
        // tiny: 1 ms + 10 µs a prompt token + 20 µs a sequence + 10 ns a token of context.
        // Step 1: 1000 + 30·10 + 2·20 µs = 1 340 000 ns. Step 2: 1000 + 40 µs + (11 + 21)·10 ns =
        // 1 040 320: 2 380 320. Step 3, job 1 alone over 12: 1 020 120: 3 400 440.
        assert_eq!(first, [1_340_000, 2_380_320, 3_400_440]);
        assert_eq!(second, [1_340_000, 2_380_320]);
        assert!(page.contains("vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 5.0"), "{page}");
        assert!(page.contains("vllm:time_to_first_token_seconds_sum{engine=\"0\",model_name=\"m\"} 0.00268"), "{page}");
    }

    #[tokio::test]
    async fn dropping_a_stream_frees_its_slot() {
        let (times, page) = with("tiny?slots=1", async |driver| {
            let mut long = driver.submit(0, job(1, 1, 1000)).unwrap();
            let short = driver.submit(0, job(2, 1, 1)).unwrap();
            long.next().await.unwrap();
            drop(long);
            (times(short).await, driver.metrics("m", 0))
        })
        .await;
        // Job 1 prefills 1 token: 1 030 000. Dropped there, before or inside its second step (over 2 tokens of
        // context: 1 020 020), which runs to its end if it had begun.
        assert!(times == [2_060_000] || times == [1_030_000 + 1_020_020 + 1_030_000], "{times:?}");
        assert!(page.contains("finished_reason=\"abort\"} 1.0"), "{page}");
        assert!(page.contains("num_requests_running{engine=\"0\",model_name=\"m\"} 0.0"), "{page}");
    }

    #[tokio::test]
    async fn a_server_stall_counts_from_the_first_request() {
        let times = with("tiny?stall_server_at=2ms&stall_for=1s", async |driver| {
            times(driver.submit(0, job(1, 1, 3)).unwrap()).await
        })
        .await;
        // 1 030 000; the second step would end at 2 050 020 and the engine stands from 2 ms for 1 s.
        assert_eq!(times, [1_030_000, 1_002_050_020, 1_003_070_050]);
    }

    #[tokio::test]
    async fn an_engine_without_cost_delivers_everything_at_once() {
        let times = with("instant", async |driver| times(driver.submit(7, job(1, 100, 500)).unwrap()).await).await;
        assert_eq!(times, [7; 500]);
    }
}
