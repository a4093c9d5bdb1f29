//! Entries of a layer being collected: a map by path over a spool of contents.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::blob::{Contents, LayerBlob, write_layer};
use super::entry::{Entry, Kind, Meta, Placing};
use super::resolve::resolve;
use super::spool::{Content, Spool, SpoolReader};
use super::{LayerError, Standing, TreePath};

/// Entries and contents. An entry's `source` is the place of its content in `contents`; entries
/// with the same source are hard links of each other.
#[derive(Debug)]
pub(crate) struct Staging {
    pub spool: Spool,
    contents: Vec<Content>,
    items: BTreeMap<(TreePath, u8), Item>,
    /// What is being added, for messages.
    pub part: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub entry: Entry,
    pub source: u64,
    part: Arc<str>,
}

impl Staging {
    pub fn new(directory: &Path) -> Result<Self, LayerError> {
        let spool = Spool::new(directory)?;
        Ok(Self { spool, contents: Vec::new(), items: BTreeMap::new(), part: "".into() })
    }

    /// Registers a content; the result is a source.
    pub fn content(&mut self, content: Content) -> u64 {
        self.contents.push(content);
        self.contents.len() as u64 - 1
    }

    /// The kind of a file with a registered content.
    pub fn file(&self, source: u64) -> Kind {
        let Content { size, sha256, .. } = self.contents[source as usize];
        Kind::File { size, sha256, offset: 0, link: None }
    }

    /// The item at a path that is no whiteout.
    pub fn get(&self, path: &TreePath) -> Option<&Item> {
        self.items.get(&(path.clone(), 1))
    }

    /// All items in order.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.values()
    }

    /// Removes a path's item of a kind's rank.
    pub fn remove(&mut self, entry: &Entry) {
        self.items.remove(&(entry.path.clone(), entry.kind.rank()));
    }

    /// Whether anything lies below a path.
    pub fn has_below(&self, path: &TreePath) -> bool {
        let next = self.items.range((path.clone(), 3)..).next();
        next.is_some_and(|((found, _), _)| found.starts_with(path))
    }

    /// Whether a whiteout or an opaque mark is at a path.
    pub fn is_marked(&self, path: &TreePath) -> bool {
        [0, 2].iter().any(|rank| self.items.contains_key(&(path.clone(), *rank)))
    }

    /// Where a destination leads: links among the entries are followed in all components but the
    /// last, and in that too with `follow_last`.
    pub fn landing(&self, path: &TreePath, follow_last: bool) -> Result<TreePath, LayerError> {
        resolve(path, follow_last, |at| match &self.get(at)?.entry.kind {
            Kind::Symlink { target } => Some(target.clone()),
            _ => None,
        })
    }

    /// Adds an entry. Missing ancestors are made with `parents`' owner; a later file replaces an
    /// earlier one, a later directory's metadata replaces the earlier one's unless it is implied.
    pub fn put(&mut self, entry: Entry, source: u64, parents: (u64, u64)) -> Result<(), LayerError> {
        if entry.path.file_name().starts_with(b".wh.") {
            return Err(LayerError::path(&entry.path, "names with `.wh.` mean deletions in layers"));
        }
        if entry.path.is_root() && !entry.is_dir() {
            return Err(LayerError::path(&entry.path, format!("a {} cannot be the root", entry.kind.word())));
        }
        for dir in entry.path.ancestors() {
            match self.get(&dir) {
                Some(item) if !item.entry.is_dir() => return Err(self.conflict(item, &entry)),
                Some(_) => {}
                None => {
                    let meta = Meta::new(0o755, parents.0, parents.1);
                    self.insert(Entry::directory(dir, meta, Placing::Implied), 0);
                }
            }
        }
        match self.get(&entry.path) {
            Some(old) if old.entry.is_dir() != entry.is_dir() => return Err(self.conflict(old, &entry)),
            Some(old) if old.entry.is_dir() && entry.is_implied() => return Ok(()),
            _ => {}
        }
        self.insert(entry, source);
        Ok(())
    }

    /// Adds an entry as it is.
    pub fn insert(&mut self, entry: Entry, source: u64) {
        let key = (entry.path.clone(), entry.kind.rank());
        self.items.insert(key, Item { entry, source, part: self.part.clone() });
    }

    /// Writes all as a layer.
    pub fn finish(self, out: &mut dyn Write, level: u32) -> Result<LayerBlob, LayerError> {
        let entries = self.items.into_values().map(|item| (item.entry, item.source)).collect();
        let mut contents = Spooled { contents: self.contents, reader: self.spool.reader()? };
        write_layer(entries, &mut contents, out, level)
    }

    fn conflict(&self, there: &Item, new: &Entry) -> LayerError {
        let standing = |entry: &Entry, from: &str| {
            Box::new(Standing { kind: entry.kind.word(), path: entry.path.clone(), from: from.to_owned() })
        };
        LayerError::Conflict { there: standing(&there.entry, &there.part), wanted: standing(new, &self.part) }
    }
}

struct Spooled {
    contents: Vec<Content>,
    reader: SpoolReader,
}

impl Contents for Spooled {
    fn read(
        &mut self,
        source: u64,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        self.reader.range(self.contents[source as usize].offset, size, sink)
    }
}
