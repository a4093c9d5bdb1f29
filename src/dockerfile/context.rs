//! A directory as a build sees it.

use std::fs::{DirEntry, Metadata};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::ignore::Ignore;
use crate::oci::{Digest, Hasher};

/// The files of a directory after `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The directory.
    pub root: PathBuf,
    /// What is in it, directories before their content, names in order of bytes.
    pub entries: Vec<ContextEntry>,
    /// Hash of all entries: paths, kinds, permission bits and contents; no times, no owners.
    pub digest: Digest,
}

/// A file, directory or link of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// Relative to the root, with `/`.
    pub path: String,
    /// What it is.
    pub kind: ContextKind,
    /// Permission bits.
    pub mode: u32,
}

/// Kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextKind {
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Link(String),
    /// A file: bytes and their sha256.
    File {
        /// Bytes.
        size: u64,
        /// Of its content.
        sha256: Digest,
    },
}

/// A directory that cannot be read as a context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file or directory cannot be read.
    #[error("failed to read `{}`: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A name that is no text.
    #[error("the name `{}` is not UTF-8", .0.display())]
    Name(PathBuf),
    /// A device or pipe.
    #[error("`{}` is neither file, directory nor link", .0.display())]
    Special(PathBuf),
}

/// Reads a directory, with the content of every file that is not left out.
///
/// # Errors
/// What cannot be read. Sockets are passed over.
pub fn read_context(root: &Path, ignore: &Ignore) -> Result<Context, ContextError> {
    let mut entries = Vec::new();
    walk(root, "", ignore, &mut entries)?;
    let mut hasher = Hasher::new();
    for entry in &entries {
        hasher.field(entry.path.as_bytes()).field(&entry.mode.to_le_bytes());
        match &entry.kind {
            ContextKind::Directory => hasher.field(b"directory"),
            ContextKind::Link(target) => hasher.field(b"link").field(target.as_bytes()),
            ContextKind::File { sha256, .. } => hasher.field(b"file").field(sha256.as_bytes()),
        };
    }
    Ok(Context { root: root.to_owned(), entries, digest: hasher.finish() })
}

fn walk(
    directory: &Path,
    prefix: &str,
    ignore: &Ignore,
    entries: &mut Vec<ContextEntry>,
) -> Result<(), ContextError> {
    let wrong = |source| ContextError::Read { path: directory.to_owned(), source };
    let mut found: Vec<DirEntry> = std::fs::read_dir(directory).and_then(Iterator::collect).map_err(wrong)?;
    found.sort_by_key(DirEntry::file_name);
    for item in found {
        let path = item.path();
        let name = item.file_name().into_string().map_err(|_| ContextError::Name(path.clone()))?;
        let relative = format!("{prefix}{name}");
        let out = ignore.leaves_out(&relative);
        let meta = item.metadata().map_err(|source| ContextError::Read { path: path.clone(), source })?;
        if meta.is_dir() {
            if out && !ignore.may_keep() {
                continue;
            }
            let before = entries.len();
            entries.push(entry(&relative, ContextKind::Directory, &meta));
            walk(&path, &format!("{relative}/"), ignore, entries)?;
            if out && entries.len() == before + 1 {
                entries.pop();
            }
        } else if !out {
            entries.extend(leaf(&path, &relative, &meta)?);
        }
    }
    Ok(())
}

fn entry(path: &str, kind: ContextKind, meta: &Metadata) -> ContextEntry {
    ContextEntry { path: path.to_owned(), kind, mode: meta.permissions().mode() & 0o7777 }
}

fn leaf(path: &Path, relative: &str, meta: &Metadata) -> Result<Option<ContextEntry>, ContextError> {
    let wrong = |source| ContextError::Read { path: path.to_owned(), source };
    let kind = if meta.is_symlink() {
        let target = std::fs::read_link(path).map_err(wrong)?;
        let target =
            target.into_os_string().into_string().map_err(|_| ContextError::Name(path.to_owned()))?;
        ContextKind::Link(target)
    } else if meta.is_file() {
        let (sha256, size) = hash(path).map_err(wrong)?;
        ContextKind::File { size, sha256 }
    } else if meta.file_type().is_socket() {
        return Ok(None);
    } else {
        return Err(ContextError::Special(path.to_owned()));
    };
    Ok(Some(entry(relative, kind, meta)))
}

fn hash(path: &Path) -> std::io::Result<(Digest, u64)> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Hasher::new();
    let (mut buffer, mut size) = (vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    Ok((hasher.finish(), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(context: &Context) -> Vec<&str> {
        context.entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    fn order_modes_and_contents_count_and_times_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["b/keep", "b/drop", "b-c", "a", "gone/x"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a", root.join("l")).unwrap();
        let ignore = Ignore::parse("gone\nb\n!b/keep").unwrap();
        let read = || read_context(root, &ignore).unwrap();
        let first = read();
        assert_eq!(paths(&first), ["a", "b", "b/keep", "b-c", "l"]);
        let old = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        std::fs::File::options().write(true).open(root.join("a")).unwrap().set_times(old).unwrap();
        std::fs::write(root.join("b/drop"), "other").unwrap();
        assert_eq!(read(), first);
        std::fs::set_permissions(root.join("a"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let second = read();
        assert_ne!(second.digest, first.digest);
        std::fs::write(root.join("b/keep"), "other").unwrap();
        assert_ne!(read().digest, second.digest);
    }
}
