//! The C and C++ libraries of a tree.

use super::entry::Kind;
use super::{Tree, TreePath};
use crate::oci::Digest;

/// Where the dynamic loader looks, and where distributions put the libraries.
pub(crate) const DIRECTORIES: [&str; 8] = [
    "lib64",
    "usr/lib64",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib",
    "usr/lib",
];

/// A shared library of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Where the file is, links followed.
    pub path: TreePath,
    /// The file's name, which often has the version: `libstdc++.so.6.0.30`, `libc-2.26.so`.
    pub name: String,
    /// Hash of its content.
    pub sha256: Digest,
}

/// The libraries that programs built elsewhere depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Libraries {
    /// glibc's `libc.so.6`, or musl's loader, which is its C library.
    pub libc: Option<Library>,
    /// `libstdc++.so.6`.
    pub libstdcxx: Option<Library>,
}

/// Finds the libraries of a tree; links that lead nowhere count as absent.
pub fn find_libraries(tree: &Tree) -> Libraries {
    let find = |name: &str| DIRECTORIES.iter().find_map(|dir| library(tree, format!("{dir}/{name}")));
    let musl = || {
        let lib = tree.resolve(&TreePath::parse("lib").ok()?, true).ok()?;
        let loaders = tree.children(&lib).into_iter().map(|node| node.path);
        let mut loaders = loaders.filter(|path| path.file_name().starts_with(b"ld-musl-"));
        loaders.find_map(|path| library(tree, path.as_bytes()))
    };
    Libraries { libc: find("libc.so.6").or_else(musl), libstdcxx: find("libstdc++.so.6") }
}

fn library(tree: &Tree, path: impl AsRef<[u8]>) -> Option<Library> {
    let path = tree.resolve(&TreePath::parse(path).ok()?, true).ok()?;
    match tree.get(&path)?.kind {
        Kind::File { sha256, .. } => {
            Some(Library { name: String::from_utf8_lossy(path.file_name()).into_owned(), path, sha256 })
        }
        _ => None,
    }
}
