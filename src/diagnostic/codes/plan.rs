//! B08xx: what only shows when the points are made.

use super::codes;

codes! {
    LIMIT = "B0801", "the plan is larger than its limits",
        "`[limits]` bounds what a scenario may cost, so that a one-character edit cannot cost a night. Numbers of requests, tokens and minutes are estimates.",
        bad: "[limits]\npoints = 2\n\n[[sweep]]\naxis = \"seed\"\nvalues = [1, 2, 3]",
        good: "[limits]\npoints = 3\n\n[[sweep]]\naxis = \"seed\"\nvalues = [1, 2, 3]";
    INPUT_MISSING = "B0802", "an input file that cannot be read",
        "Paths are relative to the file that names them.",
        bad: "[tokenizers.mine]\nkind = \"file\"\npath = \"no-such-tokenizer.json\"\n\n[workloads.chat]\ntokenizer = \"mine\"",
        good: "[workloads.chat]\ntokenizer = \"builtin\"";
    INPUT_CHANGED = "B0803", "an input file that is not the pinned one",
        "`sha256` pins a file: another content is another experiment. `bench validate --pin` writes the digest of the file as it is now.",
        bad: "[tokenizers.mine]\nkind = \"file\"\npath = \"input.json\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\n[workloads.chat]\ntokenizer = \"mine\"",
        good: "[workloads.chat]\ntokenizer = \"builtin\"";
    SAME_POINT = "B0804", "two points are the same experiment",
        "An axis that changes nothing in what is measured would measure the same point twice. To repeat a point, sweep `seed`.",
        bad: "[backends.spare]\nprotocol = \"openai-chat\"\nurl = \"http://a\"\n\n[[sweep]]\naxis = \"backends.spare.url\"\nvalues = [\"http://b\", \"http://c\"]",
        good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]";
    NO_POINT = "B0805", "the exclusions leave no point",
        "At least one combination of axis values must remain.",
        bad: "[[sweep]]\naxis = \"seed\"\nvalues = [1]\n\n[[exclude]]\nmatch = { seed = 1 }",
        good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n\n[[exclude]]\nmatch = { seed = 1 }";
    ID_COLLISION = "B0806", "two points share an id by chance",
        "Ids are the first 12 characters of a digest. Another `seed` gives every point another digest.",
        bad: "", good: "";
    TRACE = "B0820", "a trace that does not hold what is asked of it",
        "A trace is read whole before anything is sent. A bad row, a part that does not exist or a window that outlasts it stops the plan: what would be left is another experiment.",
        bad: "[load]\nkind = \"trace\"\npath = \"base/trace.jsonl\"\nat_end = \"stop\"\n\n[phases]\nwarmup = \"0s\"\nmeasure = { duration = \"1h\" }",
        good: "[load]\nkind = \"trace\"\npath = \"base/trace.jsonl\"\nat_end = \"loop\"\n\n[phases]\nwarmup = \"0s\"\nmeasure = { duration = \"1h\" }";
    INPUT_CONTENT = "B0840", "an input file whose content is wrong",
        "A file of lengths is read whole before anything is sent: a missing column, a value that is no number of tokens or a line without its fields stops the plan, and the message says how many more lines are like the first.",
        bad: "[workloads.chat]\ninput_tokens = { kind = \"histogram\", path = \"base/lengths.csv\" }",
        good: "[workloads.chat]\ninput_tokens = { kind = \"histogram\", bins = [{ from = 128, to = 255, weight = 3 }, { from = 2048, weight = 1 }] }";
}
