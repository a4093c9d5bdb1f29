//! Paths, URLs and checksums.

use super::{Fault, fault, literal_part};
use crate::manifest::{NO_USER, parse_sha256, without_user};

/// An absolute path without `..`.
pub(in crate::manifest) fn path(text: &str) -> Result<(), Fault> {
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
pub(in crate::manifest) fn member(text: &str) -> Result<(), Fault> {
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
pub(in crate::manifest) fn url(text: &str) -> Result<(), Fault> {
    let (literal, whole) = literal_part(text);
    let http = literal.starts_with("http://") || literal.starts_with("https://");
    let well_formed = match (whole, literal.contains(':')) {
        (true, _) => http && url::Url::parse(text).is_ok_and(|u| u.has_host()),
        (false, true) => http,
        (false, false) => "https://".starts_with(literal),
    };
    if let Some(address) = without_user(text).filter(|_| whole) {
        let what = format!("the URL of `{address}` holds credentials");
        return Err(fault("credentials-in-url", what, NO_USER));
    }
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
pub(in crate::manifest) fn sha256(text: &str) -> Result<(), Fault> {
    let (_, whole) = literal_part(text);
    if !whole || parse_sha256(text).is_ok() {
        return Ok(());
    }
    let upper = parse_sha256(&text.to_ascii_lowercase()).is_ok();
    let help = if upper {
        "write it in lower case"
    } else {
        "write 64 hexadecimal digits, as `sha256sum` prints them"
    };
    Err(fault("malformed-sha256", format!("`{text}` is not a sha256"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
