//! Why reading stopped before the end of a dataset.

use std::io;

use super::{DatasetError, Selection};

pub(super) enum Stop {
    Io(io::Error),
    Format(String),
    Syntax(String),
}

impl Stop {
    pub(super) fn json(error: serde_json::Error) -> Self {
        if error.is_io() { Self::Io(error.into()) } else { Self::Syntax(error.to_string()) }
    }

    /// The error of the dataset after `read` rows.
    pub(super) fn into_error(self, selection: &Selection, read: u64) -> DatasetError {
        let path = selection.path.clone();
        match self {
            Self::Io(source) => DatasetError::Io { path, source },
            Self::Format(why) => {
                DatasetError::Format { path, what: selection.format.name(), looks: selection.format.looks(), why }
            }
            Self::Syntax(why) => DatasetError::Syntax { path, row: read + 1, why, read },
        }
    }
}
