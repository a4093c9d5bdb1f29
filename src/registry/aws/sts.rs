//! AWS STS: the temporary keys of a role.

use super::call::{Service, element};
use super::{Aws, EcrHost, Keys};
use crate::registry::access::{EcrAccess, TextSource};
use crate::registry::{RegistryErrorKind, Secret};

const VERSION: &str = "2011-06-15";
/// What the session is called in AWS's logs.
const SESSION: &str = "railyard";

/// The keys of a role that other keys may assume.
pub(super) async fn assume(
    aws: &Aws<'_>,
    place: &EcrHost,
    access: &EcrAccess,
    role: &TextSource,
    keys: &Keys,
) -> Result<Keys, RegistryErrorKind> {
    let role = role.read(aws.variables, "role", &place.host)?;
    let external = access.external_id.as_ref().map(|id| id.read(aws.variables, "external id", &place.host));
    let external = external.transpose()?;
    let session = session_name(aws);
    let mut form = vec![
        ("Action", "AssumeRole"),
        ("Version", VERSION),
        ("RoleArn", role.expose()),
        ("RoleSessionName", &session),
    ];
    form.extend(external.as_ref().map(|id| ("ExternalId", id.expose())));
    ask(aws, &place.region, access.endpoint.as_deref(), &form, Some(keys)).await
}

/// The keys of a role for a token of an identity provider: a service account's in Kubernetes, say.
pub(super) async fn assume_with_web_identity(
    aws: &Aws<'_>,
    region: &str,
    endpoint: Option<&str>,
    role: &str,
    token: &Secret,
) -> Result<Keys, RegistryErrorKind> {
    let session = session_name(aws);
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", VERSION),
        ("RoleArn", role),
        ("RoleSessionName", &session),
        ("WebIdentityToken", token.expose()),
    ];
    let answer = ask(aws, region, endpoint, &form, None).await;
    answer.map_err(|kind| match kind {
        RegistryErrorKind::Denied(words) => RegistryErrorKind::Denied(token.scrub(&words)),
        other => other,
    })
}

fn session_name(aws: &Aws<'_>) -> String {
    aws.variables.get("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION.to_owned())
}

async fn ask(
    aws: &Aws<'_>,
    region: &str,
    endpoint: Option<&str>,
    form: &[(&str, &str)],
    keys: Option<&Keys>,
) -> Result<Keys, RegistryErrorKind> {
    let domain = EcrHost::domain(region);
    let service =
        Service { title: "AWS STS", name: "sts", region, url: format!("https://sts.{region}.{domain}/") };
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
    let text = service.post(aws, endpoint, &headers, body, keys).await.map_err(|refused| refused.kind)?;
    read_keys(&text).ok_or_else(|| RegistryErrorKind::Malformed("AWS STS answered no keys".into()))
}

fn read_keys(text: &str) -> Option<Keys> {
    Some(Keys {
        access_key: element(text, "AccessKeyId")?.to_owned(),
        secret_key: Secret::new(element(text, "SecretAccessKey")?),
        session_token: Some(Secret::new(element(text, "SessionToken")?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_read_out_of_the_answer() {
        let answer = "<AssumeRoleResponse><AssumeRoleResult><Credentials><SessionToken>\nT+/=\n</SessionToken>\
            <SecretAccessKey>S</SecretAccessKey><AccessKeyId>ASIA1</AccessKeyId></Credentials></AssumeRoleResult>\
            </AssumeRoleResponse>";
        let keys = read_keys(answer).unwrap();
        assert_eq!((keys.access_key.as_str(), keys.secret_key.expose()), ("ASIA1", "S"));
        assert_eq!(keys.session_token.unwrap().expose(), "T+/=");
        assert!(read_keys("<AssumeRoleResponse/>").is_none());
    }
}
