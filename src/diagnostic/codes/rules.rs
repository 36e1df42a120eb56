//! B04xx: settings that are fine alone and impossible together.

use super::codes;

codes! {
    MEASURE_LENGTH = "B0401", "the measured window needs exactly one length",
        "`phases.measure` has either a `duration` or a number of `requests`; the other one can only be a bound.",
        bad: "[phases]\nmeasure = { duration = \"30s\", requests = 100 }",
        good: "[phases]\nmeasure = { requests = 100, max_duration = \"30s\" }";
    MEASURE_BOUND = "B0402", "a bound that does not fit the length",
        "With `duration` the bounds are `min_requests` and `max_requests`, with `requests` they are `min_duration` and `max_duration`.",
        bad: "[phases]\nmeasure = { duration = \"30s\", max_duration = \"60s\" }",
        good: "[phases]\nmeasure = { duration = \"30s\", max_requests = 1000 }";
    ZERO_TIME = "B0403", "a time of zero where time must pass",
        "A measured window, a request timeout and the gap between two bursts must be longer than nothing.",
        bad: "[phases]\nmeasure = { duration = \"0s\" }", good: "[phases]\nmeasure = { duration = \"30s\" }";
    MIN_OVER_MAX = "B0404", "a minimum above its maximum",
        "Nothing lies between the two.",
        bad: "[workloads.chat]\ninput_tokens = { kind = \"uniform\", min = 200, max = 100 }",
        good: "[workloads.chat]\ninput_tokens = { kind = \"uniform\", min = 100, max = 200 }";
    IMPOSSIBLE_LAW = "B0405", "a law of lengths that contradicts itself",
        "The 99th percentile cannot lie below the median, and the mean or median must lie between `min` and `max`, or nearly every draw would be at a bound.",
        bad: "[workloads.chat]\ninput_tokens = { kind = \"lognormal\", median = 420, p99 = 200, max = 4000 }",
        good: "[workloads.chat]\ninput_tokens = { kind = \"lognormal\", median = 420, p99 = 2000, max = 4000 }";
    NO_WEIGHT = "B0406", "no class has any weight",
        "The load is shared by weight; at least one must be above 0.",
        bad: "[[traffic]]\nname = \"base\"\nweight = 0", good: "[[traffic]]\nname = \"base\"\nweight = 1";
    LENGTHS = "B0407", "lengths that do not fit the prompts",
        "Synthetic prompts need `input_tokens` and `output_tokens`. The inputs of a dataset are as long as they are: filter them with `min_input_tokens` and `max_input_tokens` of `prompts`.",
        bad: "[workloads.chat]\nprompts = { kind = \"sharegpt\", path = \"chats.json\" }",
        good: "[workloads.other]\nprompts = { kind = \"sharegpt\", path = \"chats.json\" }\n\n[[traffic]]\nname = \"base\"\nworkload = \"other\"";
    PREFIX = "B0408", "a shared prefix as long as the shortest prompt",
        "`shared_prefix_tokens` must be smaller than the smallest input, or such a prompt would have nothing of its own.",
        bad: "[workloads.chat]\nprompts = { kind = \"synthetic\", shared_prefix_tokens = 100 }",
        good: "[workloads.chat]\nprompts = { kind = \"synthetic\", shared_prefix_tokens = 60 }";
    NOT_STREAMED = "B0409", "a target on a metric that only streams have",
        "Without streaming the whole answer arrives at once: there is no time to first token, no gap between tokens, no time per output token. `e2e_ms` and `ntpot_ms` exist either way.",
        bad: "[backends.main]\nstream = false\n\n[[traffic]]\nname = \"base\"\nslo = { ttft_ms = { p99 = 300 } }",
        good: "[backends.main]\nstream = false\n\n[[traffic]]\nname = \"base\"\nslo = { e2e_ms = { p99 = 3000 } }";
    NO_TARGET = "B0410", "an SLO that asks for nothing",
        "A metric in `slo` needs a target or a deadline, and `goodput` needs a deadline (or a quantile target, which then is the deadline) on some per-request metric: with none, every request would meet it.",
        bad: "[[traffic]]\nname = \"base\"\nslo = { ttft_ms = {} }",
        good: "[[traffic]]\nname = \"base\"\nslo = { ttft_ms = { p99 = 300 } }";
    FALLING_TARGETS = "B0411", "a higher quantile with a lower target",
        "The p99 of a distribution is never below its p90, so the lower of the two targets is the only one that counts: probably they are swapped.",
        bad: "[[traffic]]\nname = \"base\"\nslo = { ttft_ms = { p90 = 500, p99 = 300 } }",
        good: "[[traffic]]\nname = \"base\"\nslo = { ttft_ms = { p90 = 300, p99 = 500 } }";
    TIMEOUT = "B0412", "a timeout longer than a day",
        "Latencies are recorded up to 24 hours; a request that may take longer could not be.",
        bad: "[backends.main]\ntimeout = \"2d\"", good: "[backends.main]\ntimeout = \"10m\"";
    SECRET_SOURCE = "B0413", "a secret needs exactly one source",
        "A reference to a secret has either `env`, the name of a variable, or `file`, a path.",
        bad: "[backends.main]\napi_key = { env = \"API_KEY\", file = \"key.txt\" }",
        good: "[backends.main]\napi_key = { env = \"API_KEY\" }";
    ONE_BURST = "B0414", "a single burst that is too small",
        "Without `every` there is one burst, so the window can never hold more requests than its `size`.",
        bad: "phases.measure = { requests = 100 }\n\n[load]\nkind = \"burst\"\nsize = 10",
        good: "phases.measure = { requests = 100 }\n\n[load]\nkind = \"burst\"\nsize = 10\nevery = \"1s\"";
    VALIDITY_ORDER = "B0415", "validity limits in the wrong order",
        "A point becomes suspect before it becomes invalid: `dispatch_lag_suspect_share` is at most `dispatch_lag_invalid_share`, `started_suspect_share` at least `started_invalid_share`.",
        bad: "[validity]\ndispatch_lag_suspect_share = 0.3", good: "[validity]\ndispatch_lag_suspect_share = 0.1";
    HEADER = "B0416", "a header that HTTP does not allow, or that is set twice",
        "Header names are letters, digits and a few signs; values are visible ASCII. The same header must not stand in `headers`, `secret_headers` and `api_key` (which sends `Authorization`) at the same time.",
        bad: "[backends.main.headers]\n\"x team\" = \"serving\"", good: "[backends.main.headers]\nx-team = \"serving\"";
    TEMPLATE = "B0420", "a template whose places do not fit",
        "A template of `kind = \"template\"` has `{filler}` exactly once and may have `{output_tokens}`; one of `kind = \"number-words\"` has `{number}`. A brace of the text is written twice.",
        bad: "[workloads.chat]\nprompts = { kind = \"template\", template = \"Repeat: {text}\" }",
        good: "[workloads.chat]\nprompts = { kind = \"template\", template = \"Repeat: {filler}\" }";
    LOAD = "B0430", "a load that contradicts itself",
        "A constant load has either `rate_per_s` or `every`. Only bursts that repeat can grow. Stages last longer than nothing, an exponential ramp has a rate above 0 at both ends, and load goes on after the last stage: it ends above 0, or the stages are repeated.",
        bad: "[load]\nkind = \"poisson\"\nrate_per_s = 5\nstages = [{ kind = \"linear\", to_per_s = 0, duration = \"30s\" }]",
        good: "[load]\nkind = \"poisson\"\nrate_per_s = 5\nstages = [{ kind = \"linear\", to_per_s = 20, duration = \"30s\" }]";
    CLASS_LOADS = "B0431", "loads of classes that do not fit together",
        "A traffic class has either a `weight`, its share of `[load]`, or a `load` of its own. Loads of their own run side by side, so they are open loops; users and a `split` stand in `[load]`. Without `[load]`, or with `kind = \"classes\"`, every class has its own.",
        bad: "[load]\nkind = \"users\"\nusers = 4\n\n[[traffic]]\nname = \"base\"\n\n[[traffic]]\nname = \"batch\"\nbackend = \"main\"\nworkload = \"chat\"\nload = { kind = \"burst\", size = 10, every = \"30s\" }",
        good: "[[traffic]]\nname = \"base\"\n\n[[traffic]]\nname = \"batch\"\nbackend = \"main\"\nworkload = \"chat\"\nload = { kind = \"burst\", size = 10, every = \"30s\" }";
    SESSION = "B0440", "sessions that cannot be held",
        "A session has at least one request, and its laws have their bounds in order. Its messages are made by `bench` (`synthetic` prompts, which need `turns`) or are the rows of a dataset of conversations (`sharegpt`, `messages`), which says how long they are.",
        bad: "[workloads.chat.session]\nturns = { kind = \"uniform\", min = 6, max = 2 }\nhistory = \"server\"",
        good: "[workloads.chat.session]\nturns = { kind = \"uniform\", min = 2, max = 6 }\nhistory = \"server\"";
    CANNOT_FORCE = "B0441", "an output length that cannot be forced",
        "`force_output_length` needs to know the software of the server, since each has its own way and hosted APIs have none; and stop sequences would end answers early all the same.",
        bad: "[backends.main]\nurl = \"http://localhost:8000\"\nforce_output_length = true",
        good: "[backends.main]\nurl = \"http://localhost:8000\"\nserver = \"vllm\"\nforce_output_length = true";
    UNKNOWN_TO_SERVER = "B0442", "a request key that the server does not know",
        "Servers refuse keys they do not know, or silently ignore them, and then the number is not what the scenario says. `extra_body` sends any key unchecked.",
        bad: "[backends.main]\nurl = \"https://api.example.com/v1\"\nserver = \"openai\"\nsampling = { top_k = 20 }",
        good: "[backends.main]\nurl = \"https://api.example.com/v1\"\nserver = \"openai\"\nsampling = { temperature = 0.2 }";
    ADDRESSES = "B0443", "a backend needs one address, or several",
        "A backend has `url`, or `urls` for several servers that answer alike; `url_weights` has one number for each of them.",
        bad: "[backends.main]\nurls = [\"http://a:8000\", \"http://b:8000\"]",
        good: "[backends.other]\nprotocol = \"openai-chat\"\nurls = [\"http://a:8000\", \"http://b:8000\"]\nurl_weights = [2, 1]\n\n[[traffic]]\nname = \"second\"\nbackend = \"other\"\nworkload = \"chat\"";
    ONE_OF_TWO = "B0444", "lengths that are given twice, or not at all",
        "A histogram has `bins` or the `path` of a file, pairs have `pairs` or a `path`, a gamma law has `cv` or `sd`, and a workload has `tokens` or `input_tokens` and `output_tokens`: exactly one of the two.",
        bad: "[workloads.chat]\ninput_tokens = { kind = \"gamma\", mean = 500, max = 4000 }",
        good: "[workloads.chat]\ninput_tokens = { kind = \"gamma\", mean = 500, cv = 0.8, max = 4000 }";
    TRACE_PROMPTS = "B0470", "prompts of a trace without a load that replays it",
        "With `prompts.kind = \"trace\"` request i has the lengths and blocks of row i of the trace that `load` replays; no other load has rows.",
        bad: "[workloads.chat]\nprompts = { kind = \"trace\" }\ninput_tokens = { kind = \"fixed\", value = 100 }",
        good: "[workloads.chat]\nprompts = { kind = \"synthetic\" }";
    SIMULATOR_HTTP2 = "B0480", "the simulated server does not speak HTTP/2",
        "`sim:PROFILE` speaks HTTP/1.1 alone. Leave `http` out to use it, or give the URL of a server that speaks HTTP/2.",
        bad: "[backends.main]\nurl = \"sim:instant\"\nhttp = \"2\"",
        good: "[backends.main]\nurl = \"http://localhost:8000\"\nhttp = \"2\"";
}
