//! Small texts of the manifest -> values: amounts, modes, owners, names, paths, references.
//!
//! Pure functions from a text to a value or a [`Fault`]; they know no places.

mod amount;
mod mode;
mod name;
mod path;
mod reference;
mod registry;
mod version;

pub(in crate::manifest) use amount::{duration, size};
pub(in crate::manifest) use mode::{chmod, octal, owner};
pub(in crate::manifest) use name::{
    identifier, is_name, label, name, output, secret_file, variable, version,
};
pub(in crate::manifest) use path::{member, path, sha256, url};
pub(in crate::manifest) use reference::{
    mirrored, platform, reference, repository, repository_name, repository_prefix, tag,
};
pub(in crate::manifest) use registry::{
    aws_account, aws_endpoint, aws_region, aws_role, destination, ecr_host, helper, registry, version_tag,
};
pub(in crate::manifest) use version::{file, package, pattern, requirement};

/// Why a text is malformed, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::manifest) struct Fault {
    /// The diagnostic's code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

fn fault(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { code, message: message.into(), help: help.into() }
}

/// The text before the first `{{`, `{%` or `{#`, and whether that is all of it.
pub(in crate::manifest) fn literal_part(text: &str) -> (&str, bool) {
    let first = ["{{", "{%", "{#"].iter().filter_map(|mark| text.find(mark)).min();
    first.map_or((text, true), |at| (&text[..at], false))
}

/// Any text.
pub(in crate::manifest) fn anything(_: &str) -> Result<(), Fault> {
    Ok(())
}
