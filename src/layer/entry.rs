//! One path of a layer.

use serde::{Deserialize, Serialize};

use super::TreePath;
use super::path::bytes;
use crate::oci::Digest;

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// Hash of the content.
        sha256: Digest,
        /// Where the content begins in the layer's uncompressed tar. Entries of one layer with
        /// the same offset are one file with several names.
        offset: u64,
        /// Set when the tar has it as a hard link: the path it is linked to.
        link: Option<TreePath>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it says.
        #[serde(with = "bytes")]
        target: Vec<u8>,
    },
    /// A hard link to a file that this layer does not have: to be looked for beneath.
    HardLink {
        /// The file.
        target: TreePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// The path is deleted from what is beneath (`.wh.NAME`; OCI layer.md, whiteouts).
    Whiteout,
    /// All that is beneath in this directory is deleted (`.wh..wh..opq`).
    Opaque,
}

impl Kind {
    /// A word for messages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::HardLink { .. } => "file",
            Self::Directory => "directory",
            Self::Symlink { .. } => "symbolic link",
            Self::CharDevice { .. } | Self::BlockDevice { .. } => "device",
            Self::Fifo => "named pipe",
            Self::Whiteout | Self::Opaque => "whiteout",
        }
    }

    /// Order of entries with the same path: the whiteout of what was there, what is there now,
    /// the mark that its old content is gone.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Whiteout => 0,
            Self::Opaque => 2,
            _ => 1,
        }
    }

    /// Whether it is neither whiteout nor opaque mark.
    pub(crate) fn is_real(&self) -> bool {
        self.rank() == 1
    }
}

/// An extended attribute: name and value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    /// Its name, e.g. `security.capability`.
    #[serde(with = "bytes")]
    pub name: Vec<u8>,
    /// Its value.
    #[serde(with = "bytes")]
    pub value: Vec<u8>,
}

/// Mode, owner and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Permission bits (lowest 12). Always 0777 for symbolic links, 0 for whiteouts.
    pub mode: u32,
    /// User id.
    pub uid: u64,
    /// Group id.
    pub gid: u64,
    /// Sorted by name.
    pub xattrs: Vec<Xattr>,
}

impl Meta {
    /// Metadata without extended attributes.
    pub fn new(mode: u32, uid: u64, gid: u64) -> Self {
        Self { mode, uid, gid, xattrs: Vec::new() }
    }

    /// What a directory gets that nothing says more about: 0755, 0:0.
    pub fn default_dir() -> Self {
        Self::new(0o755, 0, 0)
    }
}

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: Kind,
    /// Mode, owner, extended attributes.
    pub meta: Meta,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// How it behaves where it is placed.
    pub placing: Placing,
}

/// How an entry of an artifact behaves where it is placed on a tree.
///
/// In a stored artifact it is the PAX record `comment`, which all programs that read tar ignore,
/// so that the index of a blob can be made again from the blob alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Placing {
    /// Its metadata holds, whatever is beneath; it replaces a symbolic link.
    #[default]
    Own,
    /// A directory that is there only to hold others: where one is beneath, that one's metadata
    /// holds. Also a directory that the tar does not have, but whose content it has.
    Implied,
    /// A file that is written through a symbolic link at its path, as `COPY` of a file does.
    Through,
}

impl Placing {
    /// The `comment` of the entry's PAX header.
    pub(crate) fn comment(self) -> Option<&'static [u8]> {
        match self {
            Self::Own => None,
            Self::Implied => Some(b"implied"),
            Self::Through => Some(b"through"),
        }
    }

    /// The inverse of `comment`.
    pub(crate) fn of_comment(comment: Option<&[u8]>) -> Self {
        match comment {
            Some(b"implied") => Self::Implied,
            Some(b"through") => Self::Through,
            _ => Self::Own,
        }
    }
}

impl Entry {
    /// A directory.
    pub(crate) fn directory(path: TreePath, meta: Meta, placing: Placing) -> Self {
        Self { path, kind: Kind::Directory, meta, mtime: super::NORMALISED_MTIME, placing }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether its metadata gives way to that of a directory beneath.
    pub fn is_implied(&self) -> bool {
        self.placing == Placing::Implied
    }
}
