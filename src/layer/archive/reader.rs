//! Reads a tar stream member by member.

use std::io::{self, BufRead};
use std::ops::Range;

use super::BLOCK;
use super::header::{checksums, field, number, text};
use super::pax::{Pax, set};
use crate::layer::LayerError;
use crate::layer::entry::{Meta, Placing};

/// The largest PAX header or long name that is read into memory.
const EXTENSION_LIMIT: u64 = 16 << 20;

/// What a member is; content follows for files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// A member's header, names as written.
#[derive(Debug)]
pub(crate) struct Member {
    pub name: Vec<u8>,
    pub kind: MemberKind,
    pub link: Vec<u8>,
    pub meta: Meta,
    pub mtime: i64,
    /// Bytes of content; 0 for all but files.
    pub size: u64,
    /// Where the content begins in the archive.
    pub offset: u64,
    pub placing: Placing,
}

/// A tar stream.
pub(crate) struct TarReader<R> {
    input: R,
    position: u64,
    /// Content and padding of the current member that are not yet read.
    content: u64,
    padding: u64,
    global: Pax,
    ended: bool,
}

impl<R: BufRead> TarReader<R> {
    pub fn new(input: R) -> Self {
        Self { input, position: 0, content: 0, padding: 0, global: Pax::default(), ended: false }
    }

    /// The next member, after what is left of the current one; `None` at the end of the archive.
    pub fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        let mut local = Pax::default();
        let mut long = Long::default();
        loop {
            self.skip(self.content + self.padding)?;
            self.expect(0);
            let mut block = [0u8; BLOCK];
            if self.ended || !self.fill_block(&mut block)? || block.iter().all(|b| *b == 0) {
                self.ended = true;
                return Ok(None);
            }
            let header = Header::parse(&block)?;
            match header.flag {
                b'x' | b'g' => {
                    self.expect(header.size);
                    let data = self.small_content(&header.name)?;
                    let pax = if header.flag == b'x' { &mut local } else { &mut self.global };
                    let malformed = || LayerError::archive(&header.name, "malformed PAX header");
                    pax.read(&data).ok_or_else(malformed)?;
                }
                b'L' | b'K' => {
                    self.expect(header.size);
                    let mut data = self.small_content(&header.name)?;
                    data.truncate(text(&data).len());
                    *(if header.flag == b'L' { &mut long.name } else { &mut long.link }) = Some(data);
                }
                // GNU volume labels, continued volumes and lists of names.
                b'V' | b'M' | b'N' => self.expect(header.size),
                _ => {
                    let member = header.member(local, long, &self.global, self.position)?;
                    self.expect(member.size);
                    return Ok(Some(member));
                }
            }
        }
    }

    /// Notes that `size` bytes of content follow.
    fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Hands the content of the current member to `sink`, piece by piece.
    pub fn content(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        while self.content > 0 {
            let ready = self.input.fill_buf().map_err(read_error)?;
            if ready.is_empty() {
                return Err(read_error(io::ErrorKind::UnexpectedEof.into()));
            }
            let take = ready.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
            sink(&ready[..take])?;
            self.input.consume(take);
            self.content -= take as u64;
            self.position += take as u64;
        }
        Ok(())
    }

    /// The content of the current member, which must be small.
    pub fn small_content(&mut self, name: &[u8]) -> Result<Vec<u8>, LayerError> {
        if self.content > EXTENSION_LIMIT {
            return Err(LayerError::archive(name, "larger than 16 MiB"));
        }
        let mut data = Vec::new();
        self.content(|piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(data)
    }

    /// Reads what stands behind the archive and returns the stream.
    pub fn drain(mut self) -> Result<R, LayerError> {
        loop {
            let ready = self.input.fill_buf().map_err(read_error)?.len();
            if ready == 0 {
                return Ok(self.input);
            }
            self.input.consume(ready);
        }
    }

    fn skip(&mut self, mut amount: u64) -> Result<(), LayerError> {
        self.position += amount;
        while amount > 0 {
            let ready = self.input.fill_buf().map_err(read_error)?.len();
            if ready == 0 {
                return Err(read_error(io::ErrorKind::UnexpectedEof.into()));
            }
            let take = ready.min(usize::try_from(amount).unwrap_or(usize::MAX));
            self.input.consume(take);
            amount -= take as u64;
        }
        Ok(())
    }

    /// False at the end of the stream.
    fn fill_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, LayerError> {
        if self.input.fill_buf().map_err(read_error)?.is_empty() {
            return Ok(false);
        }
        self.input.read_exact(block).map_err(read_error)?;
        self.position += BLOCK as u64;
        Ok(true)
    }
}

/// GNU long names.
#[derive(Debug, Default)]
struct Long {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// A header block whose checksum is right.
struct Header<'b> {
    block: &'b [u8; BLOCK],
    name: Vec<u8>,
    flag: u8,
    size: u64,
}

impl<'b> Header<'b> {
    fn parse(block: &'b [u8; BLOCK]) -> Result<Self, LayerError> {
        let name = header_name(block);
        let (unsigned, signed) = checksums(block);
        let sum = number(&block[field::CHECKSUM]);
        if sum != Some(unsigned) && sum != Some(signed) {
            return Err(LayerError::archive(&name, "wrong header checksum; this is no tar archive"));
        }
        let mut header = Self { block, name, flag: block[field::TYPE], size: 0 };
        let size = header.number(field::SIZE, "size")?;
        header.size = u64::try_from(size).map_err(|_| LayerError::archive(&header.name, "negative size"))?;
        Ok(header)
    }

    fn number(&self, range: Range<usize>, what: &str) -> Result<i64, LayerError> {
        number(&self.block[range]).ok_or_else(|| LayerError::archive(&self.name, format!("bad {what}")))
    }

    fn id(&self, range: Range<usize>, pax: Option<u64>, what: &str) -> Result<u64, LayerError> {
        match pax {
            Some(id) => Ok(id),
            // Ids above 2^31 were once written as negative 32-bit numbers.
            None => {
                Ok(self.number(range, what).map(|id| if id < 0 { id as u32 as u64 } else { id as u64 })?)
            }
        }
    }

    fn device(&self) -> Result<(u32, u32), LayerError> {
        let part = |range| {
            let value = self.number(range, "device number")?;
            u32::try_from(value).map_err(|_| LayerError::archive(&self.name, "bad device number"))
        };
        Ok((part(field::DEV_MAJOR)?, part(field::DEV_MINOR)?))
    }

    fn kind(&self, name: &[u8]) -> Result<MemberKind, LayerError> {
        Ok(match self.flag {
            // Before ustar there was no type for directories.
            b'0' | 0 | b'7' if name.ends_with(b"/") => MemberKind::Directory,
            b'0' | 0 | b'7' => MemberKind::File,
            b'1' => MemberKind::HardLink,
            b'2' => MemberKind::Symlink,
            b'3' | b'4' => match (self.device()?, self.flag) {
                ((major, minor), b'3') => MemberKind::CharDevice { major, minor },
                ((major, minor), _) => MemberKind::BlockDevice { major, minor },
            },
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            b'S' => return Err(LayerError::archive(name, "sparse files are not supported")),
            other => {
                let reason = format!("type `{}` is not supported", char::from(other).escape_default());
                return Err(LayerError::archive(name, reason));
            }
        })
    }

    /// The member that this header and those before it describe; its content begins at `offset`.
    fn member(self, local: Pax, long: Long, global: &Pax, offset: u64) -> Result<Member, LayerError> {
        let name = local.path.or(long.name).or_else(|| global.path.clone());
        let name = name.unwrap_or_else(|| self.name.clone());
        if local.sparse || global.sparse {
            return Err(LayerError::archive(&name, "sparse files are not supported"));
        }
        let kind = self.kind(&name)?;
        let link = local.link.or(long.link).or_else(|| global.link.clone());
        let link = link.unwrap_or_else(|| text(&self.block[field::LINK]).to_vec());
        // As Go's archive/tar: all but files have no content, whatever their size says.
        let size = local.size.or(global.size).unwrap_or(self.size);
        let size = if kind == MemberKind::File { size } else { 0 };
        let mode = self.number(field::MODE, "mode")? as u32 & 0o7777;
        let mut xattrs = global.xattrs.clone();
        local.xattrs.into_iter().for_each(|xattr| set(&mut xattrs, xattr));
        xattrs.sort();
        let meta = Meta {
            mode: if kind == MemberKind::Symlink { 0o777 } else { mode },
            uid: self.id(field::UID, local.uid.or(global.uid), "user id")?,
            gid: self.id(field::GID, local.gid.or(global.gid), "group id")?,
            xattrs,
        };
        let mtime = match local.mtime.or(global.mtime) {
            Some(mtime) => mtime,
            None => self.number(field::MTIME, "time")?,
        };
        let placing = Placing::of_comment(local.comment.as_deref());
        Ok(Member { name, kind, link, meta, mtime, size, offset, placing })
    }
}

fn header_name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[field::NAME]);
    // GNU headers (magic "ustar  ") keep other things where POSIX has the prefix.
    let posix = block[field::MAGIC].starts_with(b"ustar\0");
    let prefix = if posix { text(&block[field::PREFIX]) } else { b"" };
    match prefix {
        b"" => name.to_vec(),
        prefix => [prefix, b"/", name].concat(),
    }
}

fn read_error(source: io::Error) -> LayerError {
    LayerError::io("read the archive", source)
}
