//! Which runs go on: each holds a lock on a file of its own, which the system lets go when it dies.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use super::RunRow;
use crate::store::Store;

/// When the file of a killed run may be removed: a younger one may not be locked yet.
const STALE: Duration = Duration::from_secs(3600);

/// Shows other processes that a run goes on, until it is dropped.
#[derive(Debug)]
pub struct RunGuard {
    path: PathBuf,
    file: File,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        // A file that stays is removed by a later run.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

impl Store {
    fn guard_path(&self, id: &str) -> PathBuf {
        self.root().join("runs").join(id)
    }

    /// Shows that a run goes on; `None` where the file system has no locks.
    pub fn guard_run(&self, id: &str) -> Option<RunGuard> {
        let path = self.guard_path(id);
        let directory = path.parent()?;
        fs::create_dir_all(directory).ok()?;
        for entry in fs::read_dir(directory).ok()?.flatten() {
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|m| m.elapsed().ok());
            if age.is_some_and(|age| age > STALE) && !locked(&entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let file = File::create(&path).ok()?;
        file.try_lock().ok()?;
        Some(RunGuard { path, file })
    }

    /// Whether a run without an end goes on.
    pub(super) fn goes_on(&self, run: &RunRow) -> bool {
        run.ended.is_none() && self.holds_lock(&run.id)
    }

    /// Whether somebody holds the lock of a run.
    pub(in crate::store) fn holds_lock(&self, run: &str) -> bool {
        locked(&self.guard_path(run))
    }
}

fn locked(path: &std::path::Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
}
