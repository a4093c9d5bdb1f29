//! Why the store failed.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory.
    #[error("failed to {action} `{path}`: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The database.
    #[error("failed to {action} in the store's database: {source}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// A store of a later railyard.
    #[error("the store `{path}` has format {found}, this railyard knows format {known}")]
    Format {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The latest known.
        known: i64,
    },
}

impl StoreError {
    /// Whether there is no room left.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::File { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Format { .. } => false,
        }
    }
}

pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path, source }
}

pub(super) fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
}
