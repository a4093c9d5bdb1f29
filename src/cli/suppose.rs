//! `--if`: changes that are supposed, to see what they would touch.

use std::fmt;
use std::str::FromStr;

use super::exit::Exit;
use super::load::Loaded;
use crate::lock::{Lock, LockedDownload};
use crate::manifest::{AxisValue, FoundVersion, Located, Template, axis_key, tool_key};
use crate::matrix::{ConcreteContent, ConcretePart, Matrix};
use crate::oci::Digest;
use crate::run::External;

const FORMS: &str = "write `base=REFERENCE` (moved to what its tag means now), `base=REFERENCE@sha256:…`, `tool=NAME@VERSION`, `tool=NAME@sha256:…`, `axis=NAME+VALUE` or `axis=NAME-VALUE`";

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supposition {
    /// An image from outside has another digest: this one, or what its tag means now.
    Image {
        /// Its reference, or a part of it.
        name: String,
        /// The digest.
        digest: Option<Digest>,
    },
    /// A tool has another version.
    Version {
        /// Its name.
        tool: String,
        /// The version.
        version: String,
    },
    /// A tool's download has another content.
    Content {
        /// Its name.
        tool: String,
        /// Its sha256.
        sha256: Digest,
    },
    /// An axis has a value more.
    Added {
        /// Its name.
        axis: String,
        /// The value.
        value: String,
    },
    /// An axis has a value less.
    Removed {
        /// Its name.
        axis: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for Supposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { name, digest: Some(digest) } => write!(f, "base={name}@{digest}"),
            Self::Image { name, digest: None } => write!(f, "base={name}"),
            Self::Version { tool, version } => write!(f, "tool={tool}@{version}"),
            Self::Content { tool, sha256 } => write!(f, "tool={tool}@{sha256}"),
            Self::Added { axis, value } => write!(f, "axis={axis}+{value}"),
            Self::Removed { axis, value } => write!(f, "axis={axis}-{value}"),
        }
    }
}

impl FromStr for Supposition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || FORMS.to_owned();
        let (kind, rest) = text.split_once('=').ok_or_else(unknown)?;
        match kind {
            "base" | "image" => {
                let (name, digest) = match rest.split_once('@') {
                    Some((name, digest)) => (name, Some(digest.parse().map_err(|e| format!("{e}"))?)),
                    None => (rest, None),
                };
                Ok(Self::Image { name: name.to_owned(), digest })
            }
            "tool" => {
                let (tool, to) = rest.split_once('@').ok_or_else(unknown)?;
                let tool = tool.to_owned();
                match to.starts_with("sha256:") {
                    true => Ok(Self::Content { tool, sha256: to.parse().map_err(|e| format!("{e}"))? }),
                    false => Ok(Self::Version { tool, version: to.to_owned() }),
                }
            }
            "axis" => {
                let at = rest.find(['+', '-']).ok_or_else(unknown)?;
                let (axis, value) = (rest[..at].to_owned(), rest[at + 1..].to_owned());
                match &rest[at..=at] {
                    "+" => Ok(Self::Added { axis, value }),
                    _ => Ok(Self::Removed { axis, value }),
                }
            }
            _ => Err(unknown()),
        }
    }
}

impl Supposition {
    fn refuse(&self, why: impl fmt::Display) -> Exit {
        Exit::Usage(format!("error: --if {self}: {why}"))
    }

    /// Changes axes and versions of tools.
    ///
    /// # Errors
    /// When there is no such axis, value or tool.
    pub fn apply_to_manifest(&self, loaded: &mut Loaded) -> Result<(), Exit> {
        match self {
            Self::Image { .. } | Self::Content { .. } => Ok(()),
            Self::Version { tool: name, version } => {
                let tool = loaded.manifest.tools.iter_mut().find(|tool| tool.name.value == *name);
                let Some(tool) = tool else { return Err(self.refuse("there is no such tool")) };
                if tool.discovery.is_some() {
                    let found = vec![FoundVersion { name: version.clone(), tag: None }];
                    if let Some(locked) = loaded.lock.versions.get_mut(&tool_key(name)) {
                        locked.found = found;
                    }
                    return Ok(());
                }
                let at = tool.version.as_ref().map_or(tool.name.at, |version| version.at);
                tool.version = Some(Template { text: version.clone(), at });
                Ok(())
            }
            Self::Added { axis, value } | Self::Removed { axis, value } => {
                self.change_axis(loaded, axis, value)
            }
        }
    }

    fn change_axis(&self, loaded: &mut Loaded, name: &str, value: &str) -> Result<(), Exit> {
        let add = matches!(self, Self::Added { .. });
        let axis = loaded.manifest.axes.iter_mut().find(|axis| axis.name.value == name);
        let Some(axis) = axis else { return Err(self.refuse("there is no such axis")) };
        let wrong = |has: bool| match (add, has) {
            (true, true) => Some(self.refuse("the axis has this value")),
            (false, false) => Some(self.refuse("the axis has no such value")),
            _ => None,
        };
        if axis.discovery.is_some() {
            let Some(locked) = loaded.lock.versions.get_mut(&axis_key(name)) else { return Ok(()) };
            if let Some(refusal) = wrong(locked.found.iter().any(|found| found.name == value)) {
                return Err(refusal);
            }
            match add {
                true => locked.found.push(FoundVersion { name: value.to_owned(), tag: None }),
                false => locked.found.retain(|found| found.name != value),
            }
            return Ok(());
        }
        if let Some(refusal) = wrong(axis.values.iter().any(|known| known.name.value == value)) {
            return Err(refusal);
        }
        match add {
            true => {
                let name = Located::new(value.to_owned(), axis.name.at);
                axis.values.push(AxisValue { name, attributes: Default::default() });
            }
            false => axis.values.retain(|known| known.name.value != value),
        }
        Ok(())
    }

    /// Changes digests.
    ///
    /// # Errors
    /// When nothing is so named.
    pub fn apply_to_lock(&self, lock: &mut Lock, matrix: &Matrix, external: &External) -> Result<(), Exit> {
        match self {
            Self::Image { name, digest } => self.move_image(lock, external, name, *digest),
            Self::Content { tool, sha256 } => {
                let mut found = false;
                let parts = matrix.layers.iter().filter_map(|layer| match &layer.content {
                    ConcreteContent::Parts(parts) => Some(parts),
                    ConcreteContent::Run(_) => None,
                });
                for part in parts.flatten() {
                    if let ConcretePart::Download(download) = part
                        && download.name == *tool
                    {
                        if download.sha256.is_some() {
                            return Err(self.refuse("the manifest itself says its sha256"));
                        }
                        found = true;
                        let size = lock.downloads.get(&download.shown).map_or(0, |d| d.size);
                        lock.downloads
                            .insert(download.shown.clone(), LockedDownload { sha256: *sha256, size });
                    }
                }
                if found { Ok(()) } else { Err(self.refuse("no chosen cell has such a tool")) }
            }
            Self::Version { .. } | Self::Added { .. } | Self::Removed { .. } => Ok(()),
        }
    }

    fn move_image(
        &self,
        lock: &mut Lock,
        external: &External,
        name: &str,
        digest: Option<Digest>,
    ) -> Result<(), Exit> {
        let matching: Vec<_> = external
            .images
            .keys()
            .filter(|reference| {
                let text = reference.to_string();
                text == *name || reference.name.to_string() == *name || text.contains(name)
            })
            .cloned()
            .collect();
        if matching.is_empty() {
            let known: Vec<String> = external.images.keys().map(ToString::to_string).collect();
            return Err(self
                .refuse(format!("no chosen cell takes from it\n  help: name one of {}", known.join(", "))));
        }
        if digest.is_some() && matching.len() > 1 {
            let several: Vec<String> = matching.iter().map(ToString::to_string).collect();
            return Err(self.refuse(format!("it may be any of {}", several.join(", "))));
        }
        for reference in matching {
            let locked = lock.images.remove(&reference);
            if let (Some(digest), Some(mut locked)) = (digest, locked) {
                locked.digest = digest;
                locked.environment = None;
                locked.trees.clear();
                locked.copies.clear();
                lock.images.insert(reference, locked);
            }
        }
        Ok(())
    }
}
