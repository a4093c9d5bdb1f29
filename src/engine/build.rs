//! What is asked of an engine that builds a Dockerfile, and what it hands out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::SecretValue;
use crate::dockerfile::Context;
use crate::oci::{DiffId, Platform};

/// A Dockerfile to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Its text; the images it names are names of `images`.
    pub dockerfile: String,
    /// What COPY takes from. A file that is not as it was read ends the build.
    pub context: Arc<Context>,
    /// Modification time that the context's files have, in seconds since the epoch.
    pub mtime: i64,
    /// References for the time of the build -> ids of images in the engine.
    pub images: BTreeMap<String, String>,
    /// The stage; the last unless set.
    pub target: Option<String>,
    /// Build arguments.
    pub args: Vec<(String, String)>,
    /// What is built.
    pub platform: Platform,
    /// `host` or `none`; the engine's default unless set.
    pub network: Option<&'static str>,
    /// Whether everything runs again.
    pub no_cache: bool,
    /// Id -> value; handed to the instructions that mount them, and nowhere else.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Labels of the image in the engine, so that leftovers can be found. They are in its
    /// configuration.
    pub labels: BTreeMap<String, String>,
    /// Layers that need not be handed out.
    pub known: BTreeSet<DiffId>,
    /// Where layers are spooled.
    pub spool: PathBuf,
}

/// An image that an engine has built; the engine has forgotten it again.
#[derive(Debug)]
pub struct BuiltImage {
    /// Its configuration, as the engine wrote it.
    pub config: Vec<u8>,
    /// Its layers, lowest first; one may be there several times.
    pub layers: Vec<DiffId>,
    /// Those that were not known, uncompressed.
    pub files: BTreeMap<DiffId, NamedTempFile>,
}
