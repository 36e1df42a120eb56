//! The closed list of metrics, their names and units.

/// A number that is measured of every request, or of every gap in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Time to first token, from the intended start.
    Ttft,
    /// Time to the first token that is not reasoning.
    TtftAnswer,
    /// Time to first token, from the first byte sent.
    TtftService,
    /// Gap between consecutive content events.
    Itl,
    /// Gap between consecutive tokens.
    Tbt,
    /// Time per output token after the first event.
    Tpot,
    /// End-to-end latency by output tokens.
    Ntpot,
    /// End-to-end latency from the intended start.
    E2e,
    /// End-to-end latency from the first byte sent.
    E2eService,
    /// Dispatched − intended.
    DispatchLag,
    /// Wait for `max_in_flight`.
    SlotWait,
    /// Wait for a connection.
    ConnectWait,
    /// Sent − intended.
    ScheduleLag,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Output tokens of a request by its end-to-end latency.
    OutputTokensPerS,
}

impl Metric {
    /// All metrics, in the order reports and tables show them.
    pub const ALL: [Self; 16] = [
        Self::Ttft,
        Self::TtftAnswer,
        Self::TtftService,
        Self::Itl,
        Self::Tbt,
        Self::Tpot,
        Self::Ntpot,
        Self::E2e,
        Self::E2eService,
        Self::DispatchLag,
        Self::SlotWait,
        Self::ConnectWait,
        Self::ScheduleLag,
        Self::InputTokens,
        Self::OutputTokens,
        Self::OutputTokensPerS,
    ];

    /// The name in reports and scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_ms",
            Self::TtftAnswer => "ttft_answer_ms",
            Self::TtftService => "ttft_service_ms",
            Self::Itl => "itl_ms",
            Self::Tbt => "tbt_ms",
            Self::Tpot => "tpot_ms",
            Self::Ntpot => "ntpot_ms",
            Self::E2e => "e2e_ms",
            Self::E2eService => "e2e_service_ms",
            Self::DispatchLag => "dispatch_lag_ms",
            Self::SlotWait => "slot_wait_ms",
            Self::ConnectWait => "connect_wait_ms",
            Self::ScheduleLag => "schedule_lag_ms",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::OutputTokensPerS => "output_tokens_per_s",
        }
    }

    /// The metric of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Unit of its samples.
    pub const fn unit(self) -> Unit {
        match self {
            Self::InputTokens | Self::OutputTokens => Unit::Tokens,
            Self::OutputTokensPerS => Unit::TokensPerSecond,
            _ => Unit::Time,
        }
    }

    /// Whether its samples are gaps pooled over requests, not one value a request.
    pub const fn is_pooled(self) -> bool {
        matches!(self, Self::Itl | Self::Tbt)
    }

    /// Position in [`Metric::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Unit of a metric: how its exact integers become the numbers users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Integer nanoseconds, shown as milliseconds.
    Time,
    /// Whole tokens.
    Tokens,
    /// Integer millionths of a token per second, shown as tokens per second.
    TokensPerSecond,
}

impl Unit {
    /// The unit users read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "ms",
            Self::Tokens => "tokens",
            Self::TokensPerSecond => "tokens/s",
        }
    }

    /// The unit of the integers in a histogram.
    pub const fn raw_name(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Tokens => "tokens",
            Self::TokensPerSecond => "microtokens/s",
        }
    }

    /// The unit whose integers are called `raw_name`.
    pub fn from_raw_name(raw_name: &str) -> Option<Self> {
        [Self::Time, Self::Tokens, Self::TokensPerSecond].into_iter().find(|unit| unit.raw_name() == raw_name)
    }

    /// Integers in one unit that users read.
    pub const fn scale(self) -> u64 {
        match self {
            Self::Time | Self::TokensPerSecond => 1_000_000,
            Self::Tokens => 1,
        }
    }

    /// The number users read. Exact to the last integer below 2^53.
    #[allow(clippy::cast_precision_loss)]
    pub fn display(self, raw: u64) -> f64 {
        raw as f64 / self.scale() as f64
    }

    /// The integer nearest to a number that users write; negative and non-finite numbers are 0, those
    /// beyond the range saturate.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn raw(self, shown: f64) -> u64 {
        (shown * self.scale() as f64).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_position_in_all() {
        for (position, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric.index(), position);
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
        }
    }

    #[test]
    fn milliseconds_are_exact_to_the_nanosecond() {
        for raw in [0, 1, 999, 1_000_001, 123_456_789, 86_400_000_000_000] {
            let text = serde_json::to_string(&Unit::Time.display(raw)).unwrap();
            let shown: f64 = text.parse().unwrap();
            assert_eq!(Unit::Time.raw(shown), raw, "{text}");
            let decimals = text.split_once('.').map_or(0, |(_, digits)| digits.len());
            assert!(decimals <= 6 || text.contains('e'), "{text} claims more than a nanosecond");
        }
    }
}
