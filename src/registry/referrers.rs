//! Referrers of a manifest, where the registry keeps them.

use reqwest::{Method, StatusCode};

use super::RegistryErrorKind;
use super::auth::Scopes;
use super::client::{Call, HttpRegistry};
use crate::http::next_page;
use crate::oci::{Descriptor, Digest, ImageIndex, MEDIA_INDEX, RepositoryName};

/// Most of one page of referrers, in bytes.
const PAGE: usize = 4 * 1024 * 1024;
/// Pages read before the registry is taken to run in circles.
const PAGES: usize = 1000;

impl HttpRegistry {
    /// The referrers of one artifact type or of all, page by page; `None` where there is no such API.
    pub(super) async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, RegistryErrorKind> {
        let host = self.host(repository)?;
        let mut url = host.url(&repository.repository, &format!("referrers/{subject}"));
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let scopes = Scopes::pull(&repository.repository);
            let call = Call::new(Method::GET, url.clone(), scopes).header("accept", MEDIA_INDEX);
            let reply = match self.call(&host, &call, PAGE).await {
                Err(RegistryErrorKind::Status { status: 400 | 405 | 501, .. }) => return Ok(None),
                reply => reply?,
            };
            if reply.status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let page: ImageIndex = serde_json::from_slice(&reply.body)
                .map_err(|error| RegistryErrorKind::Malformed(format!("list of referrers: {error}")))?;
            // A registry may leave the choice of the type to the client.
            let wanted =
                |d: &Descriptor| artifact_type.is_none() || d.artifact_type.as_deref() == artifact_type;
            found.extend(page.manifests.into_iter().filter(wanted));
            match reply.header("link").and_then(|link| next_page(link, &url)) {
                None => return Ok(Some(found)),
                Some(next) if next == url => break,
                Some(next) => url = next,
            }
        }
        Err(RegistryErrorKind::Malformed("the pages of referrers do not end".into()))
    }
}
