//! The 512-byte header: fields and numbers (POSIX.1-2001 ustar; GNU base-256).

use super::BLOCK;

/// Byte ranges of the fields of a ustar header.
pub(super) mod field {
    use std::ops::Range;

    pub const NAME: Range<usize> = 0..100;
    pub const MODE: Range<usize> = 100..108;
    pub const UID: Range<usize> = 108..116;
    pub const GID: Range<usize> = 116..124;
    pub const SIZE: Range<usize> = 124..136;
    pub const MTIME: Range<usize> = 136..148;
    pub const CHECKSUM: Range<usize> = 148..156;
    pub const TYPE: usize = 156;
    pub const LINK: Range<usize> = 157..257;
    pub const MAGIC: Range<usize> = 257..265;
    pub const DEV_MAJOR: Range<usize> = 329..337;
    pub const DEV_MINOR: Range<usize> = 337..345;
    pub const PREFIX: Range<usize> = 345..500;
}

/// Magic and version of POSIX headers.
pub(super) const USTAR: &[u8; 8] = b"ustar\x0000";

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or(field)
}

/// A number: octal digits, or base-256 when the first bit is set (two's complement).
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, byte) in field.iter().enumerate() {
            let byte = if i == 0 && !negative { byte & 0x7f } else { *byte };
            value = value.checked_mul(256)? | i128::from(byte);
        }
        return i64::try_from(value).ok();
    }
    let digits = field.split(|b| matches!(b, 0 | b' ')).find(|part| !part.is_empty()).unwrap_or(b"");
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Writes octal digits and a NUL; false when the number has too many digits.
pub(super) fn put_octal(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    if digits < 22 && value >> (3 * digits) != 0 {
        return false;
    }
    for (i, byte) in field[..digits].iter_mut().enumerate() {
        *byte = b'0' + ((value >> (3 * (digits - 1 - i))) & 7) as u8;
    }
    true
}

/// The sum of all bytes, the checksum counted as spaces; and the same with signed bytes, which
/// some old programs wrote.
pub(super) fn checksums(block: &[u8; BLOCK]) -> (i64, i64) {
    let mut unsigned = 8 * 32;
    let mut signed = 8 * 32;
    for byte in block[..field::CHECKSUM.start].iter().chain(&block[field::CHECKSUM.end..]) {
        unsigned += i64::from(*byte);
        signed += i64::from(*byte as i8);
    }
    (unsigned, signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000755\0"), Some(0o755));
        assert_eq!(number(b"   755 \0"), Some(0o755));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0"), Some(0x8000_0000));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"0009\0\0\0\0"), None);
        let mut field = [0u8; 8];
        assert!(put_octal(&mut field, 0o7_777_777));
        assert_eq!(&field, b"7777777\0");
        assert!(!put_octal(&mut field, 0o10_000_000));
    }
}
