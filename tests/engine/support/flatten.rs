//! The file system of an image: its layers applied in order, as an overlay of them looks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// A path of a file system, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// As in `ls -l`: `-`, `d`, `l`, `c`, `b`, `p`.
    pub kind: char,
    /// Lowest 12 bits; 0777 for symbolic links.
    pub mode: u32,
    /// User.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds.
    pub mtime: u64,
    /// Target of a symbolic link, numbers of a device.
    pub target: String,
    /// Size and hash of a file.
    pub content: Option<(u64, String)>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Equal for names of one file; unique otherwise.
    pub inode: u64,
}

/// Path without leading `/` -> what it is. The root is not in it.
pub type Tree = BTreeMap<String, Node>;

#[derive(Debug)]
enum Change {
    Set(Node),
    /// Another name of a file; what the tar says of it holds for the file, as engines have it.
    HardLink(String, Node),
    Whiteout,
    Opaque,
}

/// What a layer's tar says, in its order.
pub struct Layer(Vec<(String, Change)>);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn normal(name: &[u8]) -> String {
    let name = text(name);
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    assert!(!parts.contains(&".."), "`{name}` leaves the tree");
    parts.join("/")
}

struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Layer {
    /// Reads a tar.
    pub fn read(tar: impl Read) -> Self {
        let mut changes = Vec::new();
        for entry in tar::Archive::new(tar).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = normal(&entry.path_bytes());
            let link = entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
            let mut xattrs = BTreeMap::new();
            for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
                let extension = extension.unwrap();
                if let Some(name) = extension.key().unwrap_or_default().strip_prefix("SCHILY.xattr.") {
                    xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
                }
            }
            let header = entry.header().clone();
            let mut hash = Hashing(Sha256::new());
            let size = std::io::copy(&mut entry, &mut hash).unwrap();
            let (parent, file_name) = name.rsplit_once('/').unwrap_or(("", &name));
            if let Some(hidden) = file_name.strip_prefix(".wh.") {
                let join =
                    |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
                if hidden == ".wh..opq" {
                    changes.push((parent.to_owned(), Change::Opaque));
                } else if !hidden.starts_with(".wh.") {
                    changes.push((join(hidden), Change::Whiteout));
                }
                continue;
            }
            let device =
                || format!("{:?}:{:?}", header.device_major().unwrap(), header.device_minor().unwrap());
            let (kind, target) = match header.entry_type() {
                tar::EntryType::Regular
                | tar::EntryType::Link
                | tar::EntryType::Continuous
                | tar::EntryType::GNUSparse => ('-', String::new()),
                tar::EntryType::Directory => ('d', String::new()),
                tar::EntryType::Symlink => ('l', text(&link)),
                tar::EntryType::Char => ('c', device()),
                tar::EntryType::Block => ('b', device()),
                tar::EntryType::Fifo => ('p', String::new()),
                tar::EntryType::XGlobalHeader => continue,
                other => panic!("`{name}` is of an unknown type {other:?}"),
            };
            let node = Node {
                kind,
                mode: if kind == 'l' { 0o777 } else { header.mode().unwrap() & 0o7777 },
                uid: header.uid().unwrap(),
                gid: header.gid().unwrap(),
                mtime: header.mtime().unwrap(),
                target,
                content: (kind == '-').then(|| (size, hex::encode(hash.0.finalize()))),
                xattrs,
                inode: 0,
            };
            if header.entry_type() == tar::EntryType::Link {
                changes.push((name, Change::HardLink(normal(&link), node)));
                continue;
            }
            changes.push((name, Change::Set(node)));
        }
        Self(changes)
    }

    /// Reads a stored blob: a tar, or gzip of one.
    pub fn of_blob(blob: &[u8]) -> Self {
        if blob.starts_with(&[0x1f, 0x8b]) {
            Self::read(flate2::read::MultiGzDecoder::new(blob))
        } else {
            Self::read(blob)
        }
    }

    /// Puts this layer on a file system.
    ///
    /// # Panics
    /// When it contradicts itself, so that engines might read it differently.
    pub fn apply(&self, files: &mut Files) {
        let Files { tree, implied, inodes } = files;
        let mut here: HashSet<&str> = HashSet::new();
        for (path, change) in &self.0 {
            if path.is_empty() && !matches!(change, Change::Opaque) {
                continue;
            }
            if let Some((parent, _)) = path.rsplit_once('/')
                && !here.contains(parent)
            {
                implied.insert(path.clone());
            }
            match change {
                Change::Opaque => {
                    let inside = |p: &str| path.is_empty() || below(p, path);
                    tree.retain(|p, _| !inside(p) || here.contains(p.as_str()));
                }
                Change::Whiteout => {
                    assert!(!here.contains(path.as_str()), "a layer has `{path}` and then deletes it");
                    tree.retain(|p, _| p != path && !below(p, path));
                }
                Change::HardLink(target, said) => {
                    let lacks = "a layer links to a file that it lacks";
                    assert!(here.contains(target.as_str()), "`{path}` -> `{target}`: {lacks}");
                    let Node { mode, uid, gid, mtime, .. } = *said;
                    let mut node = Node { mode, uid, gid, mtime, ..tree[target].clone() };
                    node.xattrs.extend(said.xattrs.clone());
                    tree.retain(|p, _| !below(p, path));
                    for other in tree.values_mut().filter(|other| other.inode == node.inode) {
                        *other = node.clone();
                    }
                    tree.insert(path.clone(), node);
                    here.insert(path);
                }
                Change::Set(node) => {
                    let stays = node.kind == 'd' && tree.get(path).is_some_and(|before| before.kind == 'd');
                    if !stays && tree.contains_key(path) {
                        tree.retain(|p, _| !below(p, path));
                    }
                    *inodes += 1;
                    tree.insert(path.clone(), Node { inode: *inodes, ..node.clone() });
                    here.insert(path);
                }
            }
        }
    }
}

fn below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

/// A file system being put together.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The paths.
    pub tree: Tree,
    /// Paths that a layer has without the directories that hold them: engines make these up, each
    /// in its own way, so that only a base may be like this.
    pub implied: BTreeSet<String>,
    inodes: u64,
}

/// Layers by digest: bases are read once.
static KNOWN: Mutex<Option<HashMap<String, Arc<Layer>>>> = Mutex::new(None);

/// The file system of layers, lowest first; `fetch` gives a blob by digest.
pub fn flatten(digests: &[String], fetch: impl Fn(&str) -> Vec<u8>) -> Files {
    let mut files = Files::default();
    for digest in digests {
        let known = KNOWN.lock().unwrap().get_or_insert_default().get(digest).cloned();
        let layer = known.unwrap_or_else(|| {
            let layer = Arc::new(Layer::of_blob(&fetch(digest)));
            KNOWN.lock().unwrap().get_or_insert_default().insert(digest.clone(), layer.clone());
            layer
        });
        layer.apply(&mut files);
    }
    files
}
