//! Copying paths out of an image, as `COPY --from` does.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};

use super::artifact::ArtifactBuilder;
use super::codec::{CHUNK, uncompress};
use super::entry::{Entry, Kind, Meta, Placing};
use super::spool::Content;
use super::tree::Node;
use super::{LayerError, Tree, TreePath};
use crate::oci::Digest;

/// A change of permission bits: the lowest 12 bits and whether it is a directory, to the new bits.
pub type ModeChange<'a> = &'a dyn Fn(u32, bool) -> u32;

/// What to copy and where to.
pub struct CopySpec<'a> {
    /// The image's name, for messages.
    pub image: &'a str,
    /// Absolute paths in the image; no wildcards.
    pub paths: &'a [String],
    /// Destination: of a directory's content, or of a file; a directory when it ends with `/`.
    /// The path itself unless set.
    pub to: Option<&'a str>,
    /// Change of the mode of everything copied but symbolic links.
    pub chmod: Option<ModeChange<'a>>,
    /// New user and group id of everything copied, and of directories made for it.
    pub owner: Option<(u64, u64)>,
    /// Mode of directories made for it; 0755 unless set. Engines differ where `--chmod` is octal:
    /// 20.10 makes them 0755, 28.5 gives them that mode without group and others' write bits,
    /// even 0644.
    pub parents_mode: Option<u32>,
}

impl CopySpec<'_> {
    /// Metadata of directories made for what is copied.
    fn parents(&self) -> Meta {
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        Meta::new(self.parents_mode.unwrap_or(0o755), uid, gid)
    }
}

/// A path to copy, found in the image.
struct Source<'a> {
    /// As written.
    path: &'a str,
    /// What it is, links followed.
    top: Node,
    /// What lies below a directory, with the path relative to it.
    below: Vec<(Vec<u8>, Node)>,
}

/// A content of one layer that is needed.
struct Wanted {
    size: u64,
    sha256: Digest,
    path: TreePath,
}

/// Contents by layer and offset in it.
type Fetched = HashMap<(usize, u64), Content>;

impl ArtifactBuilder {
    /// Copies paths out of the merged tree of an image. `open_layer` gives the stored bytes of a
    /// layer (0 is the lowest); each one that is needed is read once.
    ///
    /// The rules are those of BuildKit (`solver/llbsolver/file/backend.go`, fsutil's `copy`), tried
    /// with 20.10.24 and 28.5.2:
    /// - Symbolic links in the source path are followed inside the image, the last one too; links
    ///   found below a copied directory stay links.
    /// - A directory's *content* is copied. The destination directory keeps its metadata where it
    ///   exists; where it does not, it and its ancestors are made with `parents_mode` and `owner`.
    ///   Directories below it take the source's metadata, even where they exist.
    /// - Owner, times and extended attributes are the source's unless set. `chmod` and `owner`
    ///   change everything below the destination; `chmod` leaves symbolic links and the
    ///   destination directory itself alone.
    /// - Hard links within one path stay links, one that leaves it becomes a file.
    /// - A file is written through a symbolic link that is at its destination.
    ///
    /// # Errors
    /// [`LayerError::NotFound`] names image and path; also when a layer cannot be read or is not
    /// what its index says.
    pub fn copy(
        &mut self,
        tree: &Tree,
        open_layer: impl FnMut(usize) -> Result<Box<dyn Read>, LayerError>,
        spec: &CopySpec<'_>,
    ) -> Result<(), LayerError> {
        let sources = spec
            .paths
            .iter()
            .map(|path| find_source(tree, spec.image, path))
            .collect::<Result<Vec<_>, _>>()?;
        let fetched = self.fetch(&sources, open_layer)?;
        for source in sources {
            // Links do not span paths: each path has its own names for the contents.
            let mut names: HashMap<(usize, u64), u64> = HashMap::new();
            let top = self.destination(&source, spec.to)?;
            if source.top.is_dir() {
                let parents = spec.parents();
                let entry = Entry::directory(top.clone(), parents.clone(), Placing::Implied);
                self.staging.put(entry, 0, &parents)?;
            } else {
                self.put_copy(&source.top, top.clone(), Placing::Through, spec, &fetched, &mut names)?;
            }
            for (relative, node) in &source.below {
                self.put_copy(node, top.join(relative), Placing::Own, spec, &fetched, &mut names)?;
            }
        }
        Ok(())
    }

    /// Where a source goes: the path of the file, or of the directory that gets the content.
    fn destination(&self, source: &Source<'_>, to: Option<&str>) -> Result<TreePath, LayerError> {
        let to = to.unwrap_or(source.path);
        let mut path = TreePath::parse(to)?;
        if to.ends_with('/') && !source.top.is_dir() && to != source.path {
            path = path.join(TreePath::parse(source.path)?.file_name());
        }
        self.staging.landing(&path, true)
    }

    fn put_copy(
        &mut self,
        node: &Node,
        path: TreePath,
        placing: Placing,
        spec: &CopySpec<'_>,
        fetched: &Fetched,
        names: &mut HashMap<(usize, u64), u64>,
    ) -> Result<(), LayerError> {
        let Node { kind, mut meta, mtime, layer, .. } = node.clone();
        if let Some((uid, gid)) = spec.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        let is_link = matches!(kind, Kind::Symlink { .. });
        if let Some(chmod) = spec.chmod.filter(|_| !is_link) {
            meta.mode = chmod(meta.mode, kind == Kind::Directory) & 0o7777;
        }
        let (kind, source) = match kind {
            Kind::File { offset, .. } => {
                let content = fetched[&(layer, offset)];
                let staging = &mut self.staging;
                let source = *names.entry((layer, offset)).or_insert_with(|| staging.content(content));
                (staging.file(source), source)
            }
            Kind::HardLink { target } => {
                return Err(LayerError::HardLink { path: node.path.to_string(), target: target.to_string() });
            }
            kind => (kind, 0),
        };
        let placing = if is_link { Placing::Own } else { placing };
        self.staging.put(Entry { path, kind, meta, mtime, placing }, source, &spec.parents())
    }

    /// Spools the contents of all files, reading each layer once, front to back.
    fn fetch(
        &mut self,
        sources: &[Source<'_>],
        mut open_layer: impl FnMut(usize) -> Result<Box<dyn Read>, LayerError>,
    ) -> Result<Fetched, LayerError> {
        let mut layers: BTreeMap<usize, BTreeMap<u64, Wanted>> = BTreeMap::new();
        for node in sources.iter().flat_map(|s| s.below.iter().map(|(_, node)| node).chain([&s.top])) {
            if let Kind::File { size, sha256, offset, .. } = node.kind {
                let wanted = Wanted { size, sha256, path: node.path.clone() };
                layers.entry(node.layer).or_default().insert(offset, wanted);
            }
        }
        let mut fetched = Fetched::new();
        for (layer, contents) in layers {
            let mut stream = Ranges::new(uncompress(open_layer(layer)?, None)?);
            for (offset, wanted) in contents {
                let mut spooling = self.staging.spool.begin();
                stream.read(offset, wanted.size, &mut |piece| spooling.write(piece))?;
                let content = spooling.finish();
                if content.sha256 != wanted.sha256 {
                    return Err(LayerError::Changed { path: wanted.path.to_string(), layer });
                }
                fetched.insert((layer, offset), content);
            }
        }
        Ok(fetched)
    }
}

fn find_source<'a>(tree: &Tree, image: &str, path: &'a str) -> Result<Source<'a>, LayerError> {
    let real = tree.resolve(&TreePath::parse(path)?, true)?;
    let missing = || LayerError::NotFound { image: image.to_owned(), path: path.to_owned() };
    let mut walk = tree.walk(&real);
    let top = walk.next().ok_or_else(missing)?;
    if path.ends_with('/') && !top.is_dir() {
        return Err(LayerError::path(&real, format!("it is no directory in `{image}`")));
    }
    let below = walk.map(|node| (node.path.strip_prefix(&real).unwrap_or_default().to_vec(), node));
    let below = below.collect();
    Ok(Source { path, top, below })
}

/// Reads ranges of a stream, in order.
pub(crate) struct Ranges<R> {
    stream: BufReader<R>,
    at: u64,
}

impl<R: Read> Ranges<R> {
    pub fn new(stream: R) -> Self {
        Self { stream: BufReader::with_capacity(CHUNK, stream), at: 0 }
    }

    /// Hands `size` bytes from `offset` on to `sink`; `offset` must not be before the end of the
    /// last range.
    pub fn read(
        &mut self,
        offset: u64,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let ahead = offset.checked_sub(self.at).ok_or_else(|| {
            LayerError::io("read the layer", std::io::Error::other("its index is of another layer"))
        })?;
        self.advance(ahead, &mut |_| Ok(()))?;
        self.advance(size, sink)
    }

    fn advance(
        &mut self,
        mut amount: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let error = |e| LayerError::io("read the layer", e);
        self.at += amount;
        while amount > 0 {
            let ready = self.stream.fill_buf().map_err(error)?;
            if ready.is_empty() {
                return Err(error(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let take = ready.len().min(usize::try_from(amount).unwrap_or(usize::MAX));
            sink(&ready[..take])?;
            self.stream.consume(take);
            amount -= take as u64;
        }
        Ok(())
    }
}
