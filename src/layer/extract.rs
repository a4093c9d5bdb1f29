//! Members of downloaded archives.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};

use super::archive::{MemberKind, TarReader};
use super::artifact::ArtifactBuilder;
use super::codec::{Tap, uncompress};
use super::copy::ModeChange;
use super::entry::{Entry, Kind, Meta, Placing};
use super::keep::entry_of;
use super::path::lossy;
use super::{LayerError, NORMALISED_MTIME, TreePath};

/// Formats of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// tar, plain, gzip or zstd: told by the first bytes.
    Tar,
    /// zip.
    Zip,
}

/// What to take out of an archive and where to put it.
pub struct ExtractSpec<'a> {
    /// The archive's format.
    pub format: Archive,
    /// Members to take, files or directories, as they are named in the archive; all when empty.
    pub members: &'a [String],
    /// Leading path components to drop; members that have no more are left out.
    pub strip: usize,
    /// The directory to extract into. With exactly one member that is a file: that file's place,
    /// unless it ends with `/`.
    pub path: &'a str,
    /// Change of the mode of everything but symbolic links.
    pub mode: Option<ModeChange<'a>>,
    /// Owner of everything.
    pub owner: (u64, u64),
}

impl ArtifactBuilder {
    /// Extracts members of an archive. Times are the archive's own (zip: DOS time as UTC), owners
    /// are not. The directory at `path` keeps its metadata where it exists.
    ///
    /// # Errors
    /// When the archive is malformed, a name has `..`, or a member does not exist.
    pub fn extract(&mut self, archive: impl Read + Seek, spec: &ExtractSpec<'_>) -> Result<(), LayerError> {
        let mut target = Target::new(self, spec)?;
        match spec.format {
            Archive::Tar => target.tar(archive)?,
            Archive::Zip => target.zip(archive)?,
        }
        target.finish()
    }
}

/// An extraction that is going on.
struct Target<'b, 's> {
    builder: &'b mut ArtifactBuilder,
    spec: &'s ExtractSpec<'s>,
    members: Vec<TreePath>,
    found: HashSet<usize>,
    base: TreePath,
    /// What was extracted from each member that is no directory, for hard links.
    files: HashMap<TreePath, (Entry, u64)>,
}

impl<'b, 's> Target<'b, 's> {
    fn new(builder: &'b mut ArtifactBuilder, spec: &'s ExtractSpec<'s>) -> Result<Self, LayerError> {
        let members = spec.members.iter().map(TreePath::parse).collect::<Result<_, _>>()?;
        let base = builder.staging.landing(&TreePath::parse(spec.path)?, true)?;
        Ok(Self { builder, spec, members, found: HashSet::new(), base, files: HashMap::new() })
    }

    /// Where a member goes; `None` when it is left out.
    fn place(&mut self, name: &TreePath, is_dir: bool) -> Option<TreePath> {
        let mut single = false;
        if !self.members.is_empty() {
            let at = self.members.iter().position(|member| name.starts_with(member))?;
            self.found.insert(at);
            single = self.members.len() == 1 && self.members[at] == *name && !is_dir;
        }
        if single && !self.spec.path.ends_with('/') {
            return Some(self.base.clone());
        }
        let mut place = self.base.clone();
        let mut kept = name.components().skip(self.spec.strip).peekable();
        kept.peek()?;
        kept.for_each(|component| place = place.join(component));
        Some(place)
    }

    fn put(&mut self, mut entry: Entry, source: u64) -> Result<(), LayerError> {
        (entry.meta.uid, entry.meta.gid) = self.spec.owner;
        if let Some(mode) = self.spec.mode.filter(|_| !matches!(entry.kind, Kind::Symlink { .. })) {
            entry.meta.mode = mode(entry.meta.mode, entry.is_dir()) & 0o7777;
        }
        if entry.path == self.base && !entry.is_dir() {
            entry.placing = Placing::Through;
        }
        let parents = Meta::new(0o755, self.spec.owner.0, self.spec.owner.1);
        self.builder.staging.put(entry, source, &parents)
    }

    fn tar(&mut self, archive: impl Read) -> Result<(), LayerError> {
        let mut tar = TarReader::new(Tap::new(uncompress(archive, None)?));
        let mut links = Vec::new();
        while let Some(member) = tar.next_member()? {
            let name = TreePath::parse(&member.name)?;
            if member.kind == MemberKind::HardLink {
                links.push((name, TreePath::parse(&member.link)?));
                continue;
            }
            let place = self.place(&name, member.kind == MemberKind::Directory);
            // A file that is left out may still be what a hard link leads to.
            if place.is_none() && member.kind != MemberKind::File {
                continue;
            }
            let is_file = member.kind == MemberKind::File;
            let mut entry = entry_of(member, place.clone().unwrap_or_default());
            entry.placing = Placing::Own;
            let mut source = 0;
            if is_file {
                let mut spooling = self.builder.staging.spool.begin();
                tar.content(|piece| spooling.write(piece))?;
                let content = spooling.finish();
                source = self.builder.staging.content(content);
                entry.kind = self.builder.staging.file(source);
                self.files.insert(name, (entry.clone(), source));
            }
            if place.is_some() {
                self.put(entry, source)?;
            }
        }
        for (name, link) in links {
            let Some(path) = self.place(&name, false) else { continue };
            let missing = || LayerError::HardLink { path: name.to_string(), target: link.to_string() };
            let (file, source) = self.files.get(&link).cloned().ok_or_else(missing)?;
            self.put(Entry { path, ..file }, source)?;
        }
        Ok(())
    }

    fn zip(&mut self, archive: impl Read + Seek) -> Result<(), LayerError> {
        let bad = |name: &str, e: zip::result::ZipError| LayerError::archive(name.as_bytes(), e.to_string());
        let mut archive = zip::ZipArchive::new(archive).map_err(|e| bad("", e))?;
        for at in 0..archive.len() {
            let mut member = archive.by_index(at).map_err(|e| bad("", e))?;
            let name = TreePath::parse(member.name_raw())?;
            let text = lossy(name.as_bytes());
            let is_dir = member.is_dir();
            let Some(path) = self.place(&name, is_dir) else { continue };
            let default = if is_dir { 0o755 } else { 0o644 };
            let mode = member.unix_mode().unwrap_or(default);
            let meta = Meta::new(mode & 0o7777, 0, 0);
            let mtime = member.last_modified().map_or(NORMALISED_MTIME, dos_seconds);
            let mut entry = Entry { path, kind: Kind::Directory, meta, mtime, placing: Placing::Own };
            if is_dir {
                self.put(entry, 0)?;
                continue;
            }
            if member.is_symlink() {
                let mut target = Vec::new();
                let read = member.by_ref().take(4097).read_to_end(&mut target);
                read.map_err(|e| LayerError::io(format!("read `{text}` of the archive"), e))?;
                entry.kind = Kind::Symlink { target };
                entry.meta.mode = 0o777;
                self.put(entry, 0)?;
                continue;
            }
            let mut spooling = self.builder.staging.spool.begin();
            spooling.copy(&mut member, &format!("`{text}` of the archive"))?;
            let content = spooling.finish();
            let source = self.builder.staging.content(content);
            entry.kind = self.builder.staging.file(source);
            self.put(entry, source)?;
        }
        Ok(())
    }

    /// Checks that all members were found.
    fn finish(self) -> Result<(), LayerError> {
        if let Some(missing) = (0..self.members.len()).find(|at| !self.found.contains(at)) {
            return Err(LayerError::NoMember { member: self.spec.members[missing].clone() });
        }
        Ok(())
    }
}

/// A DOS date and time, taken as UTC, in seconds since the epoch.
fn dos_seconds(time: zip::DateTime) -> i64 {
    // Days from civil: years begin in March, so that the leap day is the last.
    let (month, day) = (i64::from(time.month()).max(1), i64::from(time.day()).max(1));
    let year = i64::from(time.year()) - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    days * 86_400 + seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_count_from_1980() {
        let first = zip::DateTime::from_date_and_time(1980, 1, 1, 0, 0, 0).unwrap();
        assert_eq!(dos_seconds(first), NORMALISED_MTIME);
        let leap = zip::DateTime::from_date_and_time(2024, 2, 29, 12, 30, 58).unwrap();
        assert_eq!(dos_seconds(leap), 1_709_209_858);
    }
}
