//! The local store: blobs in an OCI image layout; records, layer indexes, facts of files and past runs in
//! SQLite.
//!
//! Blobs are written through temporary files and renamed, so that a killed process leaves no half
//! of one. What a disk or a person did to them since shows where they are used: the size always, the
//! digest once a process ([`Store::verify`]). Two processes may share a store. Main type: [`Store`].

mod blobs;
mod error;
mod history;
mod liveness;
mod record;
mod tables;
mod temporary;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use self::error::{database, file};
use crate::oci::Digest;
pub use error::StoreError;
pub use history::{CellChange, CellRow, RunGuard, RunNumber, RunRow, StepCost, StepRow};
pub use liveness::{Liveness, RUN_LABEL};
pub use record::{CheckRecord, ImageRecord, LayerRecord, Outputs, Record, tag_key};

const MIGRATIONS: &[&str] = &[tables::TABLES, history::TABLES, tables::FACTS_TABLE];

/// How long another process may hold the database.
const PATIENCE: Duration = Duration::from_secs(30);

/// Blobs, records, layer indexes and facts of files under one directory.
pub struct Store {
    root: PathBuf,
    database: Mutex<Connection>,
    /// Locked by all who have the store open; `None` where the file system has no locks.
    users: Option<fs::File>,
    /// Blobs that this process has hashed.
    verified: Mutex<HashSet<Digest>>,
    /// Blobs that were dropped and nobody was told of.
    dropped: Mutex<Vec<Digest>>,
}

impl Store {
    /// Opens a store, making it where there is none.
    ///
    /// # Errors
    /// When the directory cannot be written or holds a store of a later format.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for directory in [root.join("blobs/sha256"), root.join("tmp"), root.join("logs")] {
            fs::create_dir_all(&directory).map_err(file("create", &directory))?;
        }
        let layout = root.join("oci-layout");
        if !layout.exists() {
            fs::write(&layout, "{\"imageLayoutVersion\":\"1.0.0\"}").map_err(file("write", &layout))?;
        }
        let path = root.join("store.sqlite");
        let database = Connection::open(&path).map_err(database("open"))?;
        database.busy_timeout(PATIENCE).map_err(self::database("configure"))?;
        configure(&database).map_err(self::database("configure"))?;
        database.set_prepared_statement_cache_capacity(64);
        let users = fs::File::create(root.join("users")).ok().filter(|users| users.lock_shared().is_ok());
        let store = Self {
            root: root.to_owned(),
            database: Mutex::new(database),
            users,
            verified: Mutex::default(),
            dropped: Mutex::default(),
        };
        store.migrate()?;
        Ok(store)
    }

    fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(database("migrate"))?;
        let found: i64 = transaction
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(database("read the format"))?;
        let known = MIGRATIONS.len() as i64;
        if found > known {
            return Err(StoreError::Format { path: self.root.clone(), found, known });
        }
        for (number, migration) in MIGRATIONS.iter().enumerate().skip(found as usize) {
            transaction.execute_batch(migration).map_err(database("migrate"))?;
            transaction
                .pragma_update(None, "user_version", number as i64 + 1)
                .map_err(database("migrate"))?;
        }
        transaction.commit().map_err(database("migrate"))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        locked(&self.database)
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Turns the write-ahead log on. SQLite does not wait for another process that does the same.
fn configure(database: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_records_and_indexes_outlive_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let key = Digest::of(b"key");
        let record = Record::Check(CheckRecord { passed: true, seconds: 1.5 });
        let digest = {
            let store = Store::open(directory.path()).unwrap();
            store.put_record(&key, &record).unwrap();
            store.put_index(&key, &key, b"entries").unwrap();
            store.put_facts(&[(key, b"facts".to_vec())]).unwrap();
            store.put_bytes(b"blob").unwrap()
        };
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.blob(digest).unwrap().unwrap(), b"blob");
        assert_eq!(store.record(&key).unwrap().unwrap(), record);
        assert_eq!(store.index(&key).unwrap().unwrap().1, b"entries");
        assert_eq!(store.facts(&[digest, key]).unwrap(), [(key, b"facts".to_vec())]);
        assert_eq!(store.record(&digest).unwrap(), None);
    }

    #[test]
    fn a_store_of_a_later_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path()).unwrap());
        let database = Connection::open(directory.path().join("store.sqlite")).unwrap();
        database.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(StoreError::Format { found: 99, .. })));
    }
}
