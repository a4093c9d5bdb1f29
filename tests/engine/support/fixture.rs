//! Small images made of tars: bases and sources with just the hard case in them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::registry::{LayerBlob, sha256};

/// Modification time of every entry that says none.
pub const TIME: u64 = 1_600_000_000;
/// `cap_net_bind_service+ep`, as the kernel stores it in `security.capability`.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An entry of a layer's tar.
#[derive(Debug, Clone)]
pub struct Entry {
    path: String,
    kind: tar::EntryType,
    content: Vec<u8>,
    link: String,
    mode: u32,
    owner: (u64, u64),
    time: u64,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Entry {
    fn new(path: &str, kind: tar::EntryType, mode: u32) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            content: Vec::new(),
            link: String::new(),
            mode,
            owner: (0, 0),
            time: TIME,
            xattrs: Vec::new(),
        }
    }

    /// Permission bits.
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// User and group.
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// Modification time in seconds.
    pub fn time(self, time: u64) -> Self {
        Self { time, ..self }
    }

    /// An extended attribute.
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push((format!("SCHILY.xattr.{name}"), value.to_vec()));
        self
    }
}

/// A directory, 0755.
pub fn dir(path: &str) -> Entry {
    Entry::new(path, tar::EntryType::Directory, 0o755)
}

/// A file, 0644.
pub fn file(path: &str, content: impl AsRef<[u8]>) -> Entry {
    Entry { content: content.as_ref().to_vec(), ..Entry::new(path, tar::EntryType::Regular, 0o644) }
}

/// A symbolic link.
pub fn symlink(path: &str, target: &str) -> Entry {
    Entry { link: target.to_owned(), ..Entry::new(path, tar::EntryType::Symlink, 0o777) }
}

/// A hard link to a file that comes earlier in the layer.
pub fn hard_link(path: &str, target: &str) -> Entry {
    Entry { link: target.to_owned(), ..Entry::new(path, tar::EntryType::Link, 0o644) }
}

/// Deletes a path of the layers beneath.
pub fn whiteout(path: &str) -> Entry {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    file(&format!("{parent}/.wh.{name}"), "").mode(0)
}

/// Deletes what the layers beneath have in a directory.
pub fn opaque(path: &str) -> Entry {
    file(&format!("{path}/.wh..wh..opq"), "").mode(0)
}

/// A layer's tar, uncompressed.
pub fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let xattrs = entry.xattrs.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        builder.append_pax_extensions(xattrs).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(entry.time);
        header.set_size(entry.content.len() as u64);
        let path = entry.path.trim_start_matches('/');
        if entry.link.is_empty() {
            builder.append_data(&mut header, path, entry.content.as_slice()).unwrap();
        } else {
            builder.append_link(&mut header, path, &entry.link).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// gzip of anything.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The content of a file in a tar with gzip.
pub fn member(archive: &[u8], name: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() == Some(name) {
            entry.read_to_end(&mut found).unwrap();
        }
    }
    assert!(!found.is_empty(), "the archive has no `{name}`");
    found
}

/// An image made of entries.
#[derive(Debug, Clone)]
pub struct Fixture {
    layers: Vec<Vec<Entry>>,
    config: Value,
}

impl Fixture {
    /// An image of one layer.
    pub fn new(entries: impl Into<Vec<Entry>>) -> Self {
        Self { layers: vec![entries.into()], config: json!({"Env": ["PATH=/bin"]}) }
    }

    /// One more layer on top.
    pub fn layer(mut self, entries: impl Into<Vec<Entry>>) -> Self {
        self.layers.push(entries.into());
        self
    }

    /// Another configuration: `Env`, `Cmd`, ….
    pub fn config(self, config: Value) -> Self {
        Self { config, ..self }
    }

    pub(super) fn pushable(&self) -> (Vec<LayerBlob>, &Value) {
        let blob = |entries: &Vec<Entry>| {
            let tar = tar_of(entries);
            LayerBlob { diff_id: sha256(&tar), bytes: gzip(&tar) }
        };
        (self.layers.iter().map(blob).collect(), &self.config)
    }
}

/// Programs of this machine with the libraries they need, for images in which a shell must run.
pub fn programs(names: &[&str]) -> Vec<Entry> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for name in names {
        let program = Path::new("/bin").join(name);
        let output = Command::new("ldd").arg(&program).output().expect("ldd runs");
        let listing = String::from_utf8(output.stdout).unwrap();
        files.push((program, format!("bin/{name}")));
        for library in listing.split_whitespace().filter(|word| word.starts_with('/')) {
            files.push((library.into(), library.trim_start_matches('/').to_owned()));
        }
    }
    files.sort();
    files.dedup();
    let mut dirs: Vec<String> = Vec::new();
    for (_, path) in &files {
        for (at, _) in path.match_indices('/') {
            dirs.push(path[..at].to_owned());
        }
    }
    dirs.extend(["etc".to_owned(), "root".to_owned()]);
    dirs.sort();
    dirs.dedup();
    let mut entries: Vec<Entry> = dirs.iter().map(|path| dir(path)).collect();
    entries.push(dir("tmp").mode(0o1777));
    let content = |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    entries.extend(files.iter().map(|(source, path)| file(path, content(source)).mode(0o755)));
    entries
}

/// A base in which commands run, with everything that engines mount over already there.
pub fn shell() -> Vec<Entry> {
    let tools = ["cat", "chmod", "chown", "cp", "ln", "mkdir", "mv", "rm", "sh", "touch"];
    let mut entries = programs(&tools);
    entries.extend([
        file("etc/hosts", "127.0.0.1 base\n"),
        file("etc/hostname", "base\n"),
        file("etc/resolv.conf", "# base\n"),
        file("etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/home:/bin/sh\n"),
        file("etc/group", "root:x:0:\nuser:x:1001:\n"),
        dir("dev"),
        dir("proc"),
        dir("sys"),
        dir("opt").mode(0o711),
        dir("opt/data").mode(0o700).owner(9, 9),
        dir("usr"),
        dir("usr/sbin").owner(0, 4),
        symlink("sbin", "usr/sbin"),
    ]);
    entries
}
