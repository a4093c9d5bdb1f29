//! `builds.lock`: every external input of a build, pinned.
//!
//! Cargo's semantics: `build` adds what is missing, only `update` moves an entry, `--locked` refuses
//! to add. Entries are sorted, so that a change is a small diff. Main type: [`Lock`]. A lock that
//! cannot be read is described by diagnostics like a manifest's, and never written over.

mod entry;
mod merge;
mod read;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::manifest::FoundVersion;
use crate::oci::{DiffId, Digest, Platform, Reference};

/// The version of the format that this program reads and writes.
pub const LOCK_VERSION: u32 = 1;

/// Everything that is pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Images by reference as rendered.
    pub images: BTreeMap<Reference, LockedImage>,
    /// Downloads by their first URL as it is shown, without a credential.
    pub downloads: BTreeMap<String, LockedDownload>,
    /// Discovered versions by what they are for: `axes.NAME` or `tools.NAME`.
    pub versions: BTreeMap<String, LockedVersions>,
    /// Images that are mirrored: source -> digest of its manifest or index, with all platforms.
    pub mirrors: BTreeMap<Reference, Digest>,
    /// Key of a `run` -> diff ID of its artifact.
    pub outputs: BTreeMap<Digest, DiffId>,
    /// Where the entries stand.
    pub places: Places,
}

/// Versions that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedVersions {
    /// What was asked, in one line: an entry counts only for the query that it answers.
    pub query: String,
    /// What was found, in ascending order; never empty.
    pub found: Vec<FoundVersion>,
}

/// Where the entries of a lock stand, for errors about what they pin: `builds.lock:7:10`.
///
/// Any two are equal: where an entry stands is no part of what a lock says.
#[derive(Debug, Clone, Default)]
pub struct Places {
    images: BTreeMap<Reference, String>,
    downloads: BTreeMap<String, String>,
}

impl Places {
    /// Where an image's digest stands.
    pub fn image(&self, reference: &Reference) -> Option<&str> {
        self.images.get(reference).map(String::as_str)
    }

    /// Where a download's hash stands.
    pub fn download(&self, url: &str) -> Option<&str> {
        self.downloads.get(url).map(String::as_str)
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// An image pinned by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedImage {
    /// The platform that was chosen from an index: for others the entry counts for nothing.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedDownload {
    /// Hash of the bytes.
    pub sha256: Digest,
    /// Their number.
    pub size: u64,
}

impl Lock {
    /// What an image is pinned to; an entry of another platform counts for nothing.
    pub fn image(&self, reference: &Reference, platform: &Platform) -> Option<&LockedImage> {
        self.images.get(reference).filter(|image| image.platform == *platform)
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
        for (name, versions) in &self.versions {
            let _ = write!(
                text,
                "\n[[versions]]\nname = {}\nquery = {}\nvalues = [\n",
                quote(name),
                quote(&versions.query)
            );
            for version in &versions.found {
                let _ = writeln!(text, "  {},", quote(&version.name));
            }
            text.push_str("]\n");
            for version in &versions.found {
                if let Some(tag) = &version.tag {
                    let _ = writeln!(text, "tags.{} = {}", quote(&version.name), quote(tag));
                }
            }
        }
        for (reference, digest) in &self.mirrors {
            let _ = write!(
                text,
                "\n[[mirror]]\nreference = {}\ndigest = {}\n",
                quote(&reference.to_string()),
                quote(&digest.to_string())
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
        let found =
            |name: &str, tag: Option<&str>| FoundVersion { name: name.into(), tag: tag.map(str::to_owned) };
        lock.versions.insert(
            "axes.sam".into(),
            LockedVersions {
                query: "tags x (?<version>.+)-y: *".into(),
                found: vec![found("1.0.0", Some("1.0.0-y")), found("v2.0.0", None)],
            },
        );
        lock.mirrors.insert("localhost:5000/harness/ci-addon:1.14.4".parse().unwrap(), Digest::of(b"index"));
        lock.outputs.insert(Digest::of(b"key"), DiffId(digest));
        lock
    }

    #[test]
    fn a_lock_round_trips() {
        let lock = sample();
        assert_eq!(Lock::parse("builds.lock", &lock.render()).unwrap(), lock);
        assert_eq!(Lock::parse("builds.lock", &Lock::default().render()).unwrap(), Lock::default());
    }

    #[test]
    fn entries_know_where_they_stand() {
        let text = sample().render();
        let lock = Lock::parse("builds.lock", &text).unwrap();
        let image = "localhost:5000/sam/build-python3.11:1".parse().unwrap();
        assert_eq!(lock.places.image(&image), Some("builds.lock:7:10"));
        let line = text.lines().position(|l| l.starts_with("sha256")).unwrap() + 1;
        let place = lock.places.download("https://x.invalid/\"odd\"");
        assert_eq!(place, Some(format!("builds.lock:{line}:10").as_str()));
    }
}
