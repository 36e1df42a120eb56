//! The built-in tokenizer and tokenizer files.

use std::sync::{Arc, LazyLock};

use llm_bench::assets::Assets;
use llm_bench::scenario::file::TokenizerConfig;
use llm_bench::tokens::{self, Tokenizer, TokenizerError};
use proptest::prelude::*;

use super::{ONE_CLASS, build, data, open, scenario, text};

/// Loading tries thousands of words: once is enough.
fn small_bpe() -> Arc<dyn Tokenizer> {
    static SMALL: LazyLock<Arc<dyn Tokenizer>> = LazyLock::new(|| load("tokenizer/small-bpe.json", "").unwrap());
    Arc::clone(&SMALL)
}

fn load(path: &str, more: &str) -> Result<Arc<dyn Tokenizer>, TokenizerError> {
    let config: TokenizerConfig = toml::from_str(&format!("kind = \"file\"\npath = \"{path}\"\n{more}")).unwrap();
    tokens::load(&config, &Assets::new(data()))
}

#[test]
fn the_built_in_vocabulary_has_4096_different_words_of_one_token() {
    let tokenizer = tokens::builtin();
    let words = tokens::builtin::shared();
    let mut sorted = words.words().to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 4096);
    for word in words.words() {
        let capital = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
        for text in [(*word).to_owned(), format!(" {word}"), capital.clone(), format!(" {capital}")] {
            assert_eq!(tokenizer.count(&text), 1, "`{text}`");
        }
    }
}

#[test]
fn known_texts_have_known_tokens() {
    let tokenizer = tokens::builtin();
    let pieces =
        |text: &str| -> Vec<String> { tokenizer.encode(text).iter().map(|id| tokenizer.decode(&[*id])).collect() };
    assert_eq!(pieces("The river is a river."), ["The", " river", " is", " a", " river", "."]);
    assert_eq!(pieces("  two  spaces\n\nline\n"), [" ", " two", " ", " spaces", "\n\n", "line", "\n"]);
    assert_eq!(pieces("in 2026, 12345 x"), ["in", " ", "202", "6", ",", " ", "123", "45", " ", "x"]);
    assert_eq!(pieces("naïve 日本"), ["na", "ï", "ve", " ", "日", "本"]);
    assert_eq!(pieces("qwxzing"), ["qw", "xz", "ing"]);
    assert_eq!(pieces("GPU"), ["G", "P", "U"]);
    assert_eq!(pieces(""), Vec::<String>::new());
}

#[test]
fn pieces_of_the_built_in_tokenizer_never_merge() {
    let tokenizer = tokens::builtin();
    let pieces = tokenizer.pieces();
    assert!(pieces.additive);
    // Every word after every 61st other word, at the start and inside.
    for (number, next) in pieces.next.iter().enumerate() {
        let first = &pieces.first[number * 61 % pieces.first.len()];
        let text = format!("{first}{next}{next}{}", pieces.next[number * 7 % pieces.next.len()]);
        assert_eq!(tokenizer.count(&text), 4, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_comes_back_from_its_tokens(text in "(\\PC|[a-zA-Z ]|[ \n\t0-9]){0,80}") {
        let tokenizer = tokens::builtin();
        let ids = tokenizer.encode(&text);
        prop_assert_eq!(tokenizer.decode(&ids), text.clone());
        prop_assert_eq!(tokenizer.count(&text), ids.len());
        prop_assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
    }

    #[test]
    fn a_file_tokenizer_gives_text_back(text in "[a-z ]{0,60}") {
        let tokenizer = small_bpe();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text)), text);
    }
}

#[test]
fn a_tokenizer_file_makes_exact_distinct_prompts() {
    let tokenizer = small_bpe();
    assert_eq!((tokenizer.name(), tokenizer.vocab_size()), ("small-bpe.json", 1500));
    assert!(tokenizer.pieces().next.len() > 300 && tokenizer.pieces().additive, "spaces keep its words apart");
    let workloads = "[tokenizers.small]\nkind = \"file\"\npath = \"tokenizer/small-bpe.json\"\n\
                     [workloads.w]\ntokenizer = \"small\"\nprompts = { kind = \"synthetic\", shared_prefix_tokens = 2 }\n\
                     input_tokens = { kind = \"uniform\", min = 3, max = 300 }\n\
                     output_tokens = { kind = \"fixed\", value = 8 }\n";
    let traffic = build(&scenario(workloads, ONE_CLASS, "kind = \"poisson\"\nrate_per_s = 1", ""), 8);
    let mut prompts = std::collections::HashSet::new();
    for index in 0..300 {
        let content = open(&traffic, index);
        let ids = tokenizer.encode(text(&content));
        assert_eq!(content.input_tokens_counted as usize, ids.len(), "the count is honest");
        assert_eq!(content.input_tokens_counted, content.input_tokens_asked, "{}", text(&content));
        assert!(prompts.insert(ids[..ids.len().min(18)].to_vec()), "{}", text(&content));
    }
}

/// A character-level model: no token is a word and merges know no spaces, so pieces come from the
/// vocabulary itself and most counts need repair.
#[test]
fn a_vocabulary_without_words_still_makes_exact_prompts() {
    let json = r#"{"version":"1.0","truncation":{"direction":"Right","max_length":4,"strategy":"LongestFirst","stride":0},
        "padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"Fuse"},
        "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
        "fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
        "vocab":{"あ":0,"い":1,"う":2,"え":3,"お":4,"あい":5,"うえ":6},"merges":[["あ","い"],["う","え"]]}}"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.json"), json).unwrap();
    let config = toml::from_str("kind = \"file\"\npath = \"t.json\"").unwrap();
    let tokenizer = tokens::load(&config, &Assets::new(folder.path())).unwrap();
    assert_eq!(tokenizer.count("ああああああ"), 6, "the file's truncation to 4 is off");
    assert!(!tokenizer.pieces().additive, "あい is one token");
    let workloads = "[tokenizers.t]\nkind = \"file\"\npath = \"t.json\"\n[workloads.w]\ntokenizer = \"t\"\n\
                     prompts = { kind = \"synthetic\" }\ninput_tokens = { kind = \"fixed\", value = 50 }\n\
                     output_tokens = { kind = \"fixed\", value = 8 }\n";
    let scenario = scenario(workloads, ONE_CLASS, "kind = \"poisson\"\nrate_per_s = 1", "");
    let assets = Assets::new(folder.path());
    let traffic =
        llm_bench::workload::Traffic::build(&scenario, llm_bench::seed::Seed::root(1), None, &assets).unwrap();
    for index in 0..100 {
        let content = open(&traffic, index);
        assert_eq!(tokenizer.count(text(&content)), 50, "{}", text(&content));
        assert_eq!((content.input_tokens_asked, content.input_tokens_counted), (50, 50));
    }
}

#[test]
fn unusable_tokenizer_files_say_why() {
    let wrong_pin = load("tokenizer/small-bpe.json", &format!("sha256 = \"{}\"", "0".repeat(64)));
    assert!(matches!(wrong_pin, Err(TokenizerError::Pin { .. })), "{wrong_pin:?}");
    let missing = load("tokenizer/none.json", "").unwrap_err().to_string();
    assert!(missing.starts_with("cannot read `tokenizer/none.json`: "), "{missing}");
    let wrong = load("sharegpt/small.json", "").unwrap_err().to_string();
    assert!(wrong.starts_with("`sharegpt/small.json` is not a usable tokenizer.json: "), "{wrong}");
}
