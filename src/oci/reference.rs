//! Image references: `registry/repository:tag@digest`, in Docker's normalised form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Digest;

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct ReferenceError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A registry and a repository in it, without tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName {
    /// Host and optional port, e.g. `localhost:5000`, `docker.io`.
    pub registry: String,
    /// Path in the registry, e.g. `library/debian`.
    pub repository: String,
}

impl RepositoryName {
    /// This repository with a tag.
    pub fn tag(&self, tag: &str) -> Reference {
        Reference { name: self.clone(), tag: Some(tag.to_owned()), digest: None }
    }

    /// This repository with a digest.
    pub fn digest(&self, digest: Digest) -> Reference {
        Reference { name: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

impl FromStr for RepositoryName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference: Reference = text.parse()?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(ReferenceError {
                text: text.into(),
                reason: "a repository is wanted here, without tag or digest".into(),
            });
        }
        Ok(reference.name)
    }
}

impl Serialize for RepositoryName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepositoryName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A reference to an image; parsed as Docker does (`debian` is `docker.io/library/debian`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Registry and repository.
    pub name: RepositoryName,
    /// The part after `:`; with neither tag nor digest, `latest` is meant.
    pub tag: Option<String>,
    /// The part after `@`.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The tag or digest to ask a registry for: the digest where there is one, else the tag or `latest`.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".into(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let fail = |reason: &str| ReferenceError { text: text.to_owned(), reason: reason.to_owned() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| fail("after `@` stands `sha256:` and 64 lower-case hexadecimal digits"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(fail(
                "a tag has up to 128 letters, digits, `_`, `.` or `-` and starts with no `.` or `-`",
            ));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((host, repository))
                if host.contains(['.', ':']) || host == "localhost" || has_upper(host) =>
            {
                (host, repository.to_owned())
            }
            Some(_) => ("docker.io", path.to_owned()),
            None => ("docker.io", format!("library/{path}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        if !is_host(registry) {
            return Err(fail("the registry is not `host` or `host:port`"));
        }
        if path.is_empty() || !is_repository(&repository) {
            return Err(fail(
                "a repository has lower-case letters and digits, separated by `/`, `.`, `_` or `-`",
            ));
        }
        Ok(Self {
            name: RepositoryName { registry: registry.to_owned(), repository },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_ok = port.is_none_or(|p| p.parse::<u16>().is_ok());
    let name_ok = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    port_ok && name_ok
}

fn is_repository(path: &str) -> bool {
    path.len() <= 255
        && path.split('/').all(|part| {
            let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(edge)
                && part.ends_with(edge)
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
                && !part.contains("..")
                && !part.contains("___")
                && !part.contains("._")
                && !part.contains("_.")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised_as_docker_does() {
        let hex = "a".repeat(64);
        for (text, want) in [
            ("debian", "docker.io/library/debian"),
            ("harness/delegate:1", "docker.io/harness/delegate:1"),
            ("localhost/x", "localhost/x"),
            ("localhost:5000/acme/x:y", "localhost:5000/acme/x:y"),
            ("[::1]:5000/x", "[::1]:5000/x"),
            (
                "public.ecr.aws/sam/build-python3.12:1.0-x86_64",
                "public.ecr.aws/sam/build-python3.12:1.0-x86_64",
            ),
            (&format!("a.b/c:d@sha256:{hex}"), &format!("a.b/c:d@sha256:{hex}")),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), want);
        }
    }

    #[test]
    fn malformed_references_say_why() {
        for bad in ["", "UPPER", "a//b", "a:b:c/", "a:-x", "a@sha256:12", "host:99999/x", "a/b..c", "a b"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
