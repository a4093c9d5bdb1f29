//! Amazon ECR's own API: the registry's password, repositories and their lifecycle policies.

use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Refused, Service};
use super::{Aws, Keys};
use crate::registry::access::{Creation, EcrAccess};
use crate::registry::{Credential, RegistryErrorKind};

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921";

/// A registry of ECR: `{account}.dkr.ecr.{region}.amazonaws.com`, or one that settings describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct EcrHost {
    /// As in references.
    pub(in crate::registry) host: String,
    /// Twelve digits.
    pub(in crate::registry) account: Option<String>,
    /// E.g. `eu-central-1`.
    pub(in crate::registry) region: String,
}

impl EcrHost {
    /// Reads account and region out of a host's name.
    pub(in crate::registry) fn parse(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once(".dkr.ecr")?;
        let rest = rest.strip_prefix("-fips").unwrap_or(rest).strip_prefix('.')?;
        let region = rest.strip_suffix(".cn").unwrap_or(rest).strip_suffix(".amazonaws.com")?;
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_region = !region.is_empty() && !region.contains('.');
        (is_account && is_region).then(|| Self {
            host: host.to_owned(),
            account: Some(account.to_owned()),
            region: region.to_owned(),
        })
    }

    /// A host with what is set for it.
    pub(super) fn of(host: &str, access: Option<&EcrAccess>) -> Result<Self, RegistryErrorKind> {
        let told = Self::parse(host);
        let account = access.and_then(|access| access.account.clone());
        let region = access.and_then(|access| access.region.clone());
        let region = region.or_else(|| told.as_ref().map(|told| told.region.clone())).ok_or_else(|| {
            RegistryErrorKind::Denied(format!(
                "`{host}` does not tell an AWS region; set `region` under `ecr`"
            ))
        })?;
        let account = account.or_else(|| told.and_then(|told| told.account));
        Ok(Self { host: host.to_owned(), account, region })
    }

    /// The domain of a region's services.
    pub(super) fn domain(region: &str) -> &'static str {
        if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
    }

    async fn ask(
        &self,
        aws: &Aws<'_>,
        access: Option<&EcrAccess>,
        keys: &Keys,
        action: &str,
        body: Value,
    ) -> Result<String, Refused> {
        let (region, domain) = (&self.region, Self::domain(&self.region));
        let url = format!("https://api.ecr.{region}.{domain}/");
        let service = Service { title: "Amazon ECR", name: "ecr", region, url };
        let headers = [
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("{TARGET}.{action}")),
        ];
        let endpoint = access.and_then(|access| access.endpoint.as_deref());
        service.post(aws, endpoint, &headers, body.to_string(), Some(keys)).await
    }

    /// A request's parameters about a repository.
    fn about(&self, parameters: Value) -> Value {
        let mut parameters = parameters;
        if let Some(account) = &self.account {
            parameters["registryId"] = json!(account);
        }
        parameters
    }
}

/// User and password of a registry, good for twelve hours.
pub(super) async fn authorization(
    aws: &Aws<'_>,
    place: &EcrHost,
    access: Option<&EcrAccess>,
    keys: &Keys,
) -> Result<Credential, RegistryErrorKind> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        authorization_data: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        authorization_token: String,
    }
    // Without accounts: a token is good for every registry that its owner may reach.
    let answer = place.ask(aws, access, keys, "GetAuthorizationToken", json!({})).await;
    let text = answer.map_err(|refused| refused.kind)?;
    let malformed = || RegistryErrorKind::Malformed("Amazon ECR answered no token".into());
    let document: Document = serde_json::from_str(&text).map_err(|_| malformed())?;
    let entry = document.authorization_data.into_iter().next().ok_or_else(malformed)?;
    let pair = base64::engine::general_purpose::STANDARD
        .decode(entry.authorization_token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(malformed)?;
    let (username, password) = pair.split_once(':').ok_or_else(malformed)?;
    Ok(Credential::password(username, password))
}

/// Creates a repository that is missing, where that is wanted, and sets its lifecycle policy.
pub(super) async fn prepare(
    aws: &Aws<'_>,
    place: &EcrHost,
    access: Option<&EcrAccess>,
    keys: &Keys,
    repository: &str,
    creation: &Creation,
) -> Result<(), RegistryErrorKind> {
    if creation.create {
        let named = place.about(json!({ "repositoryNames": [repository] }));
        match place.ask(aws, access, keys, "DescribeRepositories", named).await {
            Ok(_) => {}
            Err(refused) if refused.code == "RepositoryNotFoundException" => {
                let mutability = if creation.immutable { "IMMUTABLE" } else { "MUTABLE" };
                let wanted =
                    place.about(json!({ "repositoryName": repository, "imageTagMutability": mutability }));
                match place.ask(aws, access, keys, "CreateRepository", wanted).await {
                    Ok(_) => {}
                    // Somebody else was faster.
                    Err(refused) if refused.code == "RepositoryAlreadyExistsException" => {}
                    Err(refused) => return Err(refused.kind),
                }
            }
            Err(refused) => return Err(refused.kind),
        }
    }
    if let Some(path) = &creation.lifecycle_policy {
        let policy = std::fs::read_to_string(path).map_err(|error| RegistryErrorKind::file(path, error))?;
        let wanted = place.about(json!({ "repositoryName": repository, "lifecyclePolicyText": policy }));
        let put = place.ask(aws, access, keys, "PutLifecyclePolicy", wanted).await;
        put.map_err(|refused| refused.kind)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_region_are_read_out_of_the_host() {
        let parsed = |host: &str| EcrHost::parse(host).map(|place| (place.account.unwrap(), place.region));
        let want = |account: &str, region: &str| Some((account.to_owned(), region.to_owned()));
        let zeros = "012345678901.dkr.ecr.eu-central-1.amazonaws.com";
        assert_eq!(parsed(zeros), want("012345678901", "eu-central-1"));
        let china = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn";
        assert_eq!(parsed(china), want("123456789012", "cn-north-1"));
        let fips = "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com";
        assert_eq!(parsed(fips), want("123456789012", "us-gov-west-1"));
        for other in ["public.ecr.aws", "12345.dkr.ecr.us-east-1.amazonaws.com", "a.dkr.ecr.b.amazonaws.com"]
        {
            assert_eq!(parsed(other), None, "{other}");
        }
        assert_eq!(EcrHost::domain("cn-north-1"), "amazonaws.com.cn");
    }
}
