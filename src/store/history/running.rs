//! Which runs go on: each holds a lock on a file of its own, which the system lets go when it dies. The
//! file goes with the end of its run; one that is there and that nobody holds is of a run that was killed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RunRow;
use crate::store::Store;

/// When the file of a killed run is removed: long after what the run left in an engine was, for until
/// then the file tells that it is dead.
const STALE: Duration = Duration::from_secs(90 * 24 * 3600);

/// What the file of a run tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum RunFile {
    /// Somebody holds it: the run goes on.
    Held,
    /// Nobody holds it any more: the run was killed.
    Left,
    /// There is none that this store wrote: the run is over, or another store's.
    Nowhere,
}

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

#[cfg(test)]
impl RunGuard {
    /// As if the process had been killed: the file stays.
    pub(in crate::store) fn kill(mut self) {
        self.path.clear();
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
            if age.is_some_and(|age| age > STALE) && held(&entry.path()) != RunFile::Held {
                let _ = fs::remove_file(entry.path());
            }
        }
        let mut file = File::create(&path).ok()?;
        file.try_lock().ok()?;
        file.write_all(place(&file)?.as_bytes()).ok()?;
        Some(RunGuard { path, file })
    }

    /// Whether a run without an end goes on.
    pub(super) fn goes_on(&self, run: &RunRow) -> bool {
        run.ended.is_none() && self.held(&run.id) == RunFile::Held
    }

    /// What the file of a run tells.
    pub(in crate::store) fn held(&self, run: &str) -> RunFile {
        held(&self.guard_path(run))
    }
}

fn held(path: &Path) -> RunFile {
    let Ok(file) = File::open(path) else { return RunFile::Nowhere };
    match file.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => RunFile::Held,
        Err(fs::TryLockError::Error(_)) => RunFile::Nowhere,
        // A store that was copied while the run went on has a copy of its file, which nobody holds.
        Ok(()) if fs::read_to_string(path).ok() != place(&file) => RunFile::Nowhere,
        Ok(()) => RunFile::Left,
    }
}

/// What a file has in it that tells it from its copies.
fn place(file: &File) -> Option<String> {
    Some(format!("inode {}\n", file.metadata().ok()?.ino()))
}
