//! Checks of finished images.

use crate::manifest::{Command, Located, Owner, Template};

/// `[checks.NAME]`: what a finished image must pass: a command, files, a size; at least one of them.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name.
    pub name: Located<String>,
    /// The command, run with the image's own environment.
    pub command: Option<Command>,
    /// Exit code that is success.
    pub exit: i64,
    /// Text that standard output and error must contain.
    pub expect: Option<Template>,
    /// What its files must be, judged without a container.
    pub files: Vec<FileCheck>,
    /// How large it may be, judged without a container.
    pub size: SizeBudget,
}

/// What a path of a finished image must be. What is not said may be anything.
#[derive(Debug, Clone)]
pub struct FileCheck {
    /// Absolute path. Symbolic links before its last component are followed, that one is not.
    pub path: Template,
    /// What it is.
    pub kind: Option<FileKind>,
    /// Its permission bits (lowest 12).
    pub mode: Option<u32>,
    /// Its owner.
    pub owner: Option<Owner>,
    /// Whether nothing may be there instead.
    pub absent: bool,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl FileKind {
    /// Its name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
        }
    }
}

/// How many bytes an image may have, compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SizeBudget {
    /// Of all its layers.
    pub image: Option<u64>,
    /// Of the layers above its base.
    pub added: Option<u64>,
}

impl SizeBudget {
    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        self.image.is_none() && self.added.is_none()
    }
}

/// The name of the built-in check, which compares programs with the libraries of their base.
pub const ABI_CHECK: &str = "abi";
