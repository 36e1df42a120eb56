//! Datasets of every format: what is sent, how rows are drawn, and what bad files say.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::protocol::Prompt;
use llm_bench::seed::{Seed, sha256_hex};
use llm_bench::workload::{Traffic, WorkloadError};

use super::{ONE_CLASS, open, scenario, text};

const RATE: &str = "kind = \"constant\"\nrate_per_s = 10";
const ASKED: &str = "output_tokens = { kind = \"fixed\", value = 5 }";

fn load(kind: &str, content: &[u8], prompts: &str, more: &str) -> Result<Traffic, WorkloadError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d"), content).unwrap();
    load_from(folder.path(), kind, prompts, more)
}

fn load_from(folder: &Path, kind: &str, prompts: &str, more: &str) -> Result<Traffic, WorkloadError> {
    let workload = format!("[workloads.w]\nprompts = {{ kind = \"{kind}\", path = \"d\"{prompts} }}\n{more}\n");
    let scenario = scenario(&workload, ONE_CLASS, RATE, "warmup = \"0s\"");
    Traffic::build(&scenario, Seed::root(1), None, &Assets::new(folder))
}

/// Prompts and asked output tokens of the first `count` requests.
fn sent(traffic: &Traffic, count: u64) -> BTreeMap<String, u32> {
    (0..count)
        .map(|index| {
            let content = open(traffic, index);
            let tokenizer = &traffic.classes()[0].tokenizer;
            assert_eq!(content.input_tokens_counted as usize, tokenizer.count(text(&content)));
            (text(&content).to_owned(), content.output_tokens_asked)
        })
        .collect()
}

fn map<const N: usize>(rows: [(&str, u32); N]) -> BTreeMap<String, u32> {
    rows.into_iter().map(|(prompt, tokens)| (prompt.to_owned(), tokens)).collect()
}

#[test]
fn json_lines_say_prompts_and_lengths() {
    let rows =
        "{\"prompt\": \"one river\", \"output_len\": 7, \"id\": 3}\n\n{\"output_len\": 9, \"prompt\": \"two\"}\n";
    let traffic = load("jsonl", rows.as_bytes(), "", "").unwrap();
    assert_eq!(sent(&traffic, 2), map([("one river", 7), ("two", 9)]));
    // Other names; an answer is counted where the row does not say how many tokens to ask for.
    let rows = "[{\"q\": \"one\", \"a\": \"the river and the tree\"}, {\"q\": \"two\", \"a\": \"no\"}]";
    let traffic = load("jsonl", rows.as_bytes(), ", columns = { prompt = \"q\", answer = \"a\" }", "").unwrap();
    assert_eq!(sent(&traffic, 2), map([("one", 5), ("two", 1)]));
    // The workload's own lengths win.
    let traffic = load("jsonl", rows.as_bytes(), ", columns = { prompt = \"q\" }", ASKED).unwrap();
    assert_eq!(sent(&traffic, 2), map([("one", 5), ("two", 5)]));
}

#[test]
fn lists_and_lines_are_prompts_and_nothing_else() {
    let expected = map([("Où est la gare ?", 5), ("say \"hi\"", 5)]);
    for (kind, content) in [
        ("list", "[\"Où est la gare ?\", \"say \\\"hi\\\"\"]"),
        ("list", "\"Où est la gare ?\"\n\"say \\\"hi\\\"\"\n"),
        ("lines", "Où est la gare ?\r\n\r\nsay \"hi\""),
    ] {
        let traffic = load(kind, content.as_bytes(), "", ASKED).unwrap();
        assert_eq!(sent(&traffic, 2), expected, "{kind}");
        let error = load(kind, content.as_bytes(), "", "").unwrap_err().to_string();
        assert_eq!(error, format!("`workloads.w.output_tokens`: {kind} prompts need `output_tokens`"));
    }
}

#[test]
fn csv_columns_are_found_by_name() {
    let rows = "id,prompt,output_tokens\n1,\"one, two\",7\n2,\"a \"\"quoted\"\"\nline\",9\n";
    let traffic = load("csv", rows.as_bytes(), "", "").unwrap();
    assert_eq!(sent(&traffic, 2), map([("one, two", 7), ("a \"quoted\"\nline", 9)]));
    let marked = [b"\xef\xbb\xbf", rows.replace("prompt", "frage").as_bytes()].concat();
    let columns = ", columns = { prompt = \"frage\", output_tokens = \"id\" }";
    let traffic = load("csv", &marked, columns, "").unwrap();
    assert_eq!(sent(&traffic, 2), map([("one, two", 1), ("a \"quoted\"\nline", 2)]));
}

#[test]
fn csv_may_be_separated_by_semicolons_and_tabs() {
    let expected = map([("one; two\tthree, four", 7), ("five", 9)]);
    for delimiter in [",", ";", "\t"] {
        let rows = format!(
            "id{delimiter}prompt{delimiter}output_len\r\n1{delimiter}\"one; two\tthree, four\"{delimiter}7\r\n2{delimiter}five{delimiter}9"
        );
        assert_eq!(sent(&load("csv", rows.as_bytes(), "", "").unwrap(), 2), expected, "{delimiter:?}");
    }
    let blank = "\r\n \nprompt;output_len\nx;3\n";
    assert_eq!(sent(&load("csv", blank.as_bytes(), "", "").unwrap(), 1), map([("x", 3)]));
    // Whatever stands in other names, and where no separator finds the column, the names are those between commas.
    let odd = "a;b,prompt,output_len\nx;y,z,3\n";
    assert_eq!(sent(&load("csv", odd.as_bytes(), "", "").unwrap(), 1), map([("z", 3)]));
    let error = load("csv", b"frage;output_len\nx;3\n", "", "").unwrap_err().to_string();
    assert!(error.contains("there is no column `prompt`; the columns are `frage;output_len`"), "{error}");
    let error = load("csv", b"prompt;output_len\nx,3\n", "", "").unwrap_err().to_string();
    assert!(error.contains("row 1 (line 2): found `1 field`, expected 2 fields"), "{error}");
}

#[test]
fn conversations_keep_their_roles() {
    let rows = r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "the river"}]}
{"messages": [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "three"}, {"role": "assistant", "content": "the river and the tree"}]}
{"messages": [{"role": "system", "content": "alone"}]}
"#;
    let traffic = load("messages", rows.as_bytes(), "", "").unwrap();
    assert_eq!(traffic.datasets().next().unwrap().without_prompt, 1);
    let mut seen = BTreeMap::new();
    for index in 0..2 {
        let content = open(&traffic, index);
        let Prompt::Messages(messages) = &content.prompt else { panic!("{content:?}") };
        let talk: Vec<_> = messages.iter().map(|message| format!("{}: {}", message.role, message.content)).collect();
        let tokenizer = &traffic.classes()[0].tokenizer;
        let counted: usize = messages.iter().map(|message| tokenizer.count(&message.content)).sum();
        assert_eq!(content.input_tokens_counted as usize, counted);
        seen.insert(talk.join(" | "), content.output_tokens_asked);
    }
    let expected = map([("system: Be brief. | user: Hi", 2), ("user: one two | assistant: a | user: three", 5)]);
    assert_eq!(seen, expected);
}

#[test]
fn a_salt_opens_the_first_message() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d"), "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}").unwrap();
    let workload =
        format!("[workloads.w]\nprompts = {{ kind = \"messages\", path = \"d\", salt = \"run\" }}\n{ASKED}\n");
    let scenario = scenario(&workload, ONE_CLASS, RATE, "");
    let traffic = Traffic::build(&scenario, Seed::root(1), Some("run 1"), &Assets::new(folder.path())).unwrap();
    let content = open(&traffic, 0);
    let Prompt::Messages(messages) = &content.prompt else { panic!("{content:?}") };
    assert!(messages[0].content.ends_with("\n\nHi") && messages[0].content.split(' ').count() == 4);
    let own = traffic.classes()[0].tokenizer.count("Hi");
    assert_eq!(content.input_tokens_counted as usize, 4 + 1 + own, "the salt, the blank line, the prompt");
}

#[test]
fn recorded_answers_filter_rows() {
    let rows: String = (1..=20).map(|row| format!("{{\"prompt\": \"w{row}\", \"output_len\": {row}}}\n")).collect();
    let filter = ", min_answer_tokens = 4, max_answer_tokens = 15";
    let traffic = load("jsonl", rows.as_bytes(), filter, ASKED).unwrap();
    let stats = traffic.datasets().next().unwrap();
    assert_eq!((stats.used, stats.answer_too_short, stats.answer_too_long), (12, 3, 5));
    assert_eq!(stats.to_string(), "12 of 20 rows, 3 with a too short answer, 5 with a too long answer");
    assert!(sent(&traffic, 12).keys().all(|prompt| (4..=15).contains(&prompt[1..].parse::<u32>().unwrap())));
    let error = load("jsonl", rows.as_bytes(), ", min_answer_tokens = 9, max_answer_tokens = 8", "").unwrap_err();
    assert!(error.to_string().contains("`min_answer_tokens` 9 is greater than `max_answer_tokens` 8"), "{error}");
}

#[test]
fn rows_come_shuffled_in_order_or_with_replacement() {
    let lines: Vec<String> = (0..200).map(|row| format!("line {row}")).collect();
    let prompts = |draw: &str| -> Vec<String> {
        let traffic = load("lines", lines.join("\n").as_bytes(), draw, ASKED).unwrap();
        let window = traffic.open().unwrap().window().clone();
        let repeated = traffic.repeated_prompts(&[window.measured_by_class[0]]);
        assert_eq!(repeated, if draw.contains("replacement") { 0 } else { 100 }, "300 measured, 200 rows");
        (0..300).map(|index| text(&open(&traffic, index)).to_owned()).collect()
    };
    assert_eq!(prompts(", draw = \"in-order\"")[..200], lines, "the order of the file");
    let shuffled = prompts("");
    assert!(shuffled[..200].iter().collect::<HashSet<_>>().len() == 200 && shuffled[..200] != lines);
    assert_eq!(shuffled[..100], shuffled[200..], "after the last row the first comes again");
    // 300 draws of 200: 200·(1 − (199/200)^300) = 155.5 different ones on average, standard deviation about 5.
    let drawn: HashSet<_> = prompts(", draw = \"with-replacement\"").into_iter().collect();
    assert!((135..=176).contains(&drawn.len()), "{}", drawn.len());
}

#[test]
fn gzip_reads_as_what_is_inside() {
    let rows = "{\"prompt\": \"one\", \"output_len\": 7}\n{\"prompt\": \"two\", \"output_len\": 9}\n";
    let mut packed = Vec::new();
    // Two members, as tools that append write them.
    for part in [&rows[..30], &rows[30..]] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part.as_bytes()).unwrap();
        packed.extend(encoder.finish().unwrap());
    }
    let pin = format!(", sha256 = \"{}\"", sha256_hex(&packed));
    let traffic = load("jsonl", &packed, &pin, "").unwrap();
    assert_eq!(sent(&traffic, 2), map([("one", 7), ("two", 9)]));
    let cut = &packed[..packed.len() - 12];
    let error = load("jsonl", cut, "", "").unwrap_err().to_string();
    assert!(error.starts_with("cannot read `d`"), "{error}");
    let error = load("jsonl", cut, &pin, "").unwrap_err().to_string();
    assert!(error.contains("but the scenario pins"), "{error}");
}

#[test]
fn bad_files_are_refused_with_row_line_column_value_and_count() {
    let cases: [(&str, &str, &[u8], &str); 23] = [
        (
            "jsonl",
            "",
            b"",
            "`d` is no file of JSON lines: the file is empty; expected one object a line, or a JSON array, of { \"prompt\": \"…\", … }",
        ),
        (
            "jsonl",
            "",
            b"\"x\"",
            "`d` is no file of JSON lines: it begins with `\\\"`; expected one object a line, or a JSON array, of { \"prompt\": \"…\", … }",
        ),
        (
            "jsonl",
            "",
            b"{\"prompt\": 7}\n{}\n",
            "`d`, row 1, `prompt`: found `7`, expected a string; 1 more row is wrong",
        ),
        (
            "jsonl",
            "",
            b"{\"prompt\": \"a\", \"output_len\": 1}\n\n{\"text\": \"a\"}",
            "`d`, row 2 (line 3), `prompt`: found `missing, the row has [\"text\"]`, expected a string",
        ),
        (
            "jsonl",
            "",
            b"{\"prompt\": \"a\", \"output_len\": \"7\"}",
            "`d`, row 1, `output_len`: found `\"7\"`, expected a whole number of tokens, at least 1",
        ),
        (
            "jsonl",
            "",
            b"{\"prompt\": \"a\", \"output_len\": -7}",
            "`d`, row 1, `output_len`: found `-7`, expected a whole number of tokens, at least 1",
        ),
        (
            "jsonl",
            "",
            b"{\"prompt\": \"a\", \"output_len\": 1.5}",
            "`d`, row 1, `output_len`: found `1.5`, expected a whole number of tokens, at least 1",
        ),
        (
            "jsonl",
            ", columns = { output_tokens = \"n\" }",
            b"{\"prompt\": \"a\"}",
            "`d`, row 1, `n`: found `missing, the row has [\"prompt\"]`, expected a whole number of tokens, at least 1",
        ),
        ("jsonl", "", b"{\"prompt\": \"a\"}", "`d` has no usable row: 0 of 1 row, 1 without answer"),
        ("list", "", b"[\"a\", 7, [\"b\"]]", "`d`, row 2: found `7`, expected a string; 1 more row is wrong"),
        (
            "list",
            "",
            b"{\"a\": 1}",
            "`d` is no list of prompts: it begins with `{`; expected a JSON array of strings, or one JSON string a line",
        ),
        ("lines", "", b"\n  \n", "`d` is no file of lines: the file is empty; expected a prompt a line"),
        ("lines", "", b"good\n\nbad \xff\n", "`d`, row 2 (line 3): found `bad`, expected UTF-8 (byte 5 is not)"),
        (
            "csv",
            "",
            b"question,answer\nx,y\n",
            "`d` is no CSV file: there is no column `prompt`; the columns are `question`, `answer`; expected a line of column names with `prompt` among them, then rows",
        ),
        (
            "csv",
            "",
            b"prompt,prompt\nx,y\n",
            "`d` is no CSV file: two columns are called `prompt`; expected a line of column names with `prompt` among them, then rows",
        ),
        (
            "csv",
            "",
            b"prompt,output_len\n\"a\nb\",3\nx\ny,1,2\n",
            "`d`, row 2 (line 4): found `1 field`, expected 2 fields, as the header has; 1 more row is wrong",
        ),
        (
            "csv",
            "",
            b"prompt,output_len\nx,many\n",
            "`d`, row 1 (line 2), `output_len`: found `many`, expected a whole number of tokens, at least 1",
        ),
        (
            "csv",
            "",
            b"prompt,output_len\nx,0\n",
            "`d`, row 1 (line 2), `output_len`: found `0`, expected a whole number of tokens, at least 1",
        ),
        (
            "csv",
            "",
            b"prompt,output_len\nab\xffc,3\n",
            "`d`, row 1 (line 2), `prompt`: found `ab`, expected UTF-8 (byte 3 of the value is not)",
        ),
        ("csv", "", b"prompt,output_len\n", "`d` has no usable row: 0 of 0 rows"),
        (
            "messages",
            "",
            b"{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}",
            "`d`, row 1, `messages[0].role`: found `tool`, expected `system`, `developer`, `user` or `assistant`",
        ),
        (
            "messages",
            "",
            b"{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}",
            "`d`, row 1, `messages[0].content`: found `{\"type\":\"image_url\"}`, expected parts of type `text`",
        ),
        (
            "messages",
            "",
            b"{\"messages\": [{\"role\": \"user\"}]}\n{\"conversations\": []}",
            "`d`, row 1, `messages[0].content`: found `missing, the row has [\"role\"]`, expected text; 1 more row is wrong",
        ),
    ];
    for (kind, prompts, content, expected) in cases {
        let more = if matches!(kind, "list" | "lines") { ASKED } else { "" };
        assert_eq!(load(kind, content, prompts, more).unwrap_err().to_string(), expected);
    }
}

#[test]
fn warm_up_has_rows_of_its_own_in_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..100).map(|row| format!("line {row}")).collect();
    std::fs::write(folder.path().join("d"), lines.join("\n")).unwrap();
    for draw in ["shuffled", "in-order", "with-replacement"] {
        let workload =
            format!("[workloads.w]\nprompts = {{ kind = \"lines\", path = \"d\", draw = \"{draw}\" }}\n{ASKED}\n");
        let scenario = scenario(&workload, ONE_CLASS, RATE, "warmup = \"2s\"\nmeasure = { duration = \"8s\" }");
        let traffic = Traffic::build(&scenario, Seed::root(1), None, &Assets::new(folder.path())).unwrap();
        let prompt = |phase, index| text(&traffic.content(phase, RequestId::Open { index }, 0)).to_owned();
        let warmup: HashSet<String> = (0..20).map(|index| prompt(Phase::Warmup, index)).collect();
        let measured: HashSet<String> = (20..100).map(|index| prompt(Phase::Measure, index)).collect();
        assert!(warmup.is_disjoint(&measured), "{draw}");
    }
}
