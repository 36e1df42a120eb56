//! Datasets: what is kept, in which order, and what bad files say. The formats beside ShareGPT are in `formats`.

use std::collections::HashSet;
use std::path::Path;

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::seed::{Seed, sha256_hex};
use llm_bench::workload::{Traffic, WorkloadError};

use super::{ONE_CLASS, build, open, scenario, text};

const RATE: &str = "kind = \"constant\"\nrate_per_s = 10";

fn workload(prompts: &str, more: &str) -> String {
    format!("[workloads.w]\nprompts = {{ kind = \"sharegpt\", {prompts} }}\n{more}\n")
}

fn from_file(content: &[u8], prompts: &str, more: &str, phases: &str) -> Result<Traffic, WorkloadError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d.json"), content).unwrap();
    from_folder(folder.path(), prompts, more, phases)
}

fn from_folder(folder: &Path, prompts: &str, more: &str, phases: &str) -> Result<Traffic, WorkloadError> {
    let scenario = scenario(&workload(&format!("path = \"d.json\"{prompts}"), more), ONE_CLASS, RATE, phases);
    Traffic::build(&scenario, Seed::root(1), None, &Assets::new(folder))
}

/// `rows` conversations whose prompts are `w<row>` and whose answers have `row % 7 + 1` words.
fn numbered(rows: usize) -> String {
    let row = |row| {
        let answer = vec!["river"; row % 7 + 1].join(" ");
        format!(
            r#"{{"conversations":[{{"from":"human","value":"question {row}"}},{{"from":"gpt","value":"{answer}"}}]}}"#
        )
    };
    (0..rows).map(row).collect::<Vec<String>>().join("\n")
}

#[test]
fn first_human_turns_are_sent_and_the_rest_is_counted() {
    let traffic =
        build(&scenario(&workload("path = \"sharegpt/small.json\"", ""), ONE_CLASS, RATE, "warmup = \"0s\""), 1);
    let stats = traffic.datasets().next().unwrap();
    assert_eq!((stats.rows, stats.used), (9, 4));
    assert_eq!((stats.without_prompt, stats.without_answer, stats.duplicate), (3, 1, 1));
    assert_eq!(stats.to_string(), "4 of 9 rows, 3 without prompt, 1 without answer, 1 duplicate");
    let tokenizer = &traffic.classes()[0].tokenizer;
    let prompts: HashSet<String> = (0..4)
        .map(|index| {
            let content = open(&traffic, index);
            assert_eq!(content.input_tokens_counted as usize, tokenizer.count(text(&content)));
            text(&content).to_owned()
        })
        .collect();
    assert!(prompts.contains("Why is the sky blue?\n\nPlease add a \"source\"."), "{prompts:?}");
    assert!(prompts.contains("Écris « bonjour » en 日本語."));
    let hello = (0..4).map(|index| open(&traffic, index)).find(|content| text(content) == "Hi").unwrap();
    assert_eq!(hello.output_tokens_asked as usize, tokenizer.count("Hello."), "the recorded answer's length");
}

#[test]
fn filters_and_asked_outputs_apply() {
    let settings = "path = \"sharegpt/small.json\", min_input_tokens = 4, max_input_tokens = 15";
    let more = "output_tokens = { kind = \"fixed\", value = 77 }";
    let traffic = build(&scenario(&workload(settings, more), ONE_CLASS, RATE, "warmup = \"0s\""), 1);
    let stats = traffic.datasets().next().unwrap();
    // Counts: 16 tokens (the rivers), 13 or so (the sky), 3 (nobody answers me is kept now: 4), 1 (Hi).
    assert_eq!(stats.without_answer, 0, "no answer is needed");
    assert_eq!(stats.rows, stats.used + stats.too_short + stats.too_long + stats.without_prompt + stats.duplicate);
    assert!(stats.too_short == 1 && stats.too_long >= 1, "{stats}");
    for index in 0..stats.used {
        let content = open(&traffic, index);
        assert!((4..=15).contains(&content.input_tokens_counted));
        assert_eq!(content.output_tokens_asked, 77);
    }
}

#[test]
fn lines_and_arrays_read_the_same() {
    let lines = numbered(50);
    let array = format!("[{}]", lines.replace('\n', ",\n"));
    let phases = "warmup = \"0s\"";
    let one = from_file(lines.as_bytes(), "", "", phases).unwrap();
    let two = from_file(array.as_bytes(), "", "", phases).unwrap();
    for index in 0..60 {
        assert_eq!(open(&one, index), open(&two, index));
    }
    let marked = [b"\xef\xbb\xbf\n", lines.as_bytes()].concat();
    assert!(from_file(&marked, "", "", phases).is_ok(), "a byte order mark is passed over");
}

#[test]
fn rows_are_drawn_without_replacement_and_repeats_are_known_ahead() {
    // 1 s of warm-up is 10 requests, 8 s are 80: 90 rows suffice.
    let phases = "warmup = \"1s\"\nmeasure = { duration = \"8s\" }";
    let traffic = from_file(numbered(90).as_bytes(), "", "", phases).unwrap();
    let window = traffic.open().unwrap().window().clone();
    let mut prompts = HashSet::new();
    for arrival in traffic.open().unwrap().schedule().take(90) {
        let id = RequestId::Open { index: arrival.index };
        let content = traffic.content(window.phase(arrival.index), id, arrival.class);
        assert!(prompts.insert(text(&content).to_owned()), "request {} repeats", arrival.index);
    }
    assert_eq!(traffic.repeated_prompts(&window.measured_by_class), 0);

    // 60 rows: 10 % are kept for warm-up, 54 are left for 80 requests.
    let traffic = from_file(numbered(60).as_bytes(), "", "", phases).unwrap();
    let prompt = |phase, index| text(&traffic.content(phase, RequestId::Open { index }, 0)).to_owned();
    let warmup: HashSet<String> = (0..10).map(|index| prompt(Phase::Warmup, index)).collect();
    let measured: HashSet<String> = (10..90).map(|index| prompt(Phase::Measure, index)).collect();
    assert_eq!((warmup.len(), measured.len()), (6, 54));
    assert!(warmup.is_disjoint(&measured), "warm-up never recurs in the window");
    assert_eq!(traffic.repeated_prompts(&window.measured_by_class), 80 - 54);
}

#[test]
fn classes_share_a_dataset_without_repeats() {
    let classes = format!(
        "{ONE_CLASS}{}{}",
        ONE_CLASS.replace("base", "two"),
        ONE_CLASS.replace("base", "three").replace("\"w\"", "\"s\"")
    );
    let workloads = format!(
        "{}[workloads.s]\nprompts = {{ kind = \"synthetic\" }}\ninput_tokens = {{ kind = \"fixed\", value = 9 }}\n\
         output_tokens = {{ kind = \"fixed\", value = 8 }}\n",
        workload("path = \"d.json\"", "")
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d.json"), numbered(400)).unwrap();
    let scenario = scenario(&workloads, &classes, RATE, "warmup = \"5s\"\nmeasure = { duration = \"45s\" }");
    let traffic = Traffic::build(&scenario, Seed::root(2), None, &Assets::new(folder.path())).unwrap();
    let open = traffic.open().unwrap();
    let mut prompts = HashSet::new();
    let mut from_dataset = 0;
    // 500 arrivals, about 333 of them from the 400 rows.
    for arrival in open.schedule().take(500) {
        let phase = open.window().phase(arrival.index);
        let content = traffic.content(phase, RequestId::Open { index: arrival.index }, arrival.class);
        from_dataset += u32::from(arrival.class < 2);
        assert!(prompts.insert(text(&content).to_owned()), "{arrival:?}");
    }
    assert!((280..=390).contains(&from_dataset), "{from_dataset}");
    assert_eq!(traffic.prompt_supplies().len(), 1);
    assert_eq!(traffic.prompt_supplies()[0].classes, [0, 1]);
}

#[test]
fn a_salt_opens_dataset_prompts_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d.json"), numbered(20)).unwrap();
    let scenario = scenario(&workload("path = \"d.json\", salt = \"run\"", ""), ONE_CLASS, RATE, "warmup = \"0s\"");
    let run = |salt| Traffic::build(&scenario, Seed::root(2), Some(salt), &Assets::new(folder.path())).unwrap();
    let (one, two) = (open(&run("1"), 0), open(&run("2"), 0));
    let (salt, prompt) = text(&one).split_once("\n\n").unwrap();
    assert_eq!(salt.split(' ').count(), 4);
    assert!(text(&two).ends_with(prompt) && !text(&two).starts_with(salt));
    assert_eq!(one.input_tokens_counted as usize, run("1").classes()[0].tokenizer.count(text(&one)));
}

/// What loading `content` says.
fn complaint(content: &str) -> String {
    complaint_bytes(content.as_bytes())
}

fn complaint_bytes(content: &[u8]) -> String {
    from_file(content, "", "", "").unwrap_err().to_string()
}

#[test]
fn bad_files_are_refused_with_row_field_value_and_count() {
    let good = numbered(2);
    let cases = [
        (
            "",
            "`d.json` is no ShareGPT file: the file is empty; expected a JSON array, or one object a line, of { \"conversations\": [ … ] }",
        ),
        (
            "prompt,answer\n",
            "`d.json` is no ShareGPT file: it begins with `p`; expected a JSON array, or one object a line, of { \"conversations\": [ … ] }",
        ),
        ("[]", "`d.json` has no usable row: 0 of 0 rows"),
        ("[{\"conversations\": []}]", "`d.json` has no usable row: 0 of 1 row, 1 without prompt"),
        (
            "[{\"conversations\": 7}, {\"items\": []}, [1]]",
            "`d.json`, row 1, `conversations`: found `7`, expected a list of turns; 2 more rows are wrong",
        ),
        (
            "[{\"items\": []}]",
            "`d.json`, row 1, `conversations`: found `missing, the row has [\"items\"]`, expected a list of turns",
        ),
        (
            "[{\"conversations\": [{\"from\": \"human\", \"value\": 12}]}]",
            "`d.json`, row 1, `conversations[0].value`: found `12`, expected a string",
        ),
        (
            "[{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"value\": \"b\"}]}]",
            "`d.json`, row 1, `conversations[1].from`: found `missing`, expected a string",
        ),
    ];
    for (content, expected) in cases {
        assert_eq!(complaint(content), expected);
    }
    // A bad line among good ones never shortens the dataset.
    let lines = format!("{good}\n{{\"conversations\": [}}\n{good}\n{{]\n");
    let found = complaint(&lines);
    assert!(
        found.starts_with("`d.json`, row 3: found `{\"conversations\": [}`, expected one JSON object ("),
        "{found}"
    );
    assert!(found.ends_with("; 1 more row is wrong"), "{found}");
}

#[test]
fn truncated_and_mangled_files_are_refused() {
    let array = format!("[{}]", numbered(5).replace('\n', ",\n"));
    let cut = complaint(&array[..array.len() - 30]);
    assert!(cut.starts_with("`d.json`, row 5: EOF while parsing"), "{cut}");
    assert!(cut.ends_with("; the 4 rows before it can be read, nothing after it"), "{cut}");
    let cut = complaint(&array[..array.len() - 1]);
    assert!(cut.starts_with("`d.json`, row 6: EOF while parsing a list at line 5"), "{cut}");
    let more = complaint(&format!("{array} []"));
    assert!(more.contains("trailing characters at line 5"), "{more}");
    let lines = numbered(5);
    let cut = complaint(&lines[..lines.len() - 9]);
    assert!(cut.starts_with("`d.json`, row 5: found `{\"conversations\""), "{cut}");
    let mut bytes = numbered(3).into_bytes();
    bytes[60] = 0xff;
    let found = complaint_bytes(&bytes);
    assert!(
        found.starts_with("`d.json`, row 1: found `{") && found.contains("expected UTF-8 (byte 61 is not)"),
        "{found}"
    );
}

#[test]
fn a_pin_is_checked_against_the_whole_file() {
    let content = numbered(5);
    let digest = sha256_hex(content.as_bytes());
    assert!(from_file(content.as_bytes(), &format!(", sha256 = \"{digest}\""), "", "").is_ok());
    let changed = format!("{content}\n\n");
    let error = from_file(changed.as_bytes(), &format!(", sha256 = \"{digest}\""), "", "").unwrap_err().to_string();
    let found = sha256_hex(changed.as_bytes());
    assert!(error.starts_with(&format!("`d.json` has sha256 `{found}`, but the scenario pins `{digest}`")), "{error}");
    // A truncated download is reported as what it is, not as a syntax error.
    let error = from_file(b"[{", &format!(", sha256 = \"{digest}\""), "", "").unwrap_err().to_string();
    assert!(error.contains("but the scenario pins"), "{error}");
}

#[test]
fn a_missing_file_is_named_as_the_scenario_spells_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = from_folder(folder.path(), "", "", "").unwrap_err().to_string();
    assert!(error.starts_with("cannot read `d.json`: "), "{error}");
    assert!(!error.contains(&folder.path().display().to_string()));
}

#[test]
fn lengths_of_a_dataset_are_not_asked_for_twice() {
    let more = "input_tokens = { kind = \"fixed\", value = 3 }";
    let error = from_file(b"", "", more, "").unwrap_err().to_string();
    assert!(error.starts_with("`workloads.w.input_tokens`: a dataset has the lengths of its prompts"), "{error}");
}
