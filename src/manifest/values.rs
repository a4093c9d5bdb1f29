//! Small texts of the manifest -> values: sizes, durations, modes, owners, names, paths, URLs.
//!
//! Pure functions from a text to a value or a [`Fault`]; they know no places.

use std::time::Duration;

use crate::oci::{Platform, Reference, RepositoryName};

use super::{Chmod, ChmodClause, Owner};

/// Why a text is malformed, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The diagnostic's code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

fn fault(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { code, message: message.into(), help: help.into() }
}

/// Whether a template can name it: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether it is a name of a layer, tool, image or check: letters, digits, `_`, `-` and `.`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// An amount of memory in bytes: `512MiB`, `4Gi` (binary), `4G`, `4GB` (decimal).
pub(super) fn size(text: &str) -> Result<u64, Fault> {
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
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
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

/// An octal mode.
pub(super) fn octal(text: &str) -> Result<Chmod, Fault> {
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
pub(super) fn chmod(text: &str) -> Result<Chmod, Fault> {
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
pub(super) fn owner(text: &str) -> Result<Owner, Fault> {
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

/// A platform, `os/architecture`.
pub(super) fn platform(text: &str) -> Result<Platform, Fault> {
    text.parse().map_err(|error| {
        fault("malformed-platform", format!("{error}"), "write e.g. `linux/amd64` or `linux/arm64`")
    })
}

/// The host of a registry as references name it.
pub(super) fn host(text: &str) -> Result<(), Fault> {
    let same = format!("{text}/x").parse::<RepositoryName>().is_ok_and(|r| r.registry == text);
    if same {
        return Ok(());
    }
    let help = if text.ends_with("docker.io") {
        "write `docker.io`"
    } else {
        "write `host` or `host:port` as references do, e.g. `docker.io` or `localhost:5000`"
    };
    Err(fault("malformed-host", format!("`{text}` is not the host of a registry"), help))
}

/// A name that templates use: an axis, a variable, an attribute.
pub(super) fn identifier(what: &str, text: &str) -> Result<(), Fault> {
    if is_identifier(text) {
        return Ok(());
    }
    let mut suggestion: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !suggestion.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        suggestion.insert(0, '_');
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not a name that templates can use for {what}"),
        format!("use letters, digits and `_`, e.g. `{suggestion}`"),
    ))
}

/// A name of a layer, tool, image or check.
pub(super) fn name(what: &str, text: &str) -> Result<(), Fault> {
    if is_name(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not a name for {what}"),
        "use letters, digits, `_`, `-` and `.`, starting with a letter or digit",
    ))
}

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Result<(), Fault> {
    if is_identifier(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not the name of an environment variable"),
        "use letters, digits and `_`, starting with no digit",
    ))
}

/// The name of a label.
pub(super) fn label(text: &str) -> Result<(), Fault> {
    if !text.is_empty() && !text.contains(char::is_whitespace) && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{}` is not the name of a label", text.escape_debug()),
        "write a name without spaces, e.g. `org.opencontainers.image.title`",
    ))
}

/// The name of a secret's file.
pub(super) fn secret_file(text: &str) -> Result<(), Fault> {
    if is_name(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not the name of a secret"),
        "it becomes a file under /run/secrets: use letters, digits, `_`, `-` and `.`",
    ))
}

/// The text before the first `{{`, `{%` or `{#`, and whether that is all of it.
pub(super) fn literal_part(text: &str) -> (&str, bool) {
    let first = ["{{", "{%", "{#"].iter().filter_map(|mark| text.find(mark)).min();
    first.map_or((text, true), |at| (&text[..at], false))
}

/// Any text.
pub(super) fn anything(_: &str) -> Result<(), Fault> {
    Ok(())
}

/// An absolute path without `..`.
pub(super) fn path(text: &str) -> Result<(), Fault> {
    let (literal, whole) = literal_part(text);
    if (whole || !literal.is_empty()) && !literal.starts_with('/') {
        let help = format!("start it with `/`, e.g. `/{}`", text.trim_start_matches("./"));
        return Err(fault("relative-path", format!("`{text}` is not an absolute path"), help));
    }
    if text.contains('\0') {
        return Err(fault("malformed-path", "a path holds a NUL character", "remove it"));
    }
    if whole && text.split('/').any(|part| part == "..") {
        return Err(fault(
            "malformed-path",
            format!("`{text}` leaves its directory by `..`"),
            "write the path that is meant",
        ));
    }
    Ok(())
}

/// A path inside an archive.
pub(super) fn member(text: &str) -> Result<(), Fault> {
    let (literal, whole) = literal_part(text);
    if literal.starts_with('/') || whole && (text.is_empty() || text.split('/').any(|part| part == "..")) {
        return Err(fault(
            "malformed-path",
            format!("`{text}` is not a path inside an archive"),
            "write it as the archive lists it, relative and without `..`",
        ));
    }
    Ok(())
}

/// An http or https URL.
pub(super) fn url(text: &str) -> Result<(), Fault> {
    let (literal, whole) = literal_part(text);
    let http = literal.starts_with("http://") || literal.starts_with("https://");
    let well_formed = match (whole, literal.contains(':')) {
        (true, _) => http && url::Url::parse(text).is_ok_and(|u| u.has_host()),
        (false, true) => http,
        (false, false) => "https://".starts_with(literal),
    };
    if well_formed {
        return Ok(());
    }
    Err(fault(
        "malformed-url",
        format!("`{text}` is not an http or https URL"),
        "write e.g. `https://host/path`",
    ))
}

/// sha256 digits, bare or after `sha256:`.
pub(super) fn sha256(text: &str) -> Result<(), Fault> {
    let (_, whole) = literal_part(text);
    if !whole || super::parse_sha256(text).is_ok() {
        return Ok(());
    }
    let upper = super::parse_sha256(&text.to_ascii_lowercase()).is_ok();
    let help = if upper {
        "write it in lower case"
    } else {
        "write 64 hexadecimal digits, as `sha256sum` prints them"
    };
    Err(fault("malformed-sha256", format!("`{text}` is not a sha256"), help))
}

/// A reference, `oci:DIR` or a template.
pub(super) fn reference(text: &str) -> Result<(), Fault> {
    let (_, whole) = literal_part(text);
    if let Some(dir) = text.strip_prefix("oci:") {
        if dir.is_empty() {
            return Err(fault(
                "malformed-reference",
                "`oci:` names no directory",
                "write `oci:DIR`, an image layout",
            ));
        }
        return Ok(());
    }
    if !whole {
        return Ok(());
    }
    match text.parse::<Reference>() {
        Ok(_) => Ok(()),
        Err(error) => Err(fault(
            "malformed-reference",
            error.to_string(),
            "write `registry/repository:tag` or `registry/repository@sha256:…`",
        )),
    }
}

/// A repository.
pub(super) fn repository(text: &str) -> Result<(), Fault> {
    if !literal_part(text).1 {
        return Ok(());
    }
    match text.parse::<RepositoryName>() {
        Ok(_) => Ok(()),
        Err(error) => Err(fault(
            "malformed-repository",
            error.to_string(),
            "write `registry/path` without tag, e.g. `localhost:5000/acme`",
        )),
    }
}

/// The front part of repositories: a registry, or a registry and a path.
pub(super) fn repository_prefix(text: &str) -> Result<(), Fault> {
    if !literal_part(text).1 || format!("{text}/x").parse::<RepositoryName>().is_ok() {
        return Ok(());
    }
    Err(fault(
        "malformed-repository",
        format!("`{text}` is not a registry and path that repositories can start with"),
        "write e.g. `localhost:5000/acme`, without tag and without `/` at its end",
    ))
}

/// The last part of a repository.
pub(super) fn repository_name(text: &str) -> Result<(), Fault> {
    if !literal_part(text).1 || format!("localhost/{text}").parse::<RepositoryName>().is_ok() {
        return Ok(());
    }
    Err(fault(
        "malformed-repository",
        format!("`{text}` cannot be the last part of a repository"),
        "use lower-case letters and digits, separated by `/`, `.`, `_` or `-`",
    ))
}

/// A tag.
pub(super) fn tag(text: &str) -> Result<(), Fault> {
    let valid =
        |t: &str| format!("localhost/x:{t}").parse::<Reference>().is_ok_and(|r| r.tag.as_deref() == Some(t));
    if !literal_part(text).1 || valid(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-tag",
        format!("`{text}` is not a tag"),
        "use up to 128 letters, digits, `_`, `.` and `-`, starting with no `.` or `-`",
    ))
}

/// A version, as it becomes part of URLs and paths.
pub(super) fn version(text: &str) -> Result<(), Fault> {
    let valid = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'~'));
    if !literal_part(text).1 || valid {
        return Ok(());
    }
    Err(fault(
        "malformed-version",
        format!("`{text}` is not a version"),
        "use letters, digits, `.`, `_`, `+`, `-` and `~`, e.g. `v1.24.3`",
    ))
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

    #[test]
    fn modes_are_octal_or_symbolic() {
        assert_eq!(chmod("0755"), Ok(Chmod::Octal(0o755)));
        assert_eq!(octal("755"), Ok(Chmod::Octal(0o755)));
        assert_eq!(chmod("u+x,go+rx").map(|m| m.apply(0o600, false)), Ok(0o755));
        assert_eq!(chmod("a=r,u+w-r").map(|m| m.apply(0o777, false)), Ok(0o244));
        assert_eq!(chmod("+X").map(|m| m.apply(0o600, true)), Ok(0o711));
        assert_eq!(chmod("o=").map(|m| m.apply(0o777, false)), Ok(0o770));
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

    #[test]
    fn literal_parts_are_judged_and_templates_are_not() {
        for good in ["/a", "{{ x }}/a", "/a/{{ x }}", "/"] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "a/{{ x }}", "/a/../b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
        for good in ["https://h/p", "http://h:1/p", "{{ u }}", "https://{{ h }}/p", "http{{ s }}://x"] {
            assert_eq!(url(good), Ok(()), "{good}");
        }
        for bad in ["", "ftp://h/p", "h/p", "https://", "ftp://{{ h }}", "h/{{ p }}"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert!(tag("a:b").is_err() && tag("").is_err() && tag("{{ x }}").is_ok());
        assert!(host("localhost:5000").is_ok() && host("docker.io").is_ok());
        assert!(host("acme").is_err() && host("https://x.y").is_err() && host("index.docker.io").is_err());
    }
}
