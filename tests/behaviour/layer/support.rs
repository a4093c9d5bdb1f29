//! A small harness: tars from the `tar` crate, trees, and listings to compare.

use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use railyard::layer::{
    ArtifactBuilder, Kind, LayerBlob, LayerIndex, Meta, Node, Tree, TreePath, index_layer,
};
use railyard::oci::{DiffId, MEDIA_LAYER, MEDIA_LAYER_GZIP};
use tar::{EntryType, Header};

pub const TIME: i64 = 1_600_000_000;

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

/// A tar being made with the `tar` crate.
pub struct Tarball(tar::Builder<Vec<u8>>);

impl Tarball {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: EntryType, mode: u32, owner: (u64, u64)) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(TIME as u64);
        header.set_size(0);
        header
    }

    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.dir_of(name, mode, (0, 0))
    }

    pub fn dir_of(mut self, name: &str, mode: u32, owner: (u64, u64)) -> Self {
        let mut header = Self::header(EntryType::Directory, mode, owner);
        self.0
            .append_data(&mut header, format!("{}/", name.trim_end_matches('/')), std::io::empty())
            .unwrap();
        self
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.file_of(name, content, 0o644, (0, 0))
    }

    pub fn file_of(mut self, name: &str, content: &str, mode: u32, owner: (u64, u64)) -> Self {
        let mut header = Self::header(EntryType::Regular, mode, owner);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, name, content.as_bytes()).unwrap();
        self
    }

    pub fn binary(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = Self::header(EntryType::Regular, 0o755, (0, 0));
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    pub fn symlink(mut self, name: &str, target: &str) -> Self {
        let mut header = Self::header(EntryType::Symlink, 0o777, (0, 0));
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.hard_link_of(name, target, 0o644, (0, 0))
    }

    pub fn hard_link_of(mut self, name: &str, target: &str, mode: u32, owner: (u64, u64)) -> Self {
        let mut header = Self::header(EntryType::Link, mode, owner);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    /// Extended attributes of the next member.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    /// A header as it is.
    pub fn raw(mut self, edit: impl FnOnce(&mut Header)) -> Self {
        let mut header = Self::header(EntryType::Regular, 0o644, (0, 0));
        edit(&mut header);
        header.set_cksum();
        self.0.append(&header, std::io::empty()).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    pub fn index(self) -> LayerIndex {
        index(&self.bytes())
    }

    pub fn layer(self) -> Layer {
        Layer::of(self.bytes())
    }
}

/// A stored layer and its index.
#[derive(Clone)]
pub struct Layer {
    pub stored: Vec<u8>,
    pub index: Arc<LayerIndex>,
}

impl Layer {
    pub fn of(stored: Vec<u8>) -> Self {
        let index = Arc::new(index(&stored));
        Self { stored, index }
    }
}

pub fn index(stored: &[u8]) -> LayerIndex {
    index_layer(stored, MEDIA_LAYER).unwrap().0
}

pub fn tree(layers: &[Layer]) -> Tree {
    Tree::new(layers.iter().map(|l| l.index.clone()).collect())
}

/// Opens a layer of `layers` for `ArtifactBuilder::copy`.
pub fn opener(
    layers: &[Layer],
) -> impl FnMut(usize) -> Result<Box<dyn Read>, railyard::layer::LayerError> + use<> {
    let layers = layers.to_vec();
    move |at| Ok(Box::new(Cursor::new(layers[at].stored.clone())))
}

pub fn builder() -> ArtifactBuilder {
    ArtifactBuilder::new(&std::env::temp_dir()).unwrap()
}

/// Finishes an artifact; the index of the stored bytes must be the index returned.
pub fn finish(builder: ArtifactBuilder) -> (LayerBlob, Vec<u8>) {
    let mut stored = Vec::new();
    let blob = builder.finish(&mut stored, 4).unwrap();
    check(&blob, &stored);
    (blob, stored)
}

pub fn check(blob: &LayerBlob, stored: &[u8]) {
    let (index, diff_id) = index_layer(stored, MEDIA_LAYER_GZIP).unwrap();
    assert_eq!(index, blob.index);
    assert_eq!(diff_id, blob.diff_id);
    assert_eq!(railyard::oci::Digest::of(stored), blob.descriptor.digest);
    assert_eq!(stored.len() as u64, blob.descriptor.size);
    let mut plain = Vec::new();
    railyard::layer::uncompress(stored, None).unwrap().read_to_end(&mut plain).unwrap();
    assert_eq!(DiffId(railyard::oci::Digest::of(&plain)), diff_id);
    assert_eq!(plain.len() as u64, blob.uncompressed_size());
}

/// One line a path, without times and hashes.
pub fn line(path: &TreePath, kind: &Kind, meta: &Meta) -> String {
    let what = match kind {
        Kind::File { size, link: None, .. } => format!("file {size}"),
        Kind::File { link: Some(link), .. } => format!("link {link}"),
        Kind::Symlink { target } => format!("-> {}", String::from_utf8_lossy(target)),
        other => other.word().to_owned(),
    };
    let owner =
        if (meta.uid, meta.gid) == (0, 0) { String::new() } else { format!(" {}:{}", meta.uid, meta.gid) };
    let xattrs: String =
        meta.xattrs.iter().map(|x| format!(" +{}", String::from_utf8_lossy(&x.name))).collect();
    format!("{path} {what} {:o}{owner}{xattrs}", meta.mode)
}

pub fn list(index: &LayerIndex) -> Vec<String> {
    let mark = |implied| if implied { " (implied)" } else { "" };
    index.entries().iter().map(|e| line(&e.path, &e.kind, &e.meta) + mark(e.is_implied())).collect()
}

pub fn list_tree(tree: &Tree) -> Vec<String> {
    tree.walk(&TreePath::root()).skip(1).map(|n| line(&n.path, &n.kind, &n.meta)).collect()
}

/// What a comparison of trees compares: all but times, offsets and how files are linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen(pub String, pub Meta);

pub fn seen(node: &Node) -> Seen {
    let what = match &node.kind {
        Kind::File { size, sha256, .. } => format!("file {size} {sha256}"),
        other => format!("{other:?}"),
    };
    Seen(what, node.meta.clone())
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}
