//! References, and the parts of them.

use super::{Fault, fault, literal_part};
use crate::oci::{Platform, Reference, RepositoryName};

/// A platform, `os/architecture`.
pub(in crate::manifest) fn platform(text: &str) -> Result<Platform, Fault> {
    text.parse().map_err(|error| {
        fault("malformed-platform", format!("{error}"), "write e.g. `linux/amd64` or `linux/arm64`")
    })
}

/// A reference, `oci:DIR` or a template.
pub(in crate::manifest) fn reference(text: &str) -> Result<(), Fault> {
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

/// A reference in a registry, for copying.
pub(in crate::manifest) fn mirrored(text: &str) -> Result<(), Fault> {
    if text.starts_with("oci:") {
        return Err(fault(
            "malformed-reference",
            format!("`{text}` is no image in a registry"),
            "write `repository:tag`; images are copied from registry to registry",
        ));
    }
    reference(text)
}

/// A repository.
pub(in crate::manifest) fn repository(text: &str) -> Result<(), Fault> {
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
pub(in crate::manifest) fn repository_prefix(text: &str) -> Result<(), Fault> {
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
pub(in crate::manifest) fn repository_name(text: &str) -> Result<(), Fault> {
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
pub(in crate::manifest) fn tag(text: &str) -> Result<(), Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert!(tag("a:b").is_err() && tag("").is_err() && tag("{{ x }}").is_ok());
    }
}
