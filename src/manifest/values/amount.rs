//! Amounts of memory and time.

use std::time::Duration;

use super::{Fault, fault};

/// An amount of memory in bytes: `512MiB`, `4Gi` (binary), `4G`, `4GB` (decimal).
pub(in crate::manifest) fn size(text: &str) -> Result<u64, Fault> {
    let fail = || {
        fault(
            "malformed-size",
            format!("`{text}` is not a size"),
            "write a number and a unit: `512MiB`, `4GiB` (powers of 1024) or `512MB`, `4G` (powers of 1000)",
        )
    };
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start();
    let power = |base: f64, letter: char| {
        ['k', 'm', 'g', 't'].iter().position(|l| *l == letter).map(|p| base.powi(p as i32 + 1))
    };
    let prefix = unit.strip_suffix('B').unwrap_or(unit);
    let factor = match prefix.strip_suffix('i') {
        _ if prefix.is_empty() => 1.0,
        Some(letter) => one(letter).and_then(|l| power(1024.0, l.to_ascii_lowercase())).ok_or_else(fail)?,
        // `512m` is mega for one program and milli for the next.
        None if prefix == "m" => return Err(fail()),
        None => one(prefix).and_then(|l| power(1000.0, l.to_ascii_lowercase())).ok_or_else(fail)?,
    };
    let bytes = number.parse::<f64>().map_err(|_| fail())? * factor;
    if bytes < 1.0 || bytes > 2f64.powi(60) {
        return Err(fail());
    }
    Ok(bytes as u64)
}

fn one(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// A duration: `90s`, `30m`, `1h30m`, `500ms`, `1d`.
pub(in crate::manifest) fn duration(text: &str) -> Result<Duration, Fault> {
    let fail = || {
        fault(
            "malformed-duration",
            format!("`{text}` is not a duration"),
            "write whole numbers with units, largest first: `90s`, `30m`, `1h30m`",
        )
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
        let number: u64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit: u64 = match &rest[..letters] {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(fail()),
        };
        if unit >= last {
            return Err(fail());
        }
        last = unit;
        rest = &rest[letters..];
        let part = number.checked_mul(unit).map(Duration::from_millis).ok_or_else(fail)?;
        total = total.checked_add(part).ok_or_else(fail)?;
    }
    if total.is_zero() { Err(fail()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_decimal() {
        for (text, want) in [
            ("4GiB", 4 << 30),
            ("512MiB", 512 << 20),
            ("4Gi", 4 << 30),
            ("4G", 4_000_000_000),
            ("4GB", 4_000_000_000),
            ("500k", 500_000),
            ("1.5GiB", 3 << 29),
            ("100", 100),
            ("100 MB", 100_000_000),
        ] {
            assert_eq!(size(text), Ok(want), "{text}");
        }
        for bad in ["", "GiB", "4X", "512m", "-1G", "0", "1..2G", "4GiBB", "9999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_units_largest_first() {
        for (text, want) in [("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1d", 86_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(want)), "{text}");
        }
        assert_eq!(duration("1s500ms"), Ok(Duration::from_millis(1500)));
        for bad in
            ["", "30", "m", "30 m", "1m1h", "1m1m", "0s", "1w", "99999999999999999999s", "9999999999999999d"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
