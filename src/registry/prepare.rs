//! Who is asked for a repository's sake, and what is seen to before it is written to.

use std::sync::PoisonError;

use super::RegistryErrorKind;
use super::access::{Account, CredentialSource};
use super::aws::Aws;
use super::client::HttpRegistry;
use super::retry::Attempts;
use crate::oci::RepositoryName;

impl HttpRegistry {
    /// The account that a repository is reached with.
    pub(super) fn account(&self, host: &str, repository: &str, writes: bool) -> Account {
        self.credentials.source.rules.account(host, repository, writes)
    }

    /// Sees, once, to a repository that is about to be written to: Amazon ECR makes none by itself.
    pub(super) async fn prepare(&self, repository: &RepositoryName) -> Result<(), RegistryErrorKind> {
        let rules = &self.credentials.source.rules;
        let Some(creation) = rules.creation(&repository.registry, &repository.repository) else {
            return Ok(());
        };
        let slot = {
            let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            prepared.entry(repository.clone()).or_default().clone()
        };
        let account = self.account(&repository.registry, &repository.repository, true);
        let access = match rules.source(&account) {
            Some(CredentialSource::Ecr(access)) => Some(access),
            _ => None,
        };
        let aws = Aws { transport: &self.transport, variables: &self.credentials.source.variables };
        let host = self.host(repository)?;
        let prepare = || async {
            let mut attempts = Attempts::new(&self.retry);
            loop {
                let tried = aws.prepare(&repository.registry, &repository.repository, access, creation).await;
                match tried {
                    Ok(()) => return Ok(()),
                    Err(kind) => attempts.wait(&host.budget, kind.into()).await?,
                }
            }
        };
        slot.get_or_try_init(prepare).await.copied()
    }
}
