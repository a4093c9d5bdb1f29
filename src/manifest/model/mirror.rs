//! Images of others that are copied.

use crate::manifest::{Located, Template};

/// `[mirrors.NAME]`: images of others that are copied into a registry; templates may use `vars`.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Its name.
    pub name: Located<String>,
    /// References; one that names no registry comes from `from`.
    pub images: Vec<Template>,
    /// A file with a reference a line, relative to the manifest.
    pub file: Option<Template>,
    /// Where images that name no registry come from; `docker.io` unless written.
    pub from: Option<Template>,
    /// What the names are put behind.
    pub to: Template,
    /// Whether signatures and other referrers are copied too.
    pub referrers: bool,
}
