//! Files that a scenario names: read once, with digests, relative to the file that names them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::scenario::file::{FileTokenizer, ScenarioFile, TokenizerConfig};
use crate::seed::hex;
use crate::workload::length::file::LengthFile;
use crate::workload::load::LoadConfig;

/// Resolves and reads the files a scenario names.
#[derive(Clone, Debug)]
pub struct Assets {
    base: PathBuf,
}

/// Why a named file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`: {source}")]
pub struct AssetError {
    /// The path as the scenario spells it.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl Assets {
    /// Files relative to `base`, the folder of the scenario.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// Where `path` is on this machine. Never printed into a report.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.base.join(Path::new(path))
    }

    /// The whole file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, AssetError> {
        std::fs::read(self.locate(path)).map_err(|source| AssetError { path: path.to_owned(), source })
    }

    /// SHA-256 of the file as lower-case hex, read in blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sha256(&self, path: &str) -> Result<String, AssetError> {
        let fail = |source| AssetError { path: path.to_owned(), source };
        let mut file = std::fs::File::open(self.locate(path)).map_err(fail)?;
        let mut hasher = Sha256::new();
        let mut block = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut block).map_err(fail)?;
            if read == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(&block[..read]);
        }
    }
}

/// SHA-256 by the path a scenario spells, for every input file of a plan.
pub type AssetDigests = BTreeMap<String, String>;

/// An input file that a scenario names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// What names it: `Tokenizer` or `Workload`, by its name in the scenario.
    pub owner: Owner<'a>,
    /// The path as the scenario spells it.
    pub path: &'a str,
    /// The digest it is pinned to.
    pub pin: Option<&'a str>,
}

/// The table that names an input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// `[tokenizers.NAME]`.
    Tokenizer(&'a str),
    /// `[tokenizers.NAME]`, as its `chat_template`.
    ChatTemplate(&'a str),
    /// `[workloads.NAME]`, in its `prompts`.
    Workload(&'a str),
    /// `[load]`.
    Load,
    /// `[traffic.NAME.load]`.
    ClassLoad(&'a str),
    /// `[workloads.NAME]`, in the lengths of these keys below it.
    Lengths(&'a str, &'static str),
}

impl NamedFile<'_> {
    /// Key path of the table that holds `path` and `sha256`.
    pub fn table_key_path(&self) -> String {
        let quoted = |name: &str| {
            let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            if bare { name.to_owned() } else { format!("\"{name}\"") }
        };
        match self.owner {
            Owner::Tokenizer(name) | Owner::ChatTemplate(name) => format!("tokenizers.{}", quoted(name)),
            Owner::Workload(name) => format!("workloads.{}.prompts", quoted(name)),
            Owner::Load => "load".to_owned(),
            Owner::ClassLoad(name) => format!("traffic.{}.load", quoted(name)),
            Owner::Lengths(name, keys) => format!("workloads.{}.{keys}", quoted(name)),
        }
    }

    /// Compares the pin, if there is one, with the digest that was found.
    ///
    /// # Errors
    /// When the two differ.
    pub fn check_pin(&self, found: &str) -> Result<(), InputError> {
        match self.pin {
            Some(pin) if pin != found => Err(InputError::Pin {
                key_path: format!("{}.sha256", self.table_key_path()),
                path: self.path.to_owned(),
                expected: pin.to_owned(),
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Every input file that `file` names, used by its traffic or not, in a stable order.
pub fn named_files<'a>(file: &'a ScenarioFile) -> Vec<NamedFile<'a>> {
    let tokenizers = file.tokenizers.iter().filter_map(|(name, config)| match config {
        TokenizerConfig::Builtin(_) => None,
        TokenizerConfig::File(tokenizer) => {
            Some(NamedFile { owner: Owner::Tokenizer(name), path: &tokenizer.path, pin: tokenizer.sha256.as_deref() })
        }
    });
    let datasets = file.workloads.iter().filter_map(|(name, workload)| {
        let dataset = workload.prompts.dataset()?;
        Some(NamedFile { owner: Owner::Workload(name), path: dataset.path, pin: dataset.sha256 })
    });
    let own = file.traffic.iter().filter_map(|class| Some((Owner::ClassLoad(&class.name), class.load.as_ref()?)));
    let loads = std::iter::once((Owner::Load, &file.load)).chain(own).filter_map(|(owner, load)| match load {
        LoadConfig::Trace(trace) => Some(NamedFile { owner, path: &trace.path, pin: trace.sha256.as_deref() }),
        _ => None,
    });
    let lengths = file.workloads.iter().flat_map(|(name, workload)| {
        let named = |(keys, file): (&'static str, LengthFile<'a>)| NamedFile {
            owner: Owner::Lengths(name, keys),
            path: file.path,
            pin: file.sha256,
        };
        workload.length_files().map(named)
    });
    let templates = file.tokenizers.iter().filter_map(|(name, config)| match config {
        TokenizerConfig::File(FileTokenizer { chat_template: Some(path), .. }) => {
            Some(NamedFile { owner: Owner::ChatTemplate(name), path, pin: None })
        }
        _ => None,
    });
    tokenizers.chain(templates).chain(datasets).chain(lengths).chain(loads).collect()
}

/// The input files that the traffic of `file` uses: those a point digest covers.
pub fn used_files(file: &ScenarioFile) -> Vec<NamedFile<'_>> {
    let workload = |name: &str| file.traffic.iter().any(|class| class.workload == name);
    let tokenizer = |name: &str| {
        file.traffic
            .iter()
            .filter_map(|class| file.workloads.get(&class.workload))
            .any(|workload| workload.tokenizer == name)
    };
    let used = |named: &NamedFile<'_>| match named.owner {
        Owner::Tokenizer(name) | Owner::ChatTemplate(name) => tokenizer(name),
        Owner::Workload(name) | Owner::Lengths(name, _) => workload(name),
        Owner::Load | Owner::ClassLoad(_) => true,
    };
    named_files(file).into_iter().filter(used).collect()
}

/// Why an input file does not fit a scenario.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("{error}")]
    Unreadable {
        /// Key path of the setting that names it.
        key_path: String,
        /// What the system said.
        error: AssetError,
    },
    /// Its content is not what it should be.
    #[error("{message}")]
    Content {
        /// Key path of the setting that names it.
        key_path: String,
        /// File, place, what was found and what was expected.
        message: String,
    },
    /// It is not the file that the scenario pins.
    #[error(
        "`{path}` is not the pinned file: expected sha256 {expected}, found {found}; restore the file, or write the new pin with `bench validate --pin`"
    )]
    Pin {
        /// Key path of the pin.
        key_path: String,
        /// The path as the scenario spells it.
        path: String,
        /// The pin.
        expected: String,
        /// The digest of the file as it is.
        found: String,
    },
}

impl InputError {
    /// Key path of the setting to point at.
    pub fn key_path(&self) -> &str {
        match self {
            Self::Unreadable { key_path, .. } | Self::Content { key_path, .. } | Self::Pin { key_path, .. } => key_path,
        }
    }

    /// A stable word for the kind of error.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "input-unreadable",
            Self::Content { .. } => "input-content",
            Self::Pin { .. } => "input-pin",
        }
    }
}

/// The pin that a named file should have: what `bench validate --pin` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Key path of the table that holds `path` and `sha256`.
    pub table_key_path: String,
    /// The path as the scenario spells it.
    pub path: String,
    /// The digest as it is written; `None`: not pinned yet.
    pub written: Option<String>,
    /// The digest of the file.
    pub found: String,
}

impl Assets {
    /// Digests of the files that the traffic of `file` uses, with every pin checked. Each file is read once.
    ///
    /// # Errors
    /// Every named file that is missing or not the pinned one, also those that no traffic uses: a broken
    /// reference is a mistake wherever it stands.
    pub fn digests(&self, file: &ScenarioFile) -> Result<AssetDigests, Vec<InputError>> {
        let mut found = AssetDigests::new();
        let mut errors = Vec::new();
        for named in named_files(file) {
            match self.digest_of(&named, &mut found) {
                Ok(digest) => errors.extend(named.check_pin(&digest).err()),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let used: Vec<&str> = used_files(file).iter().map(|named| named.path).collect();
        found.retain(|path, _| used.contains(&path.as_str()));
        Ok(found)
    }

    /// The pins that `file` should have, whether or not they are right today.
    ///
    /// # Errors
    /// Every named file that cannot be read.
    pub fn pins(&self, file: &ScenarioFile) -> Result<Vec<Pin>, Vec<InputError>> {
        let mut cache = AssetDigests::new();
        let mut errors = Vec::new();
        let mut pins = Vec::new();
        // A chat template has no pin of its own.
        let pinned = named_files(file).into_iter().filter(|named| !matches!(named.owner, Owner::ChatTemplate(_)));
        for named in pinned {
            match self.digest_of(&named, &mut cache) {
                Ok(found) => pins.push(Pin {
                    table_key_path: named.table_key_path(),
                    path: named.path.to_owned(),
                    written: named.pin.map(str::to_owned),
                    found,
                }),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(pins) } else { Err(errors) }
    }

    fn digest_of(&self, named: &NamedFile<'_>, cache: &mut AssetDigests) -> Result<String, InputError> {
        if let Some(digest) = cache.get(named.path) {
            return Ok(digest.clone());
        }
        let key = if matches!(named.owner, Owner::ChatTemplate(_)) { "chat_template" } else { "path" };
        let key_path = || format!("{}.{key}", named.table_key_path());
        let digest = self.sha256(named.path).map_err(|error| InputError::Unreadable { key_path: key_path(), error })?;
        cache.insert(named.path.to_owned(), digest.clone());
        Ok(digest)
    }
}
