//! Writes a canonical tar stream: PAX records only where ustar cannot say it.

use std::io::{self, Write};

use super::super::entry::{Entry, Kind};
use super::BLOCK;
use super::header::{USTAR, checksums, field, put_octal};

/// A tar stream being written.
///
/// Canonical form: names without `./`, directories with a trailing `/`; owners as numbers, names
/// empty; whole seconds; PAX records sorted by key; whiteouts as empty files of mode 0.
pub(crate) struct TarWriter<W> {
    out: W,
    position: u64,
}

impl<W: Write> TarWriter<W> {
    pub fn new(out: W) -> Self {
        Self { out, position: 0 }
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes an entry's headers. Content must follow for a file that is no link.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let mut block = [0u8; BLOCK];
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut record = |key: &[u8], value: &[u8]| records.push((key.to_vec(), value.to_vec()));

        let name = stored_name(entry);
        if !put_name(&mut block, &name) {
            record(b"path", &name);
            block[field::NAME].copy_from_slice(&name[..field::NAME.len()]);
        }
        put_octal(&mut block[field::MODE], u64::from(entry.meta.mode & 0o7777));
        for (range, key, id) in [(field::UID, "uid", entry.meta.uid), (field::GID, "gid", entry.meta.gid)] {
            if !put_octal(&mut block[range.clone()], id) {
                put_octal(&mut block[range], 0);
                record(key.as_bytes(), id.to_string().as_bytes());
            }
        }
        let time = u64::try_from(entry.mtime).ok();
        if !time.is_some_and(|time| put_octal(&mut block[field::MTIME], time)) {
            put_octal(&mut block[field::MTIME], 0);
            record(b"mtime", entry.mtime.to_string().as_bytes());
        }
        put_octal(&mut block[field::SIZE], 0);
        let mut put_link = |block: &mut [u8; BLOCK], target: &[u8]| {
            let fits = target.len().min(field::LINK.len());
            block[field::LINK][..fits].copy_from_slice(&target[..fits]);
            if fits < target.len() {
                record(b"linkpath", target);
            }
        };
        block[field::TYPE] = match &entry.kind {
            Kind::File { link: Some(target), .. } | Kind::HardLink { target } => {
                put_link(&mut block, target.as_bytes());
                b'1'
            }
            Kind::File { size, .. } => {
                if !put_octal(&mut block[field::SIZE], *size) {
                    put_octal(&mut block[field::SIZE], 0);
                    record(b"size", size.to_string().as_bytes());
                }
                b'0'
            }
            Kind::Symlink { target } => {
                put_link(&mut block, target);
                b'2'
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                put_octal(&mut block[field::DEV_MAJOR], u64::from(*major));
                put_octal(&mut block[field::DEV_MINOR], u64::from(*minor));
                if matches!(entry.kind, Kind::CharDevice { .. }) { b'3' } else { b'4' }
            }
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
            Kind::Whiteout | Kind::Opaque => b'0',
        };
        if let Some(comment) = entry.placing.comment() {
            record(b"comment", comment);
        }
        for xattr in &entry.meta.xattrs {
            record(&[b"SCHILY.xattr.", xattr.name.as_slice()].concat(), &xattr.value);
        }
        records.sort();
        self.pax(&records)?;
        self.block(block)
    }

    /// Writes the content of the file whose header was just written.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills up the last block of a file's content.
    pub fn pad(&mut self) -> io::Result<()> {
        let padding = (self.position.wrapping_neg() % BLOCK as u64) as usize;
        self.content(&[0; BLOCK][..padding])
    }

    /// Writes the two zero blocks that end an archive.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.content(&[0; 2 * BLOCK])?;
        Ok((self.out, self.position))
    }

    fn pax(&mut self, records: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(length.to_string().as_bytes());
            data.push(b' ');
            data.extend_from_slice(key);
            data.push(b'=');
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        let mut block = [0u8; BLOCK];
        block[..14].copy_from_slice(b"././@PaxHeader");
        put_octal(&mut block[field::MODE], 0o644);
        put_octal(&mut block[field::UID], 0);
        put_octal(&mut block[field::GID], 0);
        put_octal(&mut block[field::SIZE], data.len() as u64);
        put_octal(&mut block[field::MTIME], 0);
        block[field::TYPE] = b'x';
        self.block(block)?;
        self.content(&data)?;
        self.pad()
    }

    fn block(&mut self, mut block: [u8; BLOCK]) -> io::Result<()> {
        block[field::MAGIC].copy_from_slice(USTAR);
        let (sum, _) = checksums(&block);
        put_octal(&mut block[field::CHECKSUM][..7], sum.unsigned_abs());
        block[field::CHECKSUM.end - 1] = b' ';
        self.content(&block)
    }
}

/// The name in the archive: whiteouts have their prefix, directories end with `/`.
fn stored_name(entry: &Entry) -> Vec<u8> {
    let path = &entry.path;
    match &entry.kind {
        Kind::Directory if path.is_root() => b"./".to_vec(),
        Kind::Directory => [path.as_bytes(), b"/"].concat(),
        Kind::Opaque => path.join(b".wh..wh..opq").as_bytes().to_vec(),
        Kind::Whiteout => {
            let name = [b".wh.", path.file_name()].concat();
            path.parent().unwrap_or_default().join(&name).as_bytes().to_vec()
        }
        _ => path.as_bytes().to_vec(),
    }
}

/// Puts a name into the name and prefix fields; false when it does not fit.
fn put_name(block: &mut [u8; BLOCK], name: &[u8]) -> bool {
    if name.len() <= field::NAME.len() {
        block[..name.len()].copy_from_slice(name);
        return true;
    }
    let room = field::PREFIX.len();
    let slash = name[..name.len() - 1].iter().take(room + 1).rposition(|b| *b == b'/');
    match slash {
        Some(at) if at > 0 && name.len() - at - 1 <= field::NAME.len() => {
            block[field::NAME][..name.len() - at - 1].copy_from_slice(&name[at + 1..]);
            block[field::PREFIX][..at].copy_from_slice(&name[..at]);
            true
        }
        _ => false,
    }
}
