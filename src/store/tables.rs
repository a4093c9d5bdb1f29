//! What the store's database holds beside past runs: records, layer indexes, facts of files.

use rusqlite::{OptionalExtension, params};

use super::{Record, Store, StoreError, database};
use crate::oci::Digest;

pub(super) const TABLES: &str = "
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

pub(super) const FACTS_TABLE: &str = "
    CREATE TABLE facts (
        content BLOB PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID;
";

impl Store {
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
