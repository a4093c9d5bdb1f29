//! What a manifest says of registries, as the client takes it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::manifest::{AccessText, ExistingTags, Manifest, RegistryAccess, RegistrySettings};
use crate::registry::{
    AccessRule, AccessRules, Creation, CredentialSource, EcrAccess, HostSettings, TextSource, TlsSettings,
};

/// Settings by host; files are relative to `directory`, the manifest's.
pub fn host_settings(manifest: &Manifest, directory: &Path) -> BTreeMap<String, HostSettings> {
    let hosts = manifest.registries.iter().filter(|(name, _)| !name.contains('/'));
    let settings = hosts.map(|(host, settings)| {
        let tls = TlsSettings {
            ca: settings.ca.as_ref().map(|file| directory.join(file)),
            skip_verify: settings.skip_tls_verify,
        };
        let settings = HostSettings {
            insecure: settings.insecure,
            requests_per_second: settings.requests_per_second,
            concurrency: settings.concurrency,
            tls,
        };
        (host.clone(), settings)
    });
    settings.collect()
}

/// Credentials by host or prefix; files are relative to `directory`, the manifest's.
pub fn rules(manifest: &Manifest, directory: &Path) -> AccessRules {
    let rules = manifest.registries.iter().map(|(prefix, settings)| {
        let source =
            |access: &Option<RegistryAccess>| access.as_ref().map(|access| source(access, directory));
        let rule = AccessRule {
            credentials: source(&settings.credentials),
            pull: source(&settings.pull),
            creation: creation(settings, directory),
        };
        (prefix.clone(), rule)
    });
    AccessRules(rules.collect())
}

fn creation(settings: &RegistrySettings, directory: &Path) -> Option<Creation> {
    let policy = settings.lifecycle_policy.as_ref().map(|file| directory.join(file));
    (settings.create || policy.is_some()).then(|| Creation {
        create: settings.create,
        immutable: settings.existing_tags.as_ref().is_some_and(|rule| rule.value == ExistingTags::Refuse),
        lifecycle_policy: policy,
    })
}

/// A text of a credential; files are relative to `directory`, the manifest's.
pub fn text(source: &AccessText, directory: &Path) -> TextSource {
    match source {
        AccessText::Literal(text) => TextSource::Literal(text.clone()),
        AccessText::Environment(name) => TextSource::Environment(name.value.clone()),
        AccessText::File(file) => TextSource::File(directory.join(&file.value)),
    }
}

fn source(access: &RegistryAccess, directory: &Path) -> CredentialSource {
    let text = |source: &AccessText| text(source, directory);
    match access {
        RegistryAccess::Anonymous => CredentialSource::Anonymous,
        RegistryAccess::Password { username, password } => {
            CredentialSource::Password { username: text(username), password: text(password) }
        }
        RegistryAccess::IdentityToken(token) => CredentialSource::IdentityToken(text(token)),
        RegistryAccess::Helper(helper) => CredentialSource::Helper(helper.clone()),
        RegistryAccess::DockerConfig(file) => CredentialSource::DockerConfig(directory.join(file)),
        RegistryAccess::Ecr(ecr) => CredentialSource::Ecr(EcrAccess {
            account: ecr.account.clone(),
            region: ecr.region.clone(),
            role: ecr.role.as_ref().map(text),
            external_id: ecr.external_id.as_ref().map(text),
            endpoint: ecr.endpoint.clone(),
        }),
    }
}
