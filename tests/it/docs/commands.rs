//! Every command line of `bench` that is written anywhere parses with the real parser.

use std::fs;

use clap::Parser;
use clap::error::ErrorKind;
use llm_bench::cli::Cli;

use super::{blocks, files, inline_code, pages, root, shown};

/// Words that stand for a value in prose.
const PLACEHOLDERS: [(&str, &str); 2] = [("SHELL", "bash"), ("$(JOB_NAME)", "job")];

/// The words of a shell command, quotes and comments taken away.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (_, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// The arguments given to `bench` by a command line, if it runs `bench`.
fn bench_arguments(line: &str) -> Option<Vec<String>> {
    let mut words = words(line.trim().trim_start_matches("$ "));
    let assignments = words.iter().take_while(|word| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    });
    words.drain(..assignments.count());
    let launchers: [&[&str]; 3] =
        [&["bench"], &["cargo", "run", "--release", "--"], &["docker", "run", "--rm", "bench:0.1.0"]];
    let launcher = launchers
        .iter()
        .find(|launcher| words.iter().zip(**launcher).filter(|(a, b)| a == *b).count() == launcher.len())?;
    words.drain(..launcher.len());
    if let Some(end) = words.iter().position(|word| matches!(&**word, "|" | ">" | "&&" | ";" | "||")) {
        words.truncate(end);
    }
    for word in &mut words {
        if let Some((_, value)) = PLACEHOLDERS.iter().find(|(name, _)| word == name) {
            (*value).clone_into(word);
        }
    }
    Some(words)
}

/// `Err` unless the arguments parse. In prose (`whole = false`) an argument may be left out.
fn check(arguments: &[String], whole: bool) -> Result<(), String> {
    match Cli::try_parse_from(std::iter::once("bench").chain(arguments.iter().map(String::as_str))) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
            // `bench plan -o`: an option is meant, not its value.
            ErrorKind::InvalidValue if !whole && error.to_string().contains("a value is required") => Ok(()),
            ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !whole => {
                Ok(())
            }
            _ => Err(error.to_string()),
        },
    }
}

/// Checks each line that runs `bench`; returns how many did.
fn check_lines<'a>(origin: &str, lines: impl Iterator<Item = &'a str>, whole: bool) -> usize {
    let commands = lines.filter_map(|line| Some((line, bench_arguments(line)?)));
    commands
        .map(|(line, arguments)| check(&arguments, whole).unwrap_or_else(|error| panic!("{origin}: `{line}`\n{error}")))
        .count()
}

#[test]
fn commands_in_pages_parse() {
    let (mut in_blocks, mut in_prose) = (0, 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let generated = text.starts_with("<!-- Generated");
        for block in blocks(&text) {
            let code = matches!(&*block.info, "sh" | "console") || (block.info == "indented" && !generated);
            if code {
                let joined = block.text.replace("\\\n", " ");
                in_blocks += check_lines(&shown(&page), joined.lines(), true);
            }
        }
        let code = inline_code(&text);
        in_prose += check_lines(&shown(&page), code.iter().map(|(_, code)| code.as_str()), false);
    }
    assert!(in_blocks > 8 && in_prose > 20, "{in_blocks} in blocks and {in_prose} in prose");
}

/// Comments of scenarios, manifests, scripts and the Dockerfile, whole lines and in backticks.
#[test]
fn commands_in_other_files_parse() {
    let mut seen = 0;
    let mut paths = files("scenarios", "toml");
    paths.extend(files("k8s", "yaml").into_iter().chain(files(".ci", "sh")));
    paths.extend([root().join("Dockerfile"), root().join(".ci/run")]);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
        seen += check_lines(&shown(&path), lines, true);
        let code: Vec<_> = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
        seen += check_lines(&shown(&path), code.into_iter(), false);
    }
    assert!(seen > 3, "only {seen} commands were found");
}

/// Messages and help texts of the program name commands too. Those with a hole (`{}`) are skipped.
#[test]
fn commands_in_messages_parse() {
    let mut seen = 0;
    for path in files("src", "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<_> = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
        let code = code.into_iter().filter(|code| !code.contains(['{', '\\']));
        seen += check_lines(&shown(&path), code, false);
    }
    assert!(seen > 10, "only {seen} commands were found");
}

#[test]
fn the_image_starts_bench_with_arguments_that_parse() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let list = |name: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        serde_json::from_str(line.trim()).unwrap()
    };
    assert_eq!(list("ENTRYPOINT"), ["bench"]);
    check(&list("CMD"), true).unwrap();
}

#[test]
fn wrong_commands_are_found() {
    let line = |line: &str| check(&bench_arguments(line).unwrap(), true);
    line("BENCH_URL=http://x bench apply a.toml --store 's3://b/c d' # why").unwrap();
    line("cargo run --release -- apply scenarios/quickstart.toml").unwrap();
    line("bench report | head").unwrap();
    assert!(line("bench aply a.toml").is_err());
    assert!(line("bench apply a.toml --not-there").is_err());
    assert!(line("bench apply").is_err());
    assert_eq!(bench_arguments("cargo test"), None);
}
