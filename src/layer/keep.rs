//! Files kept from a container, as tar.

use std::collections::HashMap;
use std::io::Read;

use super::archive::{Member, MemberKind, TarReader};
use super::artifact::ArtifactBuilder;
use super::codec::{Tap, uncompress};
use super::entry::{Entry, Kind, Meta, Placing};
use super::{LayerError, TreePath};

/// What modification times become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// As they are, in whole seconds.
    Keep,
    /// All the same: seconds since the epoch, usually [`super::NORMALISED_MTIME`].
    Normalise(i64),
}

/// How a tar of kept files becomes part of an artifact.
pub struct KeepSpec<'a> {
    /// The path in the image of a member's name as it stands in the tar (`./bin/x`, `serverless/`);
    /// `None` leaves the member out.
    pub rename: &'a dyn Fn(&[u8]) -> Option<TreePath>,
    /// What times become.
    pub times: Times,
    /// Directories that give way to the metadata of what is beneath, as `COPY` treats the
    /// directory it is given: usually the kept paths themselves.
    pub implied: &'a [TreePath],
}

impl ArtifactBuilder {
    /// Adds the members of a tar, compressed or not: links as links, no deletions. Hard links must lead
    /// to members that are kept.
    ///
    /// # Errors
    /// When the tar is malformed, a name has `..`, or a hard link leads elsewhere.
    pub fn add_tar(&mut self, tar: impl Read, spec: &KeepSpec<'_>) -> Result<(), LayerError> {
        let mut tar = TarReader::new(Tap::new(uncompress(tar, None)?));
        let mut sources: HashMap<TreePath, (u64, Entry)> = HashMap::new();
        let mut links: Vec<(Entry, TreePath)> = Vec::new();
        while let Some(member) = tar.next_member()? {
            let Some(path) = (spec.rename)(&member.name) else { continue };
            if member.kind == MemberKind::HardLink {
                let outside = || LayerError::HardLink {
                    path: path.to_string(),
                    target: super::path::lossy(&member.link),
                };
                let target = (spec.rename)(&member.link).ok_or_else(outside)?;
                links.push((self.kept(member, path, spec)?.0, target));
                continue;
            }
            let (mut entry, is_file) = self.kept(member, path, spec)?;
            let mut source = 0;
            if is_file {
                let mut spooling = self.staging.spool.begin();
                tar.content(|piece| spooling.write(piece))?;
                let content = spooling.finish();
                source = self.staging.content(content);
                entry.kind = self.staging.file(source);
            }
            if !entry.is_dir() {
                sources.insert(entry.path.clone(), (source, entry.clone()));
            }
            self.staging.put(entry, source, &Meta::default_dir())?;
        }
        for (link, target) in links {
            let Some((source, file)) = sources.get(&target) else {
                return Err(LayerError::HardLink { path: link.path.to_string(), target: target.to_string() });
            };
            self.staging.put(Entry { path: link.path, ..file.clone() }, *source, &Meta::default_dir())?;
        }
        Ok(())
    }

    fn kept(&self, member: Member, path: TreePath, spec: &KeepSpec<'_>) -> Result<(Entry, bool), LayerError> {
        let is_file = member.kind == MemberKind::File;
        let mut entry = entry_of(member, path);
        if let Times::Normalise(time) = spec.times {
            entry.mtime = time;
        }
        if entry.is_dir() && spec.implied.contains(&entry.path) {
            entry = Entry::directory(entry.path, Meta::default_dir(), Placing::Implied);
        }
        Ok((entry, is_file))
    }
}

/// A member as an entry at `path`; files still without content.
pub(crate) fn entry_of(member: Member, path: TreePath) -> Entry {
    let kind = match member.kind {
        MemberKind::File | MemberKind::HardLink => {
            Kind::File { size: 0, sha256: crate::oci::Digest::from([0; 32]), offset: 0, link: None }
        }
        MemberKind::Directory => Kind::Directory,
        MemberKind::Symlink => Kind::Symlink { target: member.link },
        MemberKind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
        MemberKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
        MemberKind::Fifo => Kind::Fifo,
    };
    Entry { path, kind, meta: member.meta, mtime: member.mtime, placing: Placing::Own }
}
