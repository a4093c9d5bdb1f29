//! Permission bits and owners.

use super::{Fault, fault};
use crate::manifest::{Chmod, ChmodClause, Owner};

/// An octal mode.
pub(in crate::manifest) fn octal(text: &str) -> Result<Chmod, Fault> {
    let symbolic = text.contains(['+', '-', '=']);
    octal_bits(text).map(Chmod::Octal).ok_or_else(|| {
        fault(
            "malformed-mode",
            format!("`{text}` is not an octal mode"),
            if symbolic {
                "there is no earlier mode to change here: write all bits, e.g. `0755`"
            } else {
                "write three or four octal digits, e.g. `0755`"
            },
        )
    })
}

fn octal_bits(text: &str) -> Option<u32> {
    let well_formed = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    well_formed.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// An octal or symbolic mode.
pub(in crate::manifest) fn chmod(text: &str) -> Result<Chmod, Fault> {
    let parsed = match octal_bits(text) {
        Some(bits) => Some(Chmod::Octal(bits)),
        None => symbolic(text).map(Chmod::Symbolic),
    };
    parsed.ok_or_else(|| {
        fault(
            "malformed-mode",
            format!("`{text}` is not a mode"),
            "write octal digits (`0755`), or clauses of u, g, o, a, then +, - or =, then r, w, x, X (`u+x,go+rX`)",
        )
    })
}

fn symbolic(text: &str) -> Option<Vec<ChmodClause>> {
    let mut clauses = Vec::new();
    for clause in text.split(',') {
        let start = clause.find(['+', '-', '='])?;
        let mut who = 0;
        for c in clause[..start].chars() {
            who |= match c {
                'u' => 4,
                'g' => 2,
                'o' => 1,
                'a' => 7,
                _ => return None,
            };
        }
        if who == 0 {
            who = 7;
        }
        let mut rest = &clause[start..];
        while let Some(op) = rest.chars().next() {
            rest = &rest[1..];
            let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let (mut bits, mut execute_if_any) = (0, false);
            for c in rest[..end].chars() {
                match c {
                    'r' => bits |= 4,
                    'w' => bits |= 2,
                    'x' => bits |= 1,
                    'X' => execute_if_any = true,
                    _ => return None,
                }
            }
            if end == 0 && op != '=' {
                return None;
            }
            clauses.push(ChmodClause { who, op, bits, execute_if_any });
            rest = &rest[end..];
        }
    }
    Some(clauses)
}

/// `UID:GID`, or `UID` for both, as in `COPY --chown`.
pub(in crate::manifest) fn owner(text: &str) -> Result<Owner, Fault> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    // Ids are 32 bits wide in Linux; the highest means "unchanged" to chown(2).
    let id = |t: &str| t.parse::<u32>().ok().filter(|n| *n != u32::MAX && !t.starts_with('+')).map(u64::from);
    match (id(uid), id(gid)) {
        (Some(uid), Some(gid)) => Ok(Owner { uid, gid }),
        _ => Err(fault(
            "malformed-owner",
            format!("`{text}` is not a numeric owner"),
            "write `UID` or `UID:GID`, e.g. `1001:0`; names are not looked up, as a layer knows no base's /etc/passwd",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_symbolic() {
        assert_eq!(chmod("0755"), Ok(Chmod::Octal(0o755)));
        assert_eq!(octal("755"), Ok(Chmod::Octal(0o755)));
        assert_eq!(chmod("u+x,go+rx").map(|m| m.apply(0o600, false)), Ok(0o755));
        assert_eq!(chmod("a=r,u+w-r").map(|m| m.apply(0o777, false)), Ok(0o244));
        assert_eq!(chmod("+X").map(|m| m.apply(0o600, true)), Ok(0o711));
        assert_eq!(chmod("o=").map(|m| m.apply(0o777, false)), Ok(0o770));
        assert_eq!(chmod("u+x,go=rX").map(|m| m.apply(0o600, false)), Ok(0o744));
        assert_eq!(chmod("u=rw").map(|m| m.apply(0o7777, false)), Ok(0o3677));
        assert_eq!(chmod("go=r").map(|m| m.apply(0o7777, false)), Ok(0o5744));
        for bad in ["", "7", "0888", "u", "u+", "x+u", "u+s", "u+x,", "07777777", "u+é"] {
            assert!(chmod(bad).is_err(), "{bad}");
        }
        assert!(octal("u+x").is_err());
    }

    #[test]
    fn owners_are_numeric() {
        assert_eq!(owner("1001:0"), Ok(Owner { uid: 1001, gid: 0 }));
        assert_eq!(owner("1001"), Ok(Owner { uid: 1001, gid: 1001 }));
        for bad in ["", "root", "1001:", ":0", "1:2:3", "-1", "+1", "4294967295"] {
            assert!(owner(bad).is_err(), "{bad}");
        }
    }
}
