//! The local store: blobs in an OCI image layout; records, layer indexes, facts of files and past runs in
//! SQLite.
//!
//! Blobs are written through temporary files and renamed, so that a killed process leaves no half
//! of one. What a disk or a person did to them since shows where they are used: the size always, the
//! digest once a process ([`Store::verify`]). Two processes may share a store. Main type: [`Store`].

mod history;
mod liveness;
mod record;

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::oci::{Descriptor, Digest, Hasher};
pub use history::{CellChange, CellRow, RunGuard, RunNumber, RunRow, StepCost, StepRow};
pub use liveness::{Liveness, RUN_LABEL};
pub use record::{CheckRecord, ImageRecord, LayerRecord, Outputs, Record, tag_key};

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

const MIGRATIONS: &[&str] = &[FIRST_TABLES, history::TABLES, FACTS_TABLE];

const FACTS_TABLE: &str = "
    CREATE TABLE facts (
        content BLOB PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID;
";

const FIRST_TABLES: &str = "
    CREATE TABLE records (
        key BLOB PRIMARY KEY,
        value TEXT NOT NULL,
        created INTEGER NOT NULL DEFAULT (unixepoch())
    ) WITHOUT ROWID;
    CREATE TABLE indexes (
        blob BLOB PRIMARY KEY,
        diff_id BLOB NOT NULL,
        entries BLOB NOT NULL
    ) WITHOUT ROWID;
";

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

/// How long a temporary file lies untouched before it counts as left, while others have the store open.
const UNTOUCHED: Duration = Duration::from_secs(7 * 24 * 3600);

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

    /// Where temporary files go; the same file system as the blobs.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob is there, whatever its content.
    pub fn has_blob(&self, digest: Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Whether a blob is there with its size; one of another size is dropped.
    pub fn holds(&self, blob: &Descriptor) -> bool {
        while let Ok(meta) = fs::metadata(self.blob_path(blob.digest)) {
            if meta.len() == blob.size {
                return true;
            }
            if self.drop_damaged(blob.digest, &meta) {
                break;
            }
        }
        false
    }

    /// The size of a blob that is there and is what its name says; a damaged one is dropped. Its
    /// content is hashed at the first call of a process, unless it was put by this one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        let path = self.blob_path(digest);
        loop {
            let Some((mut source, meta)) = open(&path)? else { return Ok(None) };
            if locked(&self.verified).contains(&digest) {
                return Ok(Some(meta.len()));
            }
            let mut hasher = Hasher::new();
            std::io::copy(&mut source, &mut hasher).map_err(file("read", &path))?;
            if hasher.finish() == digest {
                self.trust(digest);
                return Ok(Some(meta.len()));
            }
            if self.drop_damaged(digest, &meta) {
                return Ok(None);
            }
        }
    }

    /// Notes that a blob was hashed as it was written.
    pub fn trust(&self, digest: Digest) {
        locked(&self.verified).insert(digest);
    }

    /// Drops a blob that was read and is damaged, unless somebody has put another file there meanwhile.
    fn drop_damaged(&self, digest: Digest, read: &fs::Metadata) -> bool {
        let now = fs::metadata(self.blob_path(digest));
        let is_same = now.is_ok_and(|now| (now.dev(), now.ino()) == (read.dev(), read.ino()));
        if is_same {
            self.drop_blob(digest);
        }
        is_same
    }

    /// Removes a blob that is not what its name says.
    fn drop_blob(&self, digest: Digest) {
        locked(&self.verified).remove(&digest);
        // Where it cannot be removed, it is written over when it is had again.
        let _ = fs::remove_file(self.blob_path(digest));
        locked(&self.dropped).push(digest);
    }

    /// What is to be said of blobs that were dropped since the last call.
    pub fn take_dropped(&self) -> Vec<String> {
        let dropped = std::mem::take(&mut *locked(&self.dropped));
        let say = |digest| {
            format!("the stored blob `{digest}` was damaged: it is dropped, and had again where it is needed")
        };
        dropped.into_iter().map(say).collect()
    }

    /// The bytes of a small blob, if it is there; a damaged one is dropped.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        loop {
            let Some((mut source, meta)) = open(&path)? else { return Ok(None) };
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes).map_err(file("read", &path))?;
            if Digest::of(&bytes) == digest {
                return Ok(Some(bytes));
            }
            if self.drop_damaged(digest, &meta) {
                return Ok(None);
            }
        }
    }

    /// Stores bytes and returns their digest.
    ///
    /// # Errors
    /// When the blob cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.blob(digest)?.is_some() {
            return Ok(digest);
        }
        let mut temporary = self.temporary_file()?;
        temporary.write_all(bytes).map_err(file("write", temporary.path()))?;
        self.put_file(temporary, digest)?;
        Ok(digest)
    }

    /// A new temporary file on the store's file system, deleted unless it is put.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary_file(&self) -> Result<tempfile::NamedTempFile, StoreError> {
        let directory = self.temporary();
        tempfile::NamedTempFile::new_in(&directory).map_err(file("create a file in", &directory))
    }

    /// Removes the temporary files that killed processes have left, and says how many: all where nobody
    /// else has the store open, otherwise those that nobody has touched for a week. To be called before
    /// anything temporary is made.
    pub fn sweep_temporary(&self) -> usize {
        let Some(users) = &self.users else { return 0 };
        let _ = users.unlock();
        let alone = users.try_lock().is_ok();
        let entries = fs::read_dir(self.temporary()).into_iter().flatten().flatten();
        let mut removed = 0;
        for entry in entries {
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|m| m.elapsed().ok());
            if !alone && age.is_none_or(|age| age < UNTOUCHED) {
                continue;
            }
            let path = entry.path();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let result = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed += usize::from(result.is_ok());
        }
        if alone {
            let _ = users.unlock();
        }
        let _ = users.lock_shared();
        removed
    }

    /// Makes a temporary file the blob with this digest, which the caller has computed.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn put_file(&self, temporary: tempfile::NamedTempFile, digest: Digest) -> Result<(), StoreError> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.blob_path(digest);
        let readable = fs::Permissions::from_mode(0o644);
        temporary.as_file().set_permissions(readable).map_err(file("set the mode of", temporary.path()))?;
        temporary.persist(&path).map_err(|e| file("write", &path)(e.error))?;
        self.trust(digest);
        Ok(())
    }

    /// Hashes a file; for blobs that came from elsewhere.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hash_file(path: &Path) -> Result<(Digest, u64), StoreError> {
        let mut source = fs::File::open(path).map_err(file("open", path))?;
        let mut hasher = Hasher::new();
        let size = std::io::copy(&mut source, &mut hasher).map_err(file("read", path))?;
        Ok((hasher.finish(), size))
    }

    /// The record under a key. One that a later railyard wrote counts as missing.
    ///
    /// # Errors
    /// When the database fails.
    pub fn record(&self, key: &Digest) -> Result<Option<Record>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT value FROM records WHERE key = ?1")
            .map_err(database("look up a record"))?;
        let text: Option<String> = statement
            .query_row(params![key.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(database("look up a record"))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Writes a record, over what was there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_record(&self, key: &Digest, record: &Record) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).expect("records have no failing values");
        self.connection()
            .prepare_cached("INSERT OR REPLACE INTO records (key, value) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute(params![key.as_bytes(), text]))
            .map_err(database("write a record"))?;
        Ok(())
    }

    /// The encoded index of a layer blob and the layer's diff ID.
    ///
    /// # Errors
    /// When the database fails.
    pub fn index(&self, blob: &Digest) -> Result<Option<(Digest, Vec<u8>)>, StoreError> {
        let row: Option<([u8; 32], Vec<u8>)> = self
            .connection()
            .prepare_cached("SELECT diff_id, entries FROM indexes WHERE blob = ?1")
            .and_then(|mut s| {
                s.query_row(params![blob.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?))).optional()
            })
            .map_err(database("look up an index"))?;
        Ok(row.map(|(diff_id, entries)| (Digest::from(diff_id), entries)))
    }

    /// Whether the index of a layer blob is there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn has_index(&self, blob: &Digest) -> Result<bool, StoreError> {
        self.connection()
            .prepare_cached("SELECT 1 FROM indexes WHERE blob = ?1")
            .and_then(|mut s| s.exists(params![blob.as_bytes()]))
            .map_err(database("look up an index"))
    }

    /// Writes the encoded index of a layer blob.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_index(&self, blob: &Digest, diff_id: &Digest, entries: &[u8]) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached("INSERT OR REPLACE INTO indexes (blob, diff_id, entries) VALUES (?1, ?2, ?3)")
            .and_then(|mut s| s.execute(params![blob.as_bytes(), diff_id.as_bytes(), entries]))
            .map_err(database("write an index"))?;
        Ok(())
    }

    /// The encoded facts of files by the hash of their content; those that are not there are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub fn facts(&self, contents: &[Digest]) -> Result<Vec<(Digest, Vec<u8>)>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT value FROM facts WHERE content = ?1")
            .map_err(database("look up facts"))?;
        let mut found = Vec::new();
        for content in contents {
            let value: Option<Vec<u8>> = statement
                .query_row(params![content.as_bytes()], |row| row.get(0))
                .optional()
                .map_err(database("look up facts"))?;
            found.extend(value.map(|value| (*content, value)));
        }
        Ok(found)
    }

    /// Writes the encoded facts of files, all or none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_facts(&self, facts: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(database("write facts"))?;
        {
            let mut statement = transaction
                .prepare_cached("INSERT OR REPLACE INTO facts (content, value) VALUES (?1, ?2)")
                .map_err(database("write facts"))?;
            for (content, value) in facts {
                statement.execute(params![content.as_bytes(), value]).map_err(database("write facts"))?;
            }
        }
        transaction.commit().map_err(database("write facts"))
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

/// A file that is there, and what it is.
fn open(path: &Path) -> Result<Option<(fs::File, fs::Metadata)>, StoreError> {
    let opened = fs::File::open(path).and_then(|opened| Ok((opened.metadata()?, opened)));
    match opened {
        Ok((meta, opened)) => Ok(Some((opened, meta))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("open", path)(error)),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { action, path, source }
}

fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
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
    fn temporary_files_of_killed_processes_go_those_of_live_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let left = directory.path().join("tmp/left");
        fs::write(&left, "half").unwrap();
        fs::create_dir(directory.path().join("tmp/unpacked")).unwrap();
        // Another one has the store open, and writes.
        let other = Store::open(directory.path()).unwrap();
        let writes = other.temporary_file().unwrap();
        assert_eq!(store.sweep_temporary(), 0);
        let week = std::time::SystemTime::now() - UNTOUCHED - Duration::from_secs(60);
        fs::File::options().write(true).open(&left).unwrap().set_modified(week).unwrap();
        assert_eq!(store.sweep_temporary(), 1);
        assert!(!left.exists() && writes.path().exists());
        drop(writes);
        drop(other);
        assert_eq!(store.sweep_temporary(), 1);
        // It has the store open itself again.
        fs::write(&left, "half").unwrap();
        let other = Store::open(directory.path()).unwrap();
        assert_eq!(other.sweep_temporary(), 0);
        drop(store);
        assert_eq!(other.sweep_temporary(), 1);
    }

    #[test]
    fn damaged_blobs_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let put = |bytes: &[u8]| Store::open(directory.path()).unwrap().put_bytes(bytes).unwrap();
        let (good, longer, other, document) = (put(b"good"), put(b"longer"), put(b"other"), put(b"document"));
        let store = Store::open(directory.path()).unwrap();
        std::fs::write(store.blob_path(longer), b"longer than before").unwrap();
        std::fs::write(store.blob_path(other), b"OTHER").unwrap();
        std::fs::write(store.blob_path(document), b"").unwrap();
        let descriptor = |digest, size| Descriptor::new("", digest, size);
        assert!(store.holds(&descriptor(good, 4)) && store.take_dropped().is_empty());
        assert!(!store.holds(&descriptor(longer, 6)) && !store.has_blob(longer));
        assert!(store.holds(&descriptor(other, 5)), "of the same size");
        assert_eq!((store.verify(good).unwrap(), store.verify(other).unwrap()), (Some(4), None));
        assert_eq!((store.has_blob(other), store.blob(document).unwrap()), (false, None));
        let said = store.take_dropped();
        for (digest, line) in [longer, other, document].iter().zip(&said) {
            assert!(line.contains(&digest.to_string()), "{line}");
        }
        assert_eq!((said.len(), store.take_dropped().len()), (3, 0));
        store.put_bytes(b"other").unwrap();
        assert_eq!(store.verify(other).unwrap(), Some(5));
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
