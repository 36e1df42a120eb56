//! The text after `sim:`: a profile name and `key=value` overrides, as in a URL.

#[cfg(test)]
mod tests;
mod value;

use std::str::FromStr;
use std::time::Duration;

use crate::simulator::fault::{Fault, FaultKind, Faults, Selector};
use crate::simulator::profile::{PROFILES, Profile};
use crate::units::Nanos;
use value::{answers, at_least_one, bad, duration, keepalive, on_off, parse, share, speed, usage};

/// The scheme of simulator URLs in scenarios.
pub const SCHEME: &str = "sim:";

/// All keys that may follow the profile, for error messages and the reference.
pub const KEYS: [&str; 26] = [
    "jitter",
    "seed",
    "slots",
    "kv_tokens",
    "prefill_budget",
    "prefix_cache",
    "preemption",
    "speed",
    "model",
    "models",
    "max_model_len",
    "keepalive",
    "usage",
    "eos",
    "answers",
    "stall_server_at",
    "stall_for",
    "fault",
    "stall",
    "slow_headers",
    "merge",
    "every",
    "first",
    "after",
    "share",
    "retry_after",
];

/// How long an idle connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Until the client closes it.
    Open,
    /// Every answer ends its connection and says so (`connection: close`).
    Off,
    /// So long after the last answer; vLLM's server takes 5 s.
    Idle(Duration),
}

/// When the server reports token usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsagePolicy {
    /// As asked by `stream_options`, and in every answer that is not streamed.
    OnRequest,
    /// Also at the end of every stream.
    Always,
    /// Never, whatever is asked.
    Never,
}

/// What answers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Words without a meaning.
    #[default]
    Words,
    /// The number that the prompt spells in words, in digits, then such words.
    Numbers,
}

/// The whole engine stands still once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerStall {
    /// Time after the arrival of the first request.
    pub at: Nanos,
    /// For how long.
    pub length: Nanos,
}

/// A simulated server, ready to start.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// Costs and room, overrides applied.
    pub profile: Profile,
    /// Root of jitter, answers, stops and shares of faults.
    pub seed: u64,
    /// Names in `/v1/models`, at least one.
    pub models: Vec<String>,
    /// How long idle connections live.
    pub keepalive: KeepAlive,
    /// When usage is reported.
    pub usage: UsagePolicy,
    /// Share of the requests without `ignore_eos` whose answer ends early with `stop`.
    pub eos_share: f64,
    /// What answers say.
    pub answers: Answers,
    /// What goes wrong.
    pub faults: Faults,
    /// Seconds in the `Retry-After` of a 429.
    pub retry_after_s: u64,
    /// A stall of the whole engine.
    pub server_stall: Option<ServerStall>,
    source: String,
}

/// Why the text after `sim:` is not a simulator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimConfigError {
    /// No such profile.
    #[error("unknown simulator profile `{name}`{hint}; profiles: {}", profile_names())]
    UnknownProfile {
        /// What was written.
        name: String,
        /// ` (did you mean …?)` or nothing.
        hint: String,
    },
    /// No such key.
    #[error("unknown simulator setting `{key}`{hint}; settings: {}", KEYS.join(", "))]
    UnknownKey {
        /// What was written.
        key: String,
        /// ` (did you mean …?)` or nothing.
        hint: String,
    },
    /// No such fault.
    #[error("unknown fault `{name}`{hint}; faults: {}, stall=TIME, slow_headers=TIME, merge=N", fault_names())]
    UnknownFault {
        /// What was written.
        name: String,
        /// ` (did you mean …?)` or nothing.
        hint: String,
    },
    /// A value of the wrong form.
    #[error("`{key}={value}`: expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// `every`, `first`, `after` or `share` without a fault before it.
    #[error("`{key}` selects requests for the fault before it; write `fault=NAME&{key}={value}`")]
    SelectorWithoutFault {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A key given twice.
    #[error("`{key}` is given twice")]
    Repeated {
        /// The key.
        key: String,
    },
    /// One of `stall_server_at` and `stall_for` without the other.
    #[error("`stall_server_at` and `stall_for` belong together; `{missing}` is missing")]
    HalfAStall {
        /// The one that is not there.
        missing: &'static str,
    },
    /// The longest request does not fit into the KV cache.
    #[error("`max_model_len={max_model_len}` does not fit into `kv_tokens={kv_tokens}`")]
    ModelLenBeyondCache {
        /// Longest prompt plus answer.
        max_model_len: u32,
        /// Tokens of the cache.
        kv_tokens: u64,
    },
}

fn profile_names() -> String {
    PROFILES.map(|profile| profile.name).join(", ")
}

fn fault_names() -> String {
    FaultKind::NAMED.map(|(name, _)| name).join(", ")
}

/// ` (did you mean …?)` for the nearest candidate, if one is near.
fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| format!(" (did you mean `{candidate}`?)"))
}

impl SimConfig {
    /// Reads the text after `sim:`, such as `8b-h100?fault=http_500&every=3`.
    ///
    /// A selector (`every`, `first`, `after`, `share`) belongs to the fault written before it; a fault
    /// without one strikes every request.
    ///
    /// # Errors
    /// The first thing that is not valid, with what would be.
    pub fn parse(text: &str) -> Result<Self, SimConfigError> {
        let (name, query) = text.split_once('?').unwrap_or((text, ""));
        let profile = Profile::named(name).ok_or_else(|| SimConfigError::UnknownProfile {
            name: name.to_owned(),
            hint: hint(name, PROFILES.map(|profile| profile.name)),
        })?;
        let mut reader = Reader::new(profile, text);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            reader.set(&key, &value)?;
        }
        reader.finish()
    }

    /// The simulator a backend's URL names, or `None` if the URL is not a `sim:` one.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_url(url: &str) -> Option<Result<Self, SimConfigError>> {
        url.strip_prefix(SCHEME).map(Self::parse)
    }

    /// The text this was read from.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl FromStr for SimConfig {
    type Err = SimConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Collects the keys of one text.
struct Reader {
    config: SimConfig,
    seen: Vec<String>,
    stall_at: Option<Nanos>,
    stall_for: Option<Nanos>,
    max_model_len: Option<u32>,
}

impl Reader {
    fn new(profile: Profile, source: &str) -> Self {
        let config = SimConfig {
            models: Vec::new(),
            seed: 0,
            keepalive: KeepAlive::Open,
            usage: UsagePolicy::OnRequest,
            eos_share: 0.0,
            answers: Answers::Words,
            faults: Faults::default(),
            retry_after_s: 1,
            server_stall: None,
            source: source.to_owned(),
            profile,
        };
        Self { config, seen: Vec::new(), stall_at: None, stall_for: None, max_model_len: None }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), SimConfigError> {
        const ONCE: [&str; 16] = [
            "jitter",
            "seed",
            "slots",
            "kv_tokens",
            "prefill_budget",
            "prefix_cache",
            "preemption",
            "speed",
            "max_model_len",
            "keepalive",
            "usage",
            "eos",
            "answers",
            "stall_server_at",
            "stall_for",
            "retry_after",
        ];
        if ONCE.contains(&key) {
            if self.seen.iter().any(|seen| seen == key) {
                return Err(SimConfigError::Repeated { key: key.to_owned() });
            }
            self.seen.push(key.to_owned());
        }
        match key {
            "fault" | "stall" | "slow_headers" | "merge" => self.fault(key, value),
            "every" | "first" | "after" | "share" => self.selector(key, value),
            _ => self.setting(key, value),
        }
    }

    fn setting(&mut self, key: &str, value: &str) -> Result<(), SimConfigError> {
        let config = &mut self.config;
        match key {
            "jitter" => config.profile.jitter = share(key, value)?,
            "seed" => config.seed = parse(key, value, "a whole number", |_: &u64| true)?,
            "slots" => config.profile.capacity.slots = at_least_one(key, value)?,
            "prefill_budget" => config.profile.capacity.prefill_budget_tokens = at_least_one(key, value)?,
            "kv_tokens" => {
                config.profile.capacity.kv_tokens = parse(key, value, "a number from 16 on", |n: &u64| *n >= 16)?;
            }
            "max_model_len" => {
                self.max_model_len = Some(parse(key, value, "a number from 2 on", |n: &u32| *n >= 2)?);
            }
            "prefix_cache" => config.profile.prefix_cache = on_off(key, value)?,
            "preemption" => config.profile.preemption = on_off(key, value)?,
            "speed" => config.profile.speed_milli = speed(key, value)?,
            "model" | "models" => {
                let names: Vec<_> = value.split(',').map(str::trim).map(str::to_owned).collect();
                if names.iter().any(String::is_empty) {
                    return Err(bad(key, value, "names separated by commas"));
                }
                config.models.extend(names);
            }
            "keepalive" => config.keepalive = keepalive(key, value)?,
            "usage" => config.usage = usage(key, value)?,
            "eos" => config.eos_share = share(key, value)?,
            "answers" => config.answers = answers(key, value)?,
            "retry_after" => config.retry_after_s = parse(key, value, "whole seconds", |_: &u64| true)?,
            "stall_server_at" => self.stall_at = Some(duration(key, value)?.nanos()),
            "stall_for" => self.stall_for = Some(duration(key, value)?.nanos()),
            _ => return Err(SimConfigError::UnknownKey { key: key.to_owned(), hint: hint(key, KEYS) }),
        }
        Ok(())
    }

    fn fault(&mut self, key: &str, value: &str) -> Result<(), SimConfigError> {
        let kind = match key {
            "stall" => FaultKind::Stall(duration(key, value)?.get()),
            "slow_headers" => FaultKind::SlowHeaders(duration(key, value)?.get()),
            "merge" => FaultKind::Merge(at_least_one(key, value)?),
            _ => FaultKind::NAMED.iter().find(|(name, _)| *name == value).map(|(_, kind)| *kind).ok_or_else(|| {
                SimConfigError::UnknownFault {
                    name: value.to_owned(),
                    hint: hint(value, FaultKind::NAMED.map(|(name, _)| name)),
                }
            })?,
        };
        self.config.faults.0.push(Fault { kind, selector: Selector::default() });
        Ok(())
    }

    fn selector(&mut self, key: &str, value: &str) -> Result<(), SimConfigError> {
        let Some(fault) = self.config.faults.0.last_mut() else {
            return Err(SimConfigError::SelectorWithoutFault { key: key.to_owned(), value: value.to_owned() });
        };
        let selector = &mut fault.selector;
        let taken = match key {
            "every" => selector.every.replace(parse(key, value, "a number from 1 on", |n: &u64| *n >= 1)?).is_some(),
            "first" => selector.first.replace(parse(key, value, "a whole number", |_: &u64| true)?).is_some(),
            "after" => selector.after.replace(parse(key, value, "a whole number", |_: &u64| true)?).is_some(),
            _ => selector.share.replace(share(key, value)?).is_some(),
        };
        if taken { Err(SimConfigError::Repeated { key: key.to_owned() }) } else { Ok(()) }
    }

    fn finish(self) -> Result<SimConfig, SimConfigError> {
        let Self { mut config, stall_at, stall_for, max_model_len, .. } = self;
        config.server_stall = match (stall_at, stall_for) {
            (Some(at), Some(length)) => Some(ServerStall { at, length }),
            (None, None) => None,
            (Some(_), None) => return Err(SimConfigError::HalfAStall { missing: "stall_for" }),
            (None, Some(_)) => return Err(SimConfigError::HalfAStall { missing: "stall_server_at" }),
        };
        // Space is given out in whole blocks, so only those count.
        let kv_tokens = config.profile.kv_blocks() * crate::simulator::profile::BLOCK_TOKENS;
        config.profile.max_model_len = match max_model_len {
            Some(max_model_len) if u64::from(max_model_len) > kv_tokens => {
                return Err(SimConfigError::ModelLenBeyondCache { max_model_len, kv_tokens });
            }
            Some(max_model_len) => max_model_len,
            None => config.profile.max_model_len.min(u32::try_from(kv_tokens).unwrap_or(u32::MAX)),
        };
        if config.models.is_empty() {
            config.models.push(config.profile.model.to_owned());
        }
        Ok(config)
    }
}
