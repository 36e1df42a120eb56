//! B03xx: names.

use super::codes;

codes! {
    UNKNOWN_NAME = "B0301", "a name that is defined nowhere",
        "`backend`, `workload` and `tokenizer` name a table of `[backends]`, `[workloads]` or `[tokenizers]`.",
        bad: "[[traffic]]\nname = \"base\"\nbackend = \"mian\"", good: "[[traffic]]\nname = \"base\"\nbackend = \"main\"";
    DUPLICATE_NAME = "B0302", "a name that is used twice",
        "Traffic classes are told apart by name in reports, key paths and merges.",
        bad: "[[traffic]]\nname = \"base\"\n\n[[traffic]]\nname = \"base\"\nbackend = \"main\"\nworkload = \"chat\"",
        good: "[[traffic]]\nname = \"base\"\n\n[[traffic]]\nname = \"second\"\nbackend = \"main\"\nworkload = \"chat\"";
    RESERVED_NAME = "B0303", "a name that has a fixed meaning",
        "`builtin` always is the tokenizer inside `bench`; a tokenizer of your own needs another name.",
        bad: "[tokenizers.builtin]\nkind = \"file\"\npath = \"tokenizer.json\"",
        good: "[tokenizers.mine]\nkind = \"file\"\npath = \"tokenizer.json\"\n\n[workloads.chat]\ntokenizer = \"mine\"";
}
