//! Templates around filler of an exact length, and numbers in words.

use std::collections::HashSet;

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::numerals;
use llm_bench::seed::Seed;
use llm_bench::workload::Traffic;

use super::{ONE_CLASS, build, data, open, scenario, text, try_build};

const RATE: &str = "kind = \"constant\"\nrate_per_s = 10";
const REPEAT: &str = r#"Repeat lines of the text below, {output_tokens} tokens or more.\n\n\"\"\"\n{filler}\n\"\"\""#;

fn workload(tokenizer: &str, template: &str, input: &str) -> String {
    format!(
        "[tokenizers.small]\nkind = \"file\"\npath = \"tokenizer/small-bpe.json\"\n[workloads.w]\n\
         tokenizer = \"{tokenizer}\"\nprompts = {{ kind = \"template\", template = \"{template}\" }}\n\
         input_tokens = {input}\noutput_tokens = {{ kind = \"uniform\", min = 9, max = 1200 }}\n"
    )
}

#[test]
fn the_whole_prompt_has_the_tokens_asked() {
    for tokenizer in ["builtin", "small"] {
        let workload = workload(tokenizer, REPEAT, "{ kind = \"uniform\", min = 120, max = 400 }");
        let traffic = build(&scenario(&workload, ONE_CLASS, RATE, ""), 3);
        let tokenizer = &traffic.classes()[0].tokenizer;
        let mut seen = HashSet::new();
        for index in 0..300 {
            let content = open(&traffic, index);
            let prompt = text(&content);
            assert_eq!(tokenizer.count(prompt), content.input_tokens_asked as usize, "{prompt}");
            assert_eq!(content.input_tokens_counted, content.input_tokens_asked);
            let asked = format!("Repeat lines of the text below, {} tokens or more.", content.output_tokens_asked);
            assert!(prompt.starts_with(&asked) && prompt.ends_with("\n\"\"\""), "{prompt}");
            assert!(seen.insert(prompt.to_owned()), "no two are alike");
        }
    }
}

#[test]
fn a_template_longer_than_the_shortest_prompt_is_refused() {
    let workload = workload("builtin", "Say {filler} again", "{ kind = \"uniform\", min = 2, max = 40 }");
    let error = try_build(&scenario(&workload, ONE_CLASS, RATE, ""), 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "`workloads.w.input_tokens`: the shortest prompt has 2 tokens, but the template and one word have 3; raise its \
         smallest length to at least 3"
    );
    for (template, expected) in [
        ("no place", "`workloads.w.prompts.template`: `template` needs `{filler}` exactly once"),
        ("{filler} {filler}", "`workloads.w.prompts.template`: `template` needs `{filler}` exactly once"),
        (
            "{filler} {",
            "`workloads.w.prompts.template`: `{` stands alone in `template`; a brace is written twice: `{{`",
        ),
    ] {
        let workload = self::workload("builtin", template, "{ kind = \"fixed\", value = 50 }");
        let error = try_build(&scenario(&workload, ONE_CLASS, RATE, ""), 1).unwrap_err().to_string();
        assert_eq!(error, expected);
    }
}

#[test]
fn a_salt_opens_a_template() {
    let workload = workload("builtin", "Say {filler} again", "{ kind = \"fixed\", value = 40 }")
        .replace("again\" }", "again\", salt = \"run\" }");
    let scenario = scenario(&workload, ONE_CLASS, RATE, "");
    let run = |salt| Traffic::build(&scenario, Seed::root(2), Some(salt), &Assets::new(data())).unwrap();
    let (one, two) = (open(&run("1"), 0), open(&run("2"), 0));
    let (salt, prompt) = text(&one).split_once("\n\n").unwrap();
    assert!(prompt.starts_with("Say ") && salt.split(' ').count() == 4);
    assert!(!text(&two).starts_with(salt) && one.input_tokens_counted == 40);
}

const NUMBERS: &str = r#"
    [workloads.w]
    prompts = { kind = "number-words" }
    output_tokens = { kind = "fixed", value = 16 }
"#;

#[test]
fn numbers_are_spelled_and_their_digits_expected() {
    let traffic = build(&scenario(NUMBERS, ONE_CLASS, RATE, "warmup = \"1s\"\nmeasure = { duration = \"20m\" }"), 3);
    let mut numbers = HashSet::new();
    for index in 0..10_001 {
        let phase = if index < 10 { Phase::Warmup } else { Phase::Measure };
        let content = traffic.content(phase, RequestId::Open { index }, 0);
        let number = content.expected_number.unwrap();
        let words = numerals::spell(number);
        assert_eq!(
            text(&content),
            format!("Write this number in digits: {words}.\nStart your answer with the digits.")
        );
        let tokenizer = &traffic.classes()[0].tokenizer;
        assert_eq!(content.input_tokens_counted as usize, tokenizer.count(text(&content)));
        numbers.insert(number);
    }
    // Warm-up takes its ten from the back, the window the rest from the front, ten of them twice.
    assert!(numbers.len() >= 9_981 && numbers.iter().all(|number| *number <= 10_000), "{}", numbers.len());
    // 12 000 measured requests, 9 991 numbers that warm-up leaves.
    assert_eq!(traffic.repeated_prompts(&traffic.open().unwrap().window().measured_by_class), 12_000 - 9_991);
}

#[test]
fn classes_share_the_numbers() {
    let classes = format!("{ONE_CLASS}{}", ONE_CLASS.replace("base", "two"));
    let traffic = build(&scenario(NUMBERS, &classes, RATE, "warmup = \"0s\""), 3);
    let mut numbers = HashSet::new();
    for arrival in traffic.open().unwrap().schedule().take(5_000) {
        let id = RequestId::Open { index: arrival.index };
        let content = traffic.content(Phase::Measure, id, arrival.class);
        assert!(numbers.insert(content.expected_number.unwrap()), "{arrival:?}");
    }
    assert_eq!(traffic.prompt_supplies().len(), 1);
    assert_eq!(traffic.prompt_supplies()[0].classes, [0, 1]);
}

#[test]
fn a_conversation_that_its_template_refuses_is_a_miscount() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(data().join("tokenizer/small-bpe.json"), folder.path().join("t.json")).unwrap();
    let template = "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}\
                    {% endif %}{{ message.content }}{% endfor %}";
    std::fs::write(folder.path().join("t.jinja"), template).unwrap();
    let miscounts = |system: &str| {
        let row = format!("{{\"messages\":[{system}{{\"role\":\"user\",\"content\":\"one two\"}}]}}\n");
        std::fs::write(folder.path().join("rows.jsonl"), row).unwrap();
        let workload = "[tokenizers.t]\nkind = \"file\"\npath = \"t.json\"\nchat_template = \"t.jinja\"\n[workloads.w]\n\
                        tokenizer = \"t\"\ncount = \"rendered\"\nprompts = { kind = \"messages\", path = \"rows.jsonl\" }\n\
                        output_tokens = { kind = \"fixed\", value = 8 }\n";
        let scenario = scenario(workload, ONE_CLASS, RATE, "");
        let traffic = Traffic::build(&scenario, Seed::root(2), None, &Assets::new(folder.path())).unwrap();
        (0..200).for_each(|index| drop(open(&traffic, index)));
        traffic.recounts()
    };
    // One in a hundred is counted again: the first and the hundred-and-first.
    assert_eq!(miscounts(""), (2, 0));
    assert_eq!(miscounts("{\"role\":\"system\",\"content\":\"be brief\"},"), (2, 2));
}
