//! B09xx: warnings.

use super::codes;

codes! {
    UNUSED = "B0901", "defined but never used",
        "No traffic class uses this backend or workload, or no workload this tokenizer.",
        bad: "[backends.second]\nprotocol = \"openai-chat\"\nurl = \"sim:8b-h100\"",
        good: "[backends.second]\nprotocol = \"openai-chat\"\nurl = \"sim:8b-h100\"\n\n[[traffic]]\nname = \"more\"\nbackend = \"second\"\nworkload = \"chat\"";
    NO_TRAFFIC = "B0902", "a class without traffic",
        "A class of weight 0 gets no request; its SLO is never judged.",
        bad: "[[traffic]]\nname = \"more\"\nbackend = \"main\"\nworkload = \"chat\"\nweight = 0",
        good: "[[traffic]]\nname = \"more\"\nbackend = \"main\"\nworkload = \"chat\"\nweight = 0.1";
    EXCLUDES_NOTHING = "B0903", "an exclusion that matches nothing",
        "The value does not occur on the axis, so no point is left out.",
        bad: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n\n[[exclude]]\nmatch = { seed = 3 }",
        good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]\n\n[[exclude]]\nmatch = { seed = 2 }";
    EMPTY_WINDOW = "B0904", "a window in which hardly any request is due",
        "Rate times duration is below one request: most runs of this point would measure nothing.",
        bad: "phases.measure = { duration = \"10s\" }\n\n[load]\nrate_per_s = 0.01",
        good: "phases.measure = { duration = \"10m\" }\n\n[load]\nrate_per_s = 0.5";
    LIMIT_UNCHECKED = "B0905", "a limit that cannot be checked for all traffic",
        "The lengths of a dataset or the price of a backend are not known.",
        bad: "[limits]\ncost_usd = 1", good: "[limits]\nrequests = 100_000";
    LONELY_ZIP = "B0906", "an axis that is zipped with no other",
        "`zip` lets axes with the same word advance together; alone it does nothing.",
        bad: "[[sweep]]\naxis = \"seed\"\nzip = \"a\"\nvalues = [1, 2]", good: "[[sweep]]\naxis = \"seed\"\nvalues = [1, 2]";
    SAME_PROMPTS = "B0907", "a class that sends the same prompts in several points",
        "What a class sends follows from its own settings, so it is the same in points that differ in something else. A prefix \
         cache of the server may answer it; the later points are `suspect`. With a salt each point has prompts of its own.",
        bad: "[[traffic]]\nname = \"beside\"\nbackend = \"main\"\nworkload = \"chat\"\nload = { kind = \"poisson\", rate_per_s = 1 }\n\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2]",
        good: "workloads.chat.prompts.salt = \"point\"\n\n[[traffic]]\nname = \"beside\"\nbackend = \"main\"\nworkload = \"chat\"\nload = { kind = \"poisson\", rate_per_s = 1 }\n\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2]";
}
