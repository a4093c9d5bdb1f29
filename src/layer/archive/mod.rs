//! tar, read and written as a stream.
//!
//! Our own rather than the `tar` crate's, for three reasons: PAX values are read by their length,
//! because file capabilities are binary and may hold a newline; the offset of each content in the
//! archive is known, which is what an index needs; and the bytes written are ours to keep stable.
//! Formats: POSIX.1-2001 pax, ustar, GNU long names and base-256 numbers.

mod header;
mod pax;
mod reader;
mod writer;

pub(crate) use reader::{Member, MemberKind, TarReader};
pub(crate) use writer::TarWriter;

/// Bytes of a block.
const BLOCK: usize = 512;
