//! Reads a tar stream member by member.

use std::io::{self, BufRead};

use super::BLOCK;
use super::header::{checksums, field, number, text};
use crate::layer::LayerError;
use crate::layer::entry::{Meta, Placing, Xattr};

/// The largest PAX header or long name that is read into memory.
const EXTENSION_LIMIT: u64 = 16 << 20;
const XATTR: &[u8] = b"SCHILY.xattr.";

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

/// Values of extended headers that matter here; the last one wins.
#[derive(Debug, Clone, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    comment: Option<Vec<u8>>,
    xattrs: Vec<Xattr>,
    sparse: bool,
}

impl<R: BufRead> TarReader<R> {
    pub fn new(input: R) -> Self {
        Self { input, position: 0, content: 0, padding: 0, global: Pax::default(), ended: false }
    }

    /// The next member, after what is left of the current one; `None` at the end of the archive.
    pub fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        let mut local = Pax::default();
        let mut long_name = None;
        let mut long_link = None;
        loop {
            self.skip(self.content + self.padding)?;
            self.content = 0;
            self.padding = 0;
            let mut block = [0u8; BLOCK];
            if self.ended || !self.fill_block(&mut block)? || block.iter().all(|b| *b == 0) {
                self.ended = true;
                return Ok(None);
            }
            let name = header_name(&block);
            let (unsigned, signed) = checksums(&block);
            let sum = number(&block[field::CHECKSUM]);
            if sum != Some(unsigned) && sum != Some(signed) {
                return Err(LayerError::archive(&name, "wrong header checksum; this is no tar archive"));
            }
            let value = |range: std::ops::Range<usize>, what: &str| {
                number(&block[range]).ok_or_else(|| LayerError::archive(&name, format!("bad {what}")))
            };
            let size = value(field::SIZE, "size")?;
            let size = u64::try_from(size).map_err(|_| LayerError::archive(&name, "negative size"))?;
            let flag = block[field::TYPE];
            match flag {
                b'x' | b'g' | b'L' | b'K' => {
                    let mut data = self.extension(&name, size)?;
                    match flag {
                        b'x' => local.read(&data).ok_or_else(|| bad_pax(&name))?,
                        b'g' => self.global.read(&data).ok_or_else(|| bad_pax(&name))?,
                        _ => {
                            data.truncate(text(&data).len());
                            *(if flag == b'L' { &mut long_name } else { &mut long_link }) = Some(data);
                        }
                    }
                    continue;
                }
                b'V' | b'M' | b'N' => {
                    self.content = size;
                    self.padding = padding(size);
                    continue;
                }
                _ => {}
            }
            let global = &self.global;
            if flag == b'S' || local.sparse || global.sparse {
                return Err(LayerError::archive(&name, "sparse files are not supported"));
            }
            let device = |range, what| {
                u32::try_from(value(range, what)?).map_err(|_| LayerError::archive(&name, "bad device"))
            };
            let name_of = |pax: &Option<Vec<u8>>, global: &Option<Vec<u8>>, long, header: &[u8]| {
                pax.clone().or(long).or_else(|| global.clone()).unwrap_or_else(|| header.to_vec())
            };
            let full = name_of(&local.path, &global.path, long_name.take(), &name);
            let kind = match flag {
                b'0' | 0 | b'7' if full.ends_with(b"/") => MemberKind::Directory,
                b'0' | 0 | b'7' => MemberKind::File,
                b'1' => MemberKind::HardLink,
                b'2' => MemberKind::Symlink,
                b'3' | b'4' => {
                    let major = device(field::DEV_MAJOR, "device number")?;
                    let minor = device(field::DEV_MINOR, "device number")?;
                    match flag {
                        b'3' => MemberKind::CharDevice { major, minor },
                        _ => MemberKind::BlockDevice { major, minor },
                    }
                }
                b'5' => MemberKind::Directory,
                b'6' => MemberKind::Fifo,
                other => {
                    let reason = format!("type `{}` is not supported", char::from(other));
                    return Err(LayerError::archive(&full, reason));
                }
            };
            let size = if kind == MemberKind::File { local.size.or(global.size).unwrap_or(size) } else { 0 };
            // As Go's archive/tar: all but files have no content, whatever their size says.
            self.content = size;
            self.padding = padding(size);
            let owner = |pax: Option<u64>, global: Option<u64>, range, what| match pax.or(global) {
                Some(id) => Ok(id),
                // Ids above 2^31 were once written as negative 32-bit numbers.
                None => value(range, what).map(|id| if id < 0 { id as u32 as u64 } else { id as u64 }),
            };
            let mode = if kind == MemberKind::Symlink { 0o777 } else { value(field::MODE, "mode")? as u32 };
            let mut xattrs = global.xattrs.clone();
            local.xattrs.drain(..).for_each(|xattr| set(&mut xattrs, xattr));
            xattrs.sort();
            let meta = Meta {
                mode: mode & 0o7777,
                uid: owner(local.uid, global.uid, field::UID, "user id")?,
                gid: owner(local.gid, global.gid, field::GID, "group id")?,
                xattrs,
            };
            let mtime = match local.mtime.or(global.mtime) {
                Some(mtime) => mtime,
                None => value(field::MTIME, "time")?,
            };
            let link = name_of(&local.link, &global.link, long_link.take(), text(&block[field::LINK]));
            let placing = Placing::of_comment(local.comment.as_deref());
            return Ok(Some(Member {
                name: full,
                kind,
                link,
                meta,
                mtime,
                size,
                offset: self.position,
                placing,
            }));
        }
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

    fn extension(&mut self, name: &[u8], size: u64) -> Result<Vec<u8>, LayerError> {
        self.content = size;
        self.padding = padding(size);
        self.small_content(name)
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

impl Pax {
    /// Adds the records `LENGTH KEY=VALUE\n`; `None` when they are malformed.
    fn read(&mut self, mut data: &[u8]) -> Option<()> {
        while !data.is_empty() && data[0] != 0 {
            let space = data.iter().position(|b| *b == b' ')?;
            let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
            let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
            data = &data[length..];
            let equals = record.iter().position(|b| *b == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                b"mtime" => self.mtime = Some(whole_seconds(value)?),
                b"comment" => self.comment = Some(value.to_vec()),
                _ => match key.strip_prefix(XATTR) {
                    Some(name) => {
                        set(&mut self.xattrs, Xattr { name: name.to_vec(), value: value.to_vec() });
                    }
                    None => self.sparse |= key.starts_with(b"GNU.sparse."),
                },
            }
        }
        Some(())
    }
}

/// The whole seconds of a decimal time, rounded down.
fn whole_seconds(value: &[u8]) -> Option<i64> {
    let value = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
    let below = seconds.starts_with('-') && fraction.bytes().any(|b| b != b'0');
    seconds.parse::<i64>().ok()?.checked_sub(i64::from(below))
}

fn set(xattrs: &mut Vec<Xattr>, xattr: Xattr) {
    xattrs.retain(|old| old.name != xattr.name);
    xattrs.push(xattr);
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

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn read_error(source: io::Error) -> LayerError {
    LayerError::io("read the archive", source)
}

fn bad_pax(name: &[u8]) -> LayerError {
    LayerError::archive(name, "malformed PAX header")
}
