//! What can go wrong with layers.

use std::fmt;
use std::io;

use super::TreePath;
use super::path::lossy;

/// Why a layer could not be read, made or placed. Paths are as in the image, with a leading `/`.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Reading or writing failed; `action` names what and where.
    #[error("failed to {action}: {source}")]
    Io {
        /// What was tried, e.g. "read the layer".
        action: String,
        /// The cause.
        source: io::Error,
    },
    /// A stored layer or an archive is malformed or has something that is not supported.
    #[error("bad archive member `{path}`: {reason}")]
    Archive {
        /// The member.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A name leads out of the tree.
    #[error("`{path}` has a `..` component")]
    Traversal {
        /// The name.
        path: String,
    },
    /// Media type of no known layer.
    #[error("layers of media type `{0}` are not supported")]
    MediaType(String),
    /// Bytes of a blob do not have the hash that its index says.
    #[error("content of `{path}` is not what the index of layer {layer} says")]
    Changed {
        /// The file.
        path: String,
        /// The layer's place in the tree, 0 is the lowest.
        layer: usize,
    },
    /// A path does not exist in an image.
    #[error("`{path}` does not exist in `{image}`")]
    NotFound {
        /// The image.
        image: String,
        /// The path as asked for.
        path: String,
    },
    /// An archive does not have a member.
    #[error("the archive has no member `{member}`")]
    NoMember {
        /// The member as asked for.
        member: String,
    },
    /// A path is not valid here.
    #[error("`{path}` cannot be used: {reason}")]
    Path {
        /// The path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// Symbolic links lead in a circle, or through more than 255 links.
    #[error("too many symbolic links in `{path}`")]
    LinkLoop {
        /// The path that was resolved.
        path: String,
    },
    /// A kept symbolic link leads nowhere.
    #[error("kept link `{path}` leads to `{target}`, which is neither kept nor in the builder image")]
    Dangling {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// A hard link to something that is not there.
    #[error("hard link `{path}` leads to `{target}`, which is not among the files")]
    HardLink {
        /// The link.
        path: String,
        /// What it links to.
        target: String,
    },
    /// A directory where something else is, or the reverse.
    #[error("{there} stands in the way of {wanted}")]
    Conflict {
        /// What is there.
        there: Box<Standing>,
        /// What was to be put there.
        wanted: Box<Standing>,
    },
}

/// A side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `file`, `directory`, `symbolic link`, …
    pub kind: &'static str,
    /// Where.
    pub path: TreePath,
    /// Where it comes from.
    pub from: String,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ({})", self.kind, self.path, self.from)
    }
}

impl LayerError {
    /// An IO error with what was tried.
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// As an IO error, of the cause's kind: for those who read or write through one.
    pub fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// A malformed member.
    pub(crate) fn archive(path: &[u8], reason: impl Into<String>) -> Self {
        Self::Archive { path: lossy(path), reason: reason.into() }
    }

    /// An unusable path.
    pub(crate) fn path(path: &TreePath, reason: impl Into<String>) -> Self {
        Self::Path { path: path.to_string(), reason: reason.into() }
    }
}
