//! What a simulated engine costs and holds: the built-in profiles and their physics.
//!
//! Where the numbers come from is explained in `docs/simulator.md`.

use crate::units::Nanos;

/// Cost of one step of the engine, in integer nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCost {
    /// Reading the weights once, launching the step, sampling.
    pub base_ns: u64,
    /// Each prompt token computed in the step.
    pub prefill_token_ns: u64,
    /// Each sequence that takes part in the step.
    pub sequence_ns: u64,
    /// Each token of context whose keys and values are read in the step.
    pub context_token_ns: u64,
}

impl StepCost {
    /// Duration of a step without jitter at normal speed.
    pub fn step_ns(&self, prefill_tokens: u64, sequences: u64, context_tokens: u64) -> Nanos {
        self.base_ns
            .saturating_add(self.prefill_token_ns.saturating_mul(prefill_tokens))
            .saturating_add(self.sequence_ns.saturating_mul(sequences))
            .saturating_add(self.context_token_ns.saturating_mul(context_tokens))
    }
}

/// What the engine has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sequences that run at the same time.
    pub slots: u32,
    /// Prompt tokens computed in one step; longer prompts take several (chunked prefill).
    pub prefill_budget_tokens: u32,
    /// Tokens the KV cache holds, in blocks of [`BLOCK_TOKENS`].
    pub kv_tokens: u64,
}

/// Tokens of a KV-cache block: space is given out in whole blocks.
pub const BLOCK_TOKENS: u64 = 16;

/// A simulated model on a simulated device.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Name in `sim:NAME`.
    pub name: &'static str,
    /// One line for `--help` and error messages.
    pub about: &'static str,
    /// Name in `/v1/models` unless `model=` says otherwise.
    pub model: &'static str,
    /// Longest prompt plus answer, in tokens.
    pub max_model_len: u32,
    /// Cost of a step.
    pub cost: StepCost,
    /// Room.
    pub capacity: Capacity,
    /// Standard deviation of the logarithm of the factor on each step's duration; 0 is exact.
    pub jitter: f64,
    /// Time scale in thousandths: 2000 makes every step half as long.
    pub speed_milli: u64,
    /// Whether prompts share the blocks they begin with.
    pub prefix_cache: bool,
    /// Whether answers take their room as they grow, at the cost of younger sequences; without, all of it is reserved.
    pub preemption: bool,
}

/// All built-in profiles, in the order they are listed.
pub const PROFILES: [Profile; 5] = [
    Profile {
        name: "8b-h100",
        about: "an 8B model in 16 bit on one H100-class device",
        model: "sim-8b",
        max_model_len: 32_768,
        cost: StepCost { base_ns: 7_200_000, prefill_token_ns: 55_000, sequence_ns: 10_000, context_token_ns: 52 },
        capacity: Capacity { slots: 256, prefill_budget_tokens: 2048, kv_tokens: 400_000 },
        jitter: 0.02,
        speed_milli: 1000,
        prefix_cache: true,
        preemption: true,
    },
    Profile {
        name: "70b-4xh100",
        about: "a 70B model in 16 bit on four H100-class devices",
        model: "sim-70b",
        max_model_len: 32_768,
        cost: StepCost { base_ns: 18_000_000, prefill_token_ns: 102_000, sequence_ns: 15_000, context_token_ns: 34 },
        capacity: Capacity { slots: 256, prefill_budget_tokens: 2048, kv_tokens: 416_000 },
        jitter: 0.02,
        speed_milli: 1000,
        prefix_cache: true,
        preemption: true,
    },
    Profile {
        name: "1b-cpu",
        about: "a 1B model in 8 bit on a server CPU",
        model: "sim-1b",
        max_model_len: 8192,
        cost: StepCost {
            base_ns: 22_000_000,
            prefill_token_ns: 5_000_000,
            sequence_ns: 1_000_000,
            context_token_ns: 550,
        },
        capacity: Capacity { slots: 8, prefill_budget_tokens: 256, kv_tokens: 32_768 },
        jitter: 0.05,
        speed_milli: 1000,
        prefix_cache: true,
        preemption: true,
    },
    Profile {
        name: "tiny",
        about: "a small fast engine without jitter, for tests and first steps",
        model: "sim-tiny",
        max_model_len: 8192,
        cost: StepCost { base_ns: 1_000_000, prefill_token_ns: 10_000, sequence_ns: 20_000, context_token_ns: 10 },
        capacity: Capacity { slots: 16, prefill_budget_tokens: 512, kv_tokens: 65_536 },
        jitter: 0.0,
        speed_milli: 1000,
        prefix_cache: true,
        preemption: true,
    },
    Profile {
        name: "instant",
        about: "no cost at all, to measure the client",
        model: "sim-instant",
        max_model_len: 1_048_576,
        cost: StepCost { base_ns: 0, prefill_token_ns: 0, sequence_ns: 0, context_token_ns: 0 },
        capacity: Capacity { slots: 65_536, prefill_budget_tokens: u32::MAX, kv_tokens: 1 << 40 },
        jitter: 0.0,
        speed_milli: 1000,
        prefix_cache: false,
        preemption: true,
    },
];

impl Profile {
    /// The profile called `name`.
    pub fn named(name: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.name == name).cloned()
    }

    /// Blocks of the KV cache.
    pub fn kv_blocks(&self) -> u64 {
        self.capacity.kv_tokens / BLOCK_TOKENS
    }

    /// Duration of a step without jitter, at this profile's speed.
    pub fn step_ns(&self, prefill_tokens: u64, sequences: u64, context_tokens: u64) -> Nanos {
        let exact = u128::from(self.cost.step_ns(prefill_tokens, sequences, context_tokens)) * 1000;
        u64::try_from(exact / u128::from(self.speed_milli.max(1))).unwrap_or(u64::MAX)
    }
}
