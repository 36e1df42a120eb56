//! B02xx: keys and values against the schema.

use super::codes;

codes! {
    UNKNOWN_KEY = "B0201", "unknown key",
        "No setting has this name here. Unknown keys are errors because a misspelt setting would silently change the experiment.",
        bad: "[phases]\nwarm_up = \"10s\"", good: "[phases]\nwarmup = \"10s\"";
    MISSING_KEY = "B0202", "a required key is missing",
        "The table lacks a setting that has no default.",
        bad: "[workloads.other]\noutput_tokens = { kind = \"fixed\", value = 10 }",
        good: "[workloads.chat]\nprompts = { kind = \"synthetic\" }\noutput_tokens = { kind = \"fixed\", value = 10 }";
    UNKNOWN_KIND = "B0203", "unknown kind",
        "`kind` (for backends `protocol`) chooses which settings a table has; the valid words are listed.",
        bad: "[load]\nkind = \"poison\"\nrate_per_s = 1", good: "[load]\nkind = \"poisson\"\nrate_per_s = 1";
    WRONG_TYPE = "B0204", "wrong type of value",
        "Each setting has one type. Numbers are not quoted, durations are strings with a unit, whole numbers have no decimal point.",
        bad: "[load]\nrate_per_s = \"4\"", good: "[load]\nrate_per_s = 4";
    OUT_OF_BOUNDS = "B0205", "number out of bounds",
        "The number is below the smallest or above the largest value that makes sense for the setting.",
        bad: "[errors]\nmax_share = 5", good: "[errors]\nmax_share = 0.05";
    WRONG_FORM = "B0206", "text in the wrong form",
        "The text must match a form: a duration with its unit, a URL, a SHA-256, a name that can be a folder, or simply not be empty.",
        bad: "[phases]\nwarmup = \"10 parsecs\"", good: "[phases]\nwarmup = \"10s\"";
    UNKNOWN_WORD = "B0207", "unknown word",
        "The setting takes one of a few words; they are listed.",
        bad: "[load]\nsplit = \"even\"", good: "[load]\nsplit = \"exact\"";
    EMPTY = "B0208", "an empty list or table",
        "At least one entry is needed here.",
        bad: "traffic = []", good: "[[traffic]]\nname = \"base\"\nweight = 1";
    DISAGREEMENT = "B0299", "the schema and the types disagree",
        "The JSON schema accepted a value that the program cannot read. This is a bug of `bench`, never of the scenario: please report it.",
        bad: "", good: "";
}
