//! Axes, and versions that are looked up.

use std::collections::BTreeMap;

use semver::VersionReq;

use crate::manifest::{Located, Location, Template};

/// `[axes.NAME]`.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Its name, an identifier.
    pub name: Located<String>,
    /// Its values, in order, names distinct; empty only where they are discovered and not resolved yet.
    pub values: Vec<AxisValue>,
    /// Where its values come from, unless they are written.
    pub discovery: Option<Discovery>,
}

/// Versions that are looked up instead of written; the lock holds what was found.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Where it stands: the requirement, else the table.
    pub at: Location,
    /// What a version must fulfil.
    pub requirement: VersionReq,
    /// Only the newest so many.
    pub newest: Option<usize>,
    /// Whether every pre-release counts, not only those that the requirement names.
    pub prereleases: bool,
    /// Who lists the versions.
    pub source: VersionSource,
}

/// Who lists versions; templates may use `vars`.
#[derive(Debug, Clone)]
pub enum VersionSource {
    /// The versions of an npm package.
    Npm {
        /// The package's name.
        package: Located<String>,
        /// An image that has npm, for machines without.
        image: Option<Template>,
    },
    /// The tags of a repository.
    Tags {
        /// The repository.
        repository: Template,
        /// A regular expression for whole tags, whose group `version` is the version.
        pattern: Option<Located<String>>,
    },
    /// A document on a server.
    Url(Template),
    /// A file, relative to the manifest.
    File(Template),
}

/// A point on an axis: a name and attributes. `"x"` is short for `{ name = "x" }`.
#[derive(Debug, Clone)]
pub struct AxisValue {
    /// `{{ axis }}`.
    pub name: Located<String>,
    /// `{{ axis.attribute }}`; texts may use `vars`.
    pub attributes: BTreeMap<String, Attribute>,
}

/// An attribute's value.
#[derive(Debug, Clone)]
pub enum Attribute {
    /// Text, which may use `vars`.
    Text(Template),
    /// Text that is taken as it stands.
    Literal(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Attribute>),
}
