//! Artifacts: the files of a layer, made without knowing any base.

use std::io::{Read, Write};
use std::path::Path;

use super::blob::LayerBlob;
use super::entry::{Entry, Kind, Meta, Placing};
use super::resolve::resolve;
use super::staging::Staging;
use super::{LayerError, NORMALISED_MTIME, Tree, TreePath};

/// Collects the files of a layer and writes them as a canonical blob: equal content gives equal
/// bytes, in whatever order it was added.
///
/// Contents wait in one temporary file. Parts are added in the order of the layer's definition: a
/// later file replaces an earlier one of the same path; a file where a directory is, or the
/// reverse, is [`LayerError::Conflict`].
#[derive(Debug)]
pub struct ArtifactBuilder {
    pub(crate) staging: Staging,
}

impl ArtifactBuilder {
    /// An empty artifact whose contents are spooled to a temporary file in `spool_dir`.
    ///
    /// # Errors
    /// When the temporary file cannot be made.
    pub fn new(spool_dir: &Path) -> Result<Self, LayerError> {
        Ok(Self { staging: Staging::new(spool_dir)? })
    }

    /// Names what is added from now on, for messages about conflicts: "copy from `IMAGE`".
    pub fn part(&mut self, name: &str) {
        self.staging.part = name.into();
    }

    /// Adds a file with the content of a stream; `meta` is its own, 0644 and 0:0 are usual.
    ///
    /// Like a `COPY` of one file: written through a symbolic link that is at `path` where it is
    /// placed. Its time is [`NORMALISED_MTIME`], missing ancestors belong to 0:0.
    ///
    /// # Errors
    /// When the stream fails, or a directory is at `path`.
    pub fn file(&mut self, path: &str, content: impl Read, meta: Meta) -> Result<(), LayerError> {
        let path = self.staging.landing(&TreePath::parse(path)?, true)?;
        let mut spooling = self.staging.spool.begin();
        spooling.copy(content, &format!("the content of `{path}`"))?;
        let content = spooling.finish();
        let source = self.staging.content(content);
        let kind = self.staging.file(source);
        let entry = Entry { path, kind, meta, mtime: NORMALISED_MTIME, placing: Placing::Through };
        self.staging.put(entry, source, &Meta::default_dir())
    }

    /// Adds a directory that gets `meta` even where a base has it.
    ///
    /// # Errors
    /// When a file is at `path`.
    pub fn dir(&mut self, path: &str, meta: Meta) -> Result<(), LayerError> {
        let path = self.staging.landing(&TreePath::parse(path)?, true)?;
        self.staging.put(Entry::directory(path, meta, Placing::Own), 0, &Meta::default_dir())
    }

    /// Checks that kept paths exist, and that kept links lead somewhere: a path that is itself a
    /// symbolic link must lead to something kept or to something in the builder image.
    ///
    /// # Errors
    /// [`LayerError::NotFound`], [`LayerError::Dangling`].
    pub fn check_kept(&self, paths: &[TreePath], builder: Option<&Tree>) -> Result<(), LayerError> {
        for path in paths {
            let Some(item) = self.staging.get(path) else {
                let image = "what the step made".to_owned();
                return Err(LayerError::NotFound { image, path: path.to_string() });
            };
            let Kind::Symlink { target } = &item.entry.kind else { continue };
            // Links of both, the kept ones first: what the container saw.
            let real = resolve(path, true, |at| {
                let kind = match self.staging.get(at) {
                    Some(item) => item.entry.kind.clone(),
                    None => builder?.get(at)?.kind,
                };
                if let Kind::Symlink { target } = kind { Some(target) } else { None }
            })?;
            let there = |at: &TreePath| {
                self.staging.get(at).is_some() || builder.is_some_and(|tree| tree.get(at).is_some())
            };
            if !there(&real) {
                let target = String::from_utf8_lossy(target).into_owned();
                return Err(LayerError::Dangling { path: path.to_string(), target });
            }
        }
        Ok(())
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.staging.items().next().is_none()
    }

    /// Writes the blob: gzip of the given level (0 to 9, [`super::GZIP_LEVEL`] is usual) over a
    /// tar in order of path.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self, mut out: impl Write, level: u32) -> Result<LayerBlob, LayerError> {
        self.staging.finish(&mut out, level)
    }
}
