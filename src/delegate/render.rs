//! A delegate's Kubernetes manifest from nothing.

use super::DelegateError;
use crate::oci::Reference;

const MANIFEST: &str = include_str!("manifest.yaml");

/// What a manifest is made of.
#[derive(Debug, Clone)]
pub struct Rendering<'a> {
    /// The image, by digest.
    pub image: &'a Reference,
    /// The delegate's name: of the Deployment, and in names of what belongs to it.
    pub name: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The Harness account's id, or a placeholder.
    pub account: &'a str,
    /// Harness Manager, `https://…` without `/` at its end.
    pub manager: &'a str,
    /// How many pods.
    pub replicas: u32,
}

/// The manifest: Namespace, ClusterRoleBinding, Secret, Deployment, Service; the upgrader's Role,
/// RoleBinding, ServiceAccount, Secret, ConfigMap and CronJob, suspended. Secrets are placeholders.
///
/// # Errors
/// A name that Kubernetes does not take, an account or URL that would need quotes.
pub fn render(rendering: &Rendering<'_>) -> Result<String, DelegateError> {
    let names = [("--name", rendering.name), ("--namespace", rendering.namespace)];
    if let Some((option, name)) = names.into_iter().find(|(_, name)| !is_label(name)) {
        return Err(DelegateError::new(
            format!("{option}: `{name}` cannot be a name in Kubernetes"),
            "use up to 40 lower-case letters, digits and `-`, starting with a letter, ending with none",
        ));
    }
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if rendering.account.is_empty() || !plain(rendering.account) {
        return Err(DelegateError::new(
            format!("--account: `{}` is no id of an account", rendering.account),
            "take it from the URL of Harness after `/account/`",
        ));
    }
    let manager = rendering.manager.trim_end_matches('/');
    // The same variable names the gateway of the API.
    let manager = manager.strip_suffix("/gateway").unwrap_or(manager);
    let url = url::Url::parse(manager).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    if url.is_none_or(|url| !url.has_host() || !url.username().is_empty() || url.query().is_some())
        || manager.contains(['"', '\\', ' '])
    {
        return Err(DelegateError::new(
            format!("--manager: `{manager}` is not the URL of Harness Manager"),
            "write e.g. `https://app.harness.io`",
        ));
    }
    Ok(MANIFEST
        .replace("@IMAGE@", &quoted(rendering.image))
        .replace("@NAMESPACE@", rendering.namespace)
        .replace("@NAME@", rendering.name)
        .replace("@ACCOUNT@", rendering.account)
        .replace("@MANAGER@", manager)
        .replace("@REPLICAS@", &rendering.replicas.to_string()))
}

/// A reference as a YAML scalar: an address of IPv6 would begin a list.
pub(super) fn quoted(image: &Reference) -> String {
    let text = image.to_string();
    if text.starts_with('[') { format!("\"{text}\"") } else { text }
}

/// Whether a text is a name in Kubernetes, with room for what is put behind it.
fn is_label(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
