//! `builds.lock`: every external input of a build, pinned.
//!
//! Cargo's semantics: `build` adds what is missing, only `update` moves an entry, `--locked` refuses
//! to add. Entries are sorted, so that a change is a small diff. Main type: [`Lock`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::oci::{DiffId, Digest, Platform, Reference};

/// The version of the format that this program reads and writes.
pub const LOCK_VERSION: u32 = 1;

/// A lock that cannot be used; nothing has been overwritten.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LockError {
    /// Not the format.
    #[error("{0}")]
    Malformed(String),
    /// Another version of the format.
    #[error("its version is {0}, this railyard reads version {LOCK_VERSION}")]
    Version(i64),
    /// A merge that was not finished.
    #[error("line {0} holds a conflict marker of a merge")]
    Conflict(usize),
}

/// Everything that is pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Images by reference as rendered.
    pub images: BTreeMap<Reference, LockedImage>,
    /// Downloads by their first URL.
    pub downloads: BTreeMap<String, LockedDownload>,
    /// Key of a `run` -> diff ID of its artifact.
    pub outputs: BTreeMap<Digest, DiffId>,
}

/// An image pinned by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedImage {
    /// The platform that was chosen from an index.
    pub platform: Platform,
    /// Digest of that platform's manifest.
    pub digest: Digest,
    /// Digests of trees that runs read: path -> digest of its content without times.
    pub trees: BTreeMap<String, Digest>,
    /// Digests of trees that are copied: path -> digest of all that a copy takes over, times too.
    pub copies: BTreeMap<String, Digest>,
    /// Digest of what a run takes from its builder beside trees: environment, user, working
    /// directory, versions of libc and libstdc++.
    pub environment: Option<Digest>,
}

/// A download pinned by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedDownload {
    /// Hash of the bytes.
    pub sha256: Digest,
    /// Their number.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: i64,
    #[serde(default)]
    image: Vec<ImageEntry>,
    #[serde(default)]
    download: Vec<DownloadEntry>,
    #[serde(default)]
    outputs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageEntry {
    reference: String,
    platform: String,
    digest: String,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    trees: BTreeMap<String, String>,
    #[serde(default)]
    copies: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DownloadEntry {
    url: String,
    sha256: String,
    size: u64,
}

impl Lock {
    /// Reads a lock's text.
    ///
    /// # Errors
    /// When it is no lock of this version, or holds a malformed digest or reference.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        for (number, line) in text.lines().enumerate() {
            if ["<<<<<<< ", "=======", ">>>>>>> "].iter().any(|marker| line.starts_with(marker)) {
                return Err(LockError::Conflict(number + 1));
            }
        }
        let file: File = toml::from_str(text).map_err(|e| LockError::Malformed(e.to_string()))?;
        if file.version != i64::from(LOCK_VERSION) {
            return Err(LockError::Version(file.version));
        }
        let mut lock = Self::default();
        for entry in file.image {
            let digests = |trees: &BTreeMap<String, String>| {
                trees
                    .iter()
                    .map(|(path, digest)| Ok((path.clone(), parse(digest, &entry.reference)?)))
                    .collect::<Result<_, LockError>>()
            };
            let image = LockedImage {
                platform: parse(&entry.platform, &entry.reference)?,
                digest: parse(&entry.digest, &entry.reference)?,
                trees: digests(&entry.trees)?,
                copies: digests(&entry.copies)?,
                environment: entry.environment.as_deref().map(|e| parse(e, &entry.reference)).transpose()?,
            };
            if lock.images.insert(parse(&entry.reference, &entry.reference)?, image).is_some() {
                return Err(LockError::Malformed(format!("`{}` stands there twice", entry.reference)));
            }
        }
        for entry in file.download {
            let sha256 = Digest::from_hex(&entry.sha256)
                .map_err(|e| LockError::Malformed(format!("download `{}`: {e}", entry.url)))?;
            let download = LockedDownload { sha256, size: entry.size };
            if lock.downloads.insert(entry.url.clone(), download).is_some() {
                return Err(LockError::Malformed(format!("`{}` stands there twice", entry.url)));
            }
        }
        for (key, diff_id) in file.outputs {
            lock.outputs.insert(parse(&key, "outputs")?, DiffId(parse(&diff_id, "outputs")?));
        }
        Ok(lock)
    }

    /// The lock's text; equal locks give equal bytes.
    pub fn render(&self) -> String {
        let mut text =
            String::from("# Written by railyard. Commit it; `railyard update` moves its entries.\n");
        let _ = writeln!(text, "version = {LOCK_VERSION}");
        for (reference, image) in &self.images {
            let _ = write!(
                text,
                "\n[[image]]\nreference = {}\nplatform = {}\ndigest = {}\n",
                quote(&reference.to_string()),
                quote(&image.platform.to_string()),
                quote(&image.digest.to_string())
            );
            if let Some(environment) = &image.environment {
                let _ = writeln!(text, "environment = {}", quote(&environment.to_string()));
            }
            for (path, digest) in &image.trees {
                let _ = writeln!(text, "trees.{} = {}", quote(path), quote(&digest.to_string()));
            }
            for (path, digest) in &image.copies {
                let _ = writeln!(text, "copies.{} = {}", quote(path), quote(&digest.to_string()));
            }
        }
        for (url, download) in &self.downloads {
            let _ = write!(
                text,
                "\n[[download]]\nurl = {}\nsha256 = \"{}\"\nsize = {}\n",
                quote(url),
                download.sha256.hex(),
                download.size
            );
        }
        if !self.outputs.is_empty() {
            text.push_str("\n[outputs]\n");
        }
        for (key, diff_id) in &self.outputs {
            let _ = writeln!(text, "{} = {}", quote(&key.to_string()), quote(&diff_id.to_string()));
        }
        text
    }
}

fn parse<T: std::str::FromStr>(text: &str, place: &str) -> Result<T, LockError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| LockError::Malformed(format!("entry `{place}`: {e}")))
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Lock {
        let mut lock = Lock::default();
        let digest = Digest::of(b"x");
        lock.images.insert(
            "localhost:5000/sam/build-python3.11:1".parse().unwrap(),
            LockedImage {
                platform: Platform::linux_amd64(),
                digest,
                trees: [("/var/lang".to_owned(), Digest::of(b"tree"))].into(),
                copies: [("/opt/".to_owned(), Digest::of(b"copy"))].into(),
                environment: Some(Digest::of(b"env")),
            },
        );
        lock.downloads.insert("https://x.invalid/\"odd\"".into(), LockedDownload { sha256: digest, size: 7 });
        lock.outputs.insert(Digest::of(b"key"), DiffId(digest));
        lock
    }

    #[test]
    fn a_lock_round_trips() {
        let lock = sample();
        assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
        assert_eq!(Lock::parse(&Lock::default().render()).unwrap(), Lock::default());
    }

    #[test]
    fn broken_locks_say_what_is_wrong() {
        let text = sample().render();
        assert_eq!(
            Lock::parse(&format!("{text}\n<<<<<<< HEAD\n")),
            Err(LockError::Conflict(text.lines().count() + 2))
        );
        assert_eq!(Lock::parse("version = 9"), Err(LockError::Version(9)));
        for broken in [text.replace("sha256:", "sha256:zz"), text.replace("size = 7", ""), text + "\nnew = 1"]
        {
            assert!(matches!(Lock::parse(&broken), Err(LockError::Malformed(_))), "{broken}");
        }
    }
}
