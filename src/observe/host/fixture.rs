//! A small file tree that stands for `/` in tests.

use std::fs;
use std::path::Path;

/// Files below a temporary folder.
pub(in crate::observe) struct Tree(tempfile::TempDir);

impl Tree {
    pub(in crate::observe) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    pub(in crate::observe) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(in crate::observe) fn root(&self) -> &Path {
        self.0.path()
    }
}
