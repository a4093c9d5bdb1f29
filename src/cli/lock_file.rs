//! `builds.lock` as a file: read, and changed by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::exit::Exit;
use super::load::shown;
use crate::lock::Lock;
use crate::manifest::Sources;

/// How long another process may take to change the lock.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// As many links as Linux follows.
const LINKS: usize = 40;

/// Reads the lock; an empty one where there is none.
///
/// # Errors
/// When it cannot be read, or used.
pub fn read_lock(path: &Path, plain: bool) -> Result<Lock, Exit> {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
        Err(error) => return Err(Exit::Usage(format!("error: failed to read the lock `{name}`: {error}"))),
    };
    Lock::parse(&name, &text).map_err(|found| {
        let mut sources = Sources::default();
        sources.add(name.clone(), text);
        Exit::Usage(format!(
            "{}\nerror: the lock `{name}` cannot be used; it was not changed",
            shown(&sources, &found, plain)
        ))
    })
}

/// Changes the lock as it is in the file now, and gives it as it is then; no other process changes it
/// meanwhile. The file is written whole or not at all, and only where something changed.
///
/// # Errors
/// When it cannot be read, used or written, or another process keeps it.
pub fn change_lock(path: &Path, change: impl FnOnce(&mut Lock)) -> Result<Lock, Exit> {
    let file = behind_links(path);
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let _held = hold(directory, path)?;
    let before = read_lock(path, false)?;
    let mut lock = before.clone();
    change(&mut lock);
    if lock == before {
        return Ok(before);
    }
    let text = lock.render();
    write(directory, &file, &text).map_err(|e| {
        Exit::Environment(format!("error: failed to write the lock `{}`: {e}", path.display()))
    })?;
    // What was written knows the places of its entries.
    Ok(Lock::parse(&path.display().to_string(), &text).unwrap_or(lock))
}

/// The file that a path means: a link to it stays one, also where the file is not there yet, and whoever comes
/// by the file's own path meets the same directory.
fn behind_links(path: &Path) -> PathBuf {
    let mut file = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = std::fs::read_link(&file) else { break };
        file = file.parent().map_or(target.clone(), |parent| parent.join(&target));
    }
    file
}

fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

/// Keeps other processes from changing the lock. The directory is what is locked: the file itself gives way
/// to another with every change.
fn hold(directory: &Path, path: &Path) -> Result<Option<File>, Exit> {
    // A directory that cannot be opened cannot be written to either, which says why.
    let Ok(file) = File::open(directory) else { return Ok(None) };
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Exit::Environment(format!(
                    "error: the lock `{}` was not changed: another process has kept its directory locked for {} s\n  help: end that process (`fuser {}` names it), and run again",
                    path.display(),
                    PATIENCE.as_secs(),
                    directory.display()
                )));
            }
            // Some network file systems lock no directories; the file is still read anew and written whole.
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockedDownload;
    use crate::oci::Digest;

    #[test]
    fn changes_made_at_the_same_time_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("builds.lock");
        std::thread::scope(|scope| {
            for n in 0..8_u64 {
                let path = &path;
                scope.spawn(move || {
                    for m in 0..8_u64 {
                        let entry = LockedDownload { sha256: Digest::of(b"x"), size: m };
                        let url = format!("https://x.invalid/{n}/{m}");
                        change_lock(path, |lock| {
                            lock.downloads.insert(url, entry);
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(read_lock(&path, true).unwrap().downloads.len(), 64);
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing lies beside the lock");
    }

    #[test]
    fn a_link_stays_one_and_its_file_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        let (shared, own) = (directory.path().join("shared"), directory.path().join("own"));
        std::fs::create_dir_all(&shared).unwrap();
        std::fs::create_dir_all(&own).unwrap();
        let path = own.join("builds.lock");
        std::os::unix::fs::symlink("../shared/first", &path).unwrap();
        std::os::unix::fs::symlink(shared.join("second"), shared.join("first")).unwrap();
        let entry = LockedDownload { sha256: Digest::of(b"x"), size: 1 };
        // At first the file is not there.
        for url in ["https://x.invalid/a", "https://x.invalid/b"] {
            let added = change_lock(&path, |lock| {
                lock.downloads.insert(url.to_owned(), entry.clone());
            });
            assert!(added.is_ok_and(|lock| lock.downloads.contains_key(url)));
            assert!(path.is_symlink() && shared.join("first").is_symlink());
        }
        assert_eq!(read_lock(&shared.join("second"), true).unwrap().downloads.len(), 2);
        // Who has the file's own directory has the lock.
        let held = hold(&shared, &path).unwrap();
        assert!(held.is_some());
        let changed = std::thread::scope(|scope| {
            let change = scope.spawn(|| change_lock(&path, |lock| lock.downloads.clear()).map(drop));
            std::thread::sleep(Duration::from_millis(300));
            assert!(!change.is_finished());
            drop(held);
            change.join().unwrap()
        });
        changed.unwrap();
    }

    #[test]
    fn a_broken_lock_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("builds.lock");
        std::fs::write(&path, "<<<<<<< ours\n").unwrap();
        let found = change_lock(&path, |lock| lock.outputs.clear());
        assert!(matches!(found, Err(Exit::Usage(_))), "{found:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "<<<<<<< ours\n");
    }
}
