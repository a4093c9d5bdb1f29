//! What goes where.

use std::collections::BTreeMap;

use crate::oci::{Digest, Reference, ReferenceError};

/// An image to mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorImage {
    /// The mirror of the manifest that lists it, if one does.
    pub mirror: Option<String>,
    /// Its name as it was listed, e.g. `harness/ci-addon:1.14.4`.
    pub listed: String,
    /// Where it comes from.
    pub source: Reference,
    /// Where it goes: its name unchanged behind the target's prefix.
    pub target: Reference,
    /// Digest that the source's tag is pinned to.
    pub pinned: Option<Digest>,
    /// Whether signatures and other referrers go with it.
    pub referrers: bool,
}

impl MirrorImage {
    /// An image by its name: one that names no registry comes from `from` (`docker.io` unless
    /// given), and all go behind the prefix `to`, with repository and tag as they are written.
    ///
    /// # Errors
    /// When the name is no reference, or source or target would be none.
    pub fn new(listed: &str, from: Option<&str>, to: &str) -> Result<Self, ReferenceError> {
        let docker = ["docker.io/", "index.docker.io/"].iter().find_map(|host| listed.strip_prefix(host));
        let text = docker.unwrap_or(listed);
        let named: Reference = text.parse()?;
        let names_host = named.name.registry != "docker.io";
        let source = match from.filter(|from| *from != "docker.io") {
            Some(from) if docker.is_none() && !names_host => format!("{from}/{text}").parse()?,
            _ => named.clone(),
        };
        let bare = text.split_once('@').map_or(text, |(bare, _)| bare);
        let bare = named.tag.as_ref().map_or(bare, |tag| &bare[..bare.len() - tag.len() - 1]);
        let path = match bare.split_once('/').filter(|_| names_host) {
            Some((_, path)) => path,
            None => bare,
        };
        let mut target: Reference = format!("{to}/{path}").parse()?;
        match (&named.tag, named.digest) {
            (None, Some(digest)) => target.digest = Some(digest),
            (tag, _) => target.tag = Some(tag.clone().unwrap_or_else(|| "latest".into())),
        }
        let listed = listed.to_owned();
        Ok(Self { mirror: None, listed, source, target, pinned: None, referrers: false })
    }

    /// The digest that is wanted whatever the source's tag says.
    pub fn digest(&self) -> Option<Digest> {
        self.source.digest.or(self.pinned)
    }

    /// Repository as it was listed, without registry, tag and digest.
    pub fn repository(&self) -> &str {
        let bare = self.listed.split_once('@').map_or(self.listed.as_str(), |(bare, _)| bare);
        let bare = match bare.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => path,
            _ => bare,
        };
        match bare.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
            _ => bare,
        }
    }
}

/// Pairs of images that would go to one place from different ones, for people; what is listed twice
/// is taken out.
pub fn clashes(images: &mut Vec<MirrorImage>) -> Vec<String> {
    let mut first: BTreeMap<Reference, Reference> = BTreeMap::new();
    let mut found = Vec::new();
    images.retain(|image| match first.get(&image.target) {
        None => {
            first.insert(image.target.clone(), image.source.clone());
            true
        }
        Some(other) => {
            if *other != image.source {
                found.push(format!("`{other}` and `{}` both go to `{}`", image.source, image.target));
            }
            false
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(listed: &str, from: Option<&str>) -> (String, String) {
        let image = MirrorImage::new(listed, from, "r.example/acme").unwrap();
        (image.source.to_string(), image.target.to_string())
    }

    #[test]
    fn names_stay_as_they_are_written() {
        let hex = "a".repeat(64);
        for (listed, from, source, target) in [
            ("harness/ci-addon:1.14.4", None, "docker.io/harness/ci-addon:1.14.4", "harness/ci-addon:1.14.4"),
            (
                "harness/ci-addon:1",
                Some("127.0.0.1:5000/up"),
                "127.0.0.1:5000/up/harness/ci-addon:1",
                "harness/ci-addon:1",
            ),
            ("quay.io/a/b:1", Some("127.0.0.1:5000/up"), "quay.io/a/b:1", "a/b:1"),
            ("docker.io/debian:12", Some("x.y"), "docker.io/library/debian:12", "debian:12"),
            ("debian", None, "docker.io/library/debian", "debian:latest"),
            ("debian:12", Some("docker.io"), "docker.io/library/debian:12", "debian:12"),
        ] {
            assert_eq!(
                pair(listed, from),
                (source.to_owned(), format!("r.example/acme/{target}")),
                "{listed}"
            );
        }
        let (source, target) = pair(&format!("a/b@sha256:{hex}"), None);
        assert_eq!(
            (source, target),
            (format!("docker.io/a/b@sha256:{hex}"), format!("r.example/acme/a/b@sha256:{hex}"))
        );
        let (_, target) = pair(&format!("a/b:1@sha256:{hex}"), None);
        assert_eq!(target, "r.example/acme/a/b:1");
        assert!(MirrorImage::new("A B", None, "r.example").is_err());
    }

    #[test]
    fn one_target_has_one_source() {
        let image = |listed| MirrorImage::new(listed, None, "r.example").unwrap();
        let mut images =
            vec![image("a/b:1"), image("docker.io/a/b:1"), image("quay.io/a/b:1"), image("a/b:2")];
        assert_eq!(
            clashes(&mut images),
            ["`docker.io/a/b:1` and `quay.io/a/b:1` both go to `r.example/a/b:1`"]
        );
        assert_eq!(images.len(), 2);
    }
}
