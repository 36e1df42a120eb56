//! Files that a scenario names: read once, with digests, relative to the file that names them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::seed::hex;

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
