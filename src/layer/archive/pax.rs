//! PAX extended headers (POSIX.1-2001, pax Extended Header), by the length of each record.

use crate::layer::entry::Xattr;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Values of extended headers that matter here; the last one wins.
#[derive(Debug, Clone, Default)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<i64>,
    pub comment: Option<Vec<u8>>,
    pub xattrs: Vec<Xattr>,
    pub sparse: bool,
}

impl Pax {
    /// Adds the records `LENGTH KEY=VALUE\n`; `None` when they are malformed.
    pub fn read(&mut self, mut data: &[u8]) -> Option<()> {
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

/// Sets an attribute, in place of one of the same name.
pub(super) fn set(xattrs: &mut Vec<Xattr>, xattr: Xattr) {
    xattrs.retain(|old| old.name != xattr.name);
    xattrs.push(xattr);
}
