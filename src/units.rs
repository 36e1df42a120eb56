//! Checked quantities of a scenario: durations with a unit, the one clock unit of the engine.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since the start of a point on the monotonic clock. The unit of every stamp.
pub type Nanos = u64;

/// Nanoseconds in a second, for conversions to the rates users read.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A duration written with its unit, such as `"250ms"`, `"10s"` or `"1h 30m"`.
///
/// It serialises in one canonical spelling, so `"90s"` and `"1m30s"` have the same digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// What the JSON schema accepts: one or more `number + unit` pairs. Nine digits each, so that no sum
    /// overflows what the type holds. Every canonical spelling is among them.
    pub const PATTERN: &'static str =
        r"^ *([0-9]{1,9} *(ns|us|ms|s|secs?|m|mins?|h|hrs?|hours?|d|days?|w|weeks?|months?|y|years?) *){1,9}$";

    /// A duration of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A duration of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The standard-library duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whole nanoseconds; durations beyond 584 years saturate.
    pub fn nanos(self) -> Nanos {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl From<Duration> for HumanDuration {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    /// # Errors
    /// A sentence that names the expected form, for use in a diagnostic.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text.trim())
            .map(Self)
            .map_err(|error| format!("{error}; expected a duration such as `250ms`, `10s` or `1h 30m`"))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with its unit: `250ms`, `10s`, `5m`, `1h 30m`.",
            "pattern": Self::PATTERN,
            "examples": ["10s", "250ms", "1h 30m"],
        })
    }
}
