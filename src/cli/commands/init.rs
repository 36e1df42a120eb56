//! `bench init`: the scenarios of the project as commented templates, embedded in the binary.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::cli::args::InitArgs;
use crate::cli::env::Env;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::diagnostic::text;
use crate::report::terminal::wrap;

/// A scenario of the project.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// File name without `.toml`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(Template { name: $name, text: include_str!(concat!("../../../scenarios/", $name, ".toml")) }),*]
    };
}

/// All of them, the first one first.
pub const TEMPLATES: &[Template] = templates![
    "quickstart",
    "latency-curve",
    "smoke",
    "closed-loop",
    "burst",
    "bursty-arrivals",
    "multi-turn",
    "session-arrivals",
    "recorded-sessions",
    "multi-model",
    "sharegpt",
    "messages",
    "prompt-list",
    "instruction",
    "correctness",
    "trace-replay",
    "length-trace",
    "prompt-ingestion",
    "generation-speed",
    "length-pairs",
    "length-matrix",
    "zipf-lengths",
    "prefix-pool",
    "lora",
    "replicas",
    "nightly",
];

/// Files that a template names beside itself.
const DATA: &[(&str, &str)] = &[
    ("data/conversations.json", include_str!("../../../scenarios/data/conversations.json")),
    ("data/messages.jsonl", include_str!("../../../scenarios/data/messages.jsonl")),
    ("data/prompts.json", include_str!("../../../scenarios/data/prompts.json")),
    ("data/trace.jsonl", include_str!("../../../scenarios/data/trace.jsonl")),
    ("data/lengths-trace.csv", include_str!("../../../scenarios/data/lengths-trace.csv")),
    ("data/dialogues.json", include_str!("../../../scenarios/data/dialogues.json")),
];

impl Template {
    /// What it is for: its first line.
    pub fn purpose(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
    }

    /// The text as a new user gets it: the schema comes from the binary, not from this repository.
    fn for_user(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.starts_with("#:schema"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn data(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        DATA.iter().filter(|(path, _)| self.text.contains(path))
    }
}

/// Runs the command.
pub fn run(args: &InitArgs, env: &Env) -> Exit {
    if args.list {
        output::result(&list(env.width));
        output::message("\nwrite one: bench init NAME");
        return Exit::Success;
    }
    let name = args.name.as_deref().unwrap_or_default();
    let Some(template) = TEMPLATES.iter().find(|template| template.name == name) else {
        let names: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
        let hint = text::suggestion(name, &names, "templates").unwrap_or_default();
        output::message(&format!("error: there is no template {}\nhelp: {hint}", text::quote(name)));
        return Exit::Usage;
    };
    let target = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.toml")));
    if target.as_os_str() == "-" {
        output::result(&template.for_user());
        return Exit::Success;
    }
    match write_all(template, &target) {
        Ok(written) => {
            for path in written {
                output::message(&format!("wrote {}", path.display()));
            }
            let target = target.display();
            output::message(&format!(
                "next: `bench plan {target}` shows what it would do, `bench apply {target}` does it"
            ));
            Exit::Success
        }
        Err((path, error)) if error.kind() == ErrorKind::AlreadyExists => {
            output::message(&format!(
                "error: `{}` exists already and is left as it is; `-o FILE` names another file",
                path.display()
            ));
            Exit::Usage
        }
        Err((path, error)) => {
            output::message(&format!("error: cannot write `{}`: {error}", path.display()));
            Exit::EnvironmentFailed
        }
    }
}

/// Names and purposes in two columns, the second one wrapped.
fn list(width: usize) -> String {
    let names = TEMPLATES.iter().map(|template| template.name.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for template in TEMPLATES {
        let purpose = wrap(template.purpose(), width, &" ".repeat(names));
        text.push_str(&format!("{:names$}{}", template.name, purpose.trim_start()));
    }
    text
}

/// Writes the template and its data. Nothing that exists is overwritten; the same data file may.
fn write_all(template: &Template, target: &Path) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let folder = target.parent().map(Path::to_path_buf).unwrap_or_default();
    std::fs::create_dir_all(&folder).or_else(|error| {
        // The parent of a bare file name is the current folder, which has no name.
        if folder.as_os_str().is_empty() { Ok(()) } else { Err((folder.clone(), error)) }
    })?;
    create(target, &template.for_user())?;
    let mut written = vec![target.to_path_buf()];
    for (name, text) in template.data() {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) {
            continue;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| (path.clone(), error))?;
        }
        create(&path, text)?;
        written.push(path);
    }
    Ok(written)
}

fn create(path: &Path, text: &str) -> Result<(), (PathBuf, std::io::Error)> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| (path.to_path_buf(), error))
}
