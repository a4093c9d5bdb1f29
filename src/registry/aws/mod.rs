//! Amazon ECR: signing in, and repositories that are created when they are missing.
//!
//! Four small calls of two services do not earn the SDK: requests are signed here, credentials are
//! looked for where the SDK looks for them. Sources: AWS Signature Version 4, the API references of
//! ECR (2015-09-21) and STS (2011-06-15), the SDK reference guide (environment, endpoints).

mod ambient;
mod call;
mod ecr;
mod sign;
mod sts;

use super::access::{Creation, EcrAccess, Variables};
use super::{Credential, RegistryErrorKind, Secret};
use crate::http::Transport;

pub(super) use ecr::EcrHost;

/// What AWS requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys {
    access_key: String,
    secret_key: Secret,
    session_token: Option<Secret>,
}

/// What AWS requests need from outside.
#[derive(Clone, Copy)]
pub(super) struct Aws<'a> {
    pub(super) transport: &'a Transport,
    pub(super) variables: &'a Variables,
}

impl Aws<'_> {
    /// User and password of a registry. `None` where nothing is set for it and there are no
    /// credentials around.
    ///
    /// # Errors
    /// When AWS refuses; with `access`, also when there are no credentials.
    pub(super) async fn login(
        &self,
        host: &str,
        access: Option<&EcrAccess>,
    ) -> Result<Option<Credential>, RegistryErrorKind> {
        let place = EcrHost::of(host, access)?;
        let Some(keys) = self.keys(&place, access).await? else { return Ok(None) };
        ecr::authorization(self, &place, access, &keys).await.map(Some)
    }

    /// Sees to a repository that is pushed to.
    ///
    /// # Errors
    /// When AWS refuses, or the policy's file cannot be read.
    pub(super) async fn prepare(
        &self,
        host: &str,
        repository: &str,
        access: Option<&EcrAccess>,
        creation: &Creation,
    ) -> Result<(), RegistryErrorKind> {
        let place = EcrHost::of(host, access)?;
        let keys = self.keys(&place, access).await?.ok_or_else(|| no_keys(host))?;
        ecr::prepare(self, &place, access, &keys, repository, creation).await
    }

    /// The keys of the role, or those that are around.
    async fn keys(
        &self,
        place: &EcrHost,
        access: Option<&EcrAccess>,
    ) -> Result<Option<Keys>, RegistryErrorKind> {
        let found = ambient::keys(self, &place.region, access).await?;
        let Some(access) = access else { return Ok(found) };
        let keys = found.ok_or_else(|| no_keys(&place.host))?;
        match &access.role {
            None => Ok(Some(keys)),
            Some(role) => sts::assume(self, place, access, role, &keys).await.map(Some),
        }
    }
}

fn no_keys(host: &str) -> RegistryErrorKind {
    RegistryErrorKind::Denied(format!(
        "no AWS credentials for `{host}`: neither AWS_ACCESS_KEY_ID, nor AWS_WEB_IDENTITY_TOKEN_FILE, nor a \
         profile with keys, nor those of a container or an instance"
    ))
}
