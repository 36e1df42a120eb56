//! B01xx: reading the text.

use super::codes;

codes! {
    NOT_UTF8 = "B0101", "the file is not UTF-8",
        "TOML is UTF-8. The first byte that is not is named; editors call the fix \"save with encoding UTF-8\".",
        bad: "", good: "";
    TOO_LARGE = "B0102", "the file is too large",
        "A scenario has at most 1 MiB. Prompts and datasets belong in files of their own that the scenario names.",
        bad: "", good: "";
    SYNTAX = "B0103", "not TOML",
        "The text breaks the grammar of TOML: an unclosed string or bracket, a key without a value, a key that occurs twice. All such places are shown at once; nothing else is checked until they are fixed.",
        bad: "[load]\nkind = \"poisson\nrate_per_s = 1", good: "[load]\nkind = \"poisson\"\nrate_per_s = 1";
    NO_JSON_VALUE = "B0104", "a value that no setting can have",
        "TOML has dates, infinities and integers beyond 64 bits; no setting of a scenario takes them. Write a date as a string.",
        bad: "[labels]\nrelease = 2026-05-01", good: "[labels]\nrelease = \"2026-05-01\"";
    NO_VERSION = "B0105", "the version of the format is missing",
        "The first thing read is `schema`, so that a file of a newer format is recognised before it is misread. It is always `schema = 1`, in a base as well.",
        bad: "extends = \"minimal.toml\"\n", good: "schema = 1\nextends = \"minimal.toml\"\n";
    VERSION = "B0106", "a version of the format that this `bench` does not read",
        "This `bench` reads `schema = 1` only. A file with a higher number was written for a newer `bench`: update it.",
        bad: "schema = 2\nextends = \"minimal.toml\"\n", good: "schema = 1\nextends = \"minimal.toml\"\n";
}
