//! Manifests, tags, and whether a blob is there.

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::RegistryErrorKind;
use super::auth::Scopes;
use super::client::{Call, HttpRegistry, Reply};
use super::payload::Payload;
use crate::http::next_page;
use crate::oci::{
    Descriptor, Digest, MEDIA_DOCKER_INDEX, MEDIA_DOCKER_MANIFEST, MEDIA_INDEX, MEDIA_MANIFEST, Reference,
    RepositoryName,
};

/// Most of a manifest that is read, in bytes; registries take 4 MiB.
const MANIFEST: usize = 8 * 1024 * 1024;
/// Most of one page of tags, in bytes.
const TAGS: usize = 16 * 1024 * 1024;
/// Tags asked for at once; some registries refuse more than 1000.
const PAGE: &str = "n=1000";
/// Pages read before the registry is taken to run in circles.
const PAGES: usize = 10_000;

impl HttpRegistry {
    /// The descriptor by `HEAD`; by `GET` where the registry leaves out what it is made of.
    pub(super) async fn head_manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<Descriptor>, RegistryErrorKind> {
        let host = self.host(&reference.name)?;
        let reply = match self.call(&host, &self.manifest_call(Method::HEAD, reference)?, 0).await {
            Err(RegistryErrorKind::Status { status: 405 | 501, .. }) => None,
            reply => Some(reply?),
        };
        if reply.as_ref().is_some_and(|reply| reply.status == StatusCode::NOT_FOUND) {
            return Ok(None);
        }
        match reply.as_ref().and_then(described) {
            Some(descriptor) => {
                verify(reference.digest, descriptor.digest)?;
                Ok(Some(descriptor))
            }
            None => Ok(self.get_manifest(reference).await?.map(|(descriptor, _)| descriptor)),
        }
    }

    /// The bytes by `GET`, verified by the reference's digest, and by the registry's own.
    pub(super) async fn get_manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<(Descriptor, Bytes)>, RegistryErrorKind> {
        let host = self.host(&reference.name)?;
        let reply = self.call(&host, &self.manifest_call(Method::GET, reference)?, MANIFEST).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let digest = Digest::of(&reply.body);
        verify(reference.digest.or_else(|| told_digest(&reply)), digest)?;
        let media_type = media_type(&reply)?;
        Ok(Some((Descriptor::new(&media_type, digest, reply.body.len() as u64), reply.body)))
    }

    /// Puts a manifest; a reference with tag and digest moves the tag, once the digest is right.
    /// Returns whether the registry noted its subject (distribution specification, "Pushing
    /// Manifests with Subject").
    pub(super) async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<bool, RegistryErrorKind> {
        self.prepare(&reference.name).await?;
        let host = self.host(&reference.name)?;
        let digest = Digest::of(&bytes);
        verify(reference.digest, digest)?;
        let by = reference.tag.clone().unwrap_or_else(|| reference.selector());
        let repository = &reference.name.repository;
        let url = host.url(repository, &format!("manifests/{by}"));
        let call = Call::new(Method::PUT, url, Scopes::push(repository))
            .header("content-type", media_type)
            .payload(Payload::Bytes(bytes));
        let reply = match self.call(&host, &call, MANIFEST).await {
            Err(kind) if reference.tag.is_some() && kind.is_about_immutable_tag() => {
                let found = self.head_manifest(&reference.name.tag(&by)).await;
                let has = found.ok().flatten().map(|descriptor| descriptor.digest);
                // Registries refuse this even where nothing would move.
                return match has {
                    Some(has) if has == digest => Ok(false),
                    Some(has) => Err(RegistryErrorKind::Immutable { has, wanted: digest }),
                    None => Err(kind),
                };
            }
            reply => reply?,
        };
        let told = told_digest(&reply).unwrap_or(digest);
        let noted = reply.header("oci-subject").is_some();
        if let Some(refusal) = reply.refusal {
            return Err(refusal);
        }
        // A registry that stored other bytes (converted, say) has not stored this image.
        verify(Some(digest), told).map(|()| noted)
    }

    /// Whether a blob is there, by `HEAD`.
    pub(super) async fn head_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
    ) -> Result<bool, RegistryErrorKind> {
        let host = self.host(repository)?;
        let url = host.url(&repository.repository, &format!("blobs/{digest}"));
        let call = Call::new(Method::HEAD, url, Scopes::pull(&repository.repository));
        Ok(self.call(&host, &call, 0).await?.status.is_success())
    }

    /// All tags, page by page, in the registry's order.
    pub(super) async fn list_tags(
        &self,
        repository: &RepositoryName,
    ) -> Result<Vec<String>, RegistryErrorKind> {
        #[derive(Deserialize)]
        struct Page {
            // Some registries say null where a repository has no tags.
            tags: Option<Vec<String>>,
        }
        let host = self.host(repository)?;
        let mut url = host.url(&repository.repository, "tags/list");
        url.set_query(Some(PAGE));
        let mut tags = Vec::new();
        for _ in 0..PAGES {
            let call = Call::new(Method::GET, url.clone(), Scopes::pull(&repository.repository));
            let reply = self.call(&host, &call, TAGS).await?;
            if reply.status == StatusCode::NOT_FOUND {
                return Ok(tags);
            }
            let page: Page = serde_json::from_slice(&reply.body)
                .map_err(|error| RegistryErrorKind::Malformed(format!("list of tags: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            match reply.header("link").and_then(|link| next_page(link, &url)) {
                None => return Ok(tags),
                Some(next) if next == url => break,
                Some(next) => url = next,
            }
        }
        Err(RegistryErrorKind::Malformed("the pages of tags do not end".into()))
    }

    fn manifest_call(&self, method: Method, reference: &Reference) -> Result<Call, RegistryErrorKind> {
        let host = self.host(&reference.name)?;
        let repository = &reference.name.repository;
        let url = host.url(repository, &format!("manifests/{}", reference.selector()));
        let accept = [MEDIA_INDEX, MEDIA_MANIFEST, MEDIA_DOCKER_INDEX, MEDIA_DOCKER_MANIFEST].join(", ");
        Ok(Call::new(method, url, Scopes::pull(repository)).header("accept", accept))
    }
}

/// The descriptor in the headers of an answer to `HEAD`, if they have all of it.
fn described(reply: &Reply) -> Option<Descriptor> {
    let size = reply.header("content-length")?.parse().ok()?;
    Some(Descriptor::new(&content_type(reply)?, told_digest(reply)?, size))
}

fn told_digest(reply: &Reply) -> Option<Digest> {
    reply.header("docker-content-digest")?.trim().parse().ok()
}

/// The media type without parameters, where it says more than "JSON".
fn content_type(reply: &Reply) -> Option<String> {
    let value = reply.header("content-type")?.split(';').next()?.trim().to_owned();
    value.starts_with("application/vnd.").then_some(value)
}

/// The document's own media type, else the header's, else what the fields tell.
fn media_type(reply: &Reply) -> Result<String, RegistryErrorKind> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let head: Head = serde_json::from_slice(&reply.body)
        .map_err(|error| RegistryErrorKind::Malformed(format!("manifest: {error}")))?;
    let guess = if head.manifests.is_some() { MEDIA_INDEX } else { MEDIA_MANIFEST };
    Ok(head.media_type.or_else(|| content_type(reply)).unwrap_or_else(|| guess.to_owned()))
}

fn verify(wanted: Option<Digest>, got: Digest) -> Result<(), RegistryErrorKind> {
    match wanted {
        Some(wanted) if wanted != got => Err(RegistryErrorKind::Mismatch { wanted, got }),
        _ => Ok(()),
    }
}
