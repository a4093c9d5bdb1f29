//! Temporary files of the store, and those that killed processes have left.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{Store, StoreError, file};

/// How long a temporary file lies untouched before it counts as left, while others have the store open.
const UNTOUCHED: Duration = Duration::from_secs(7 * 24 * 3600);

impl Store {
    /// Where temporary files go; the same file system as the blobs.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
