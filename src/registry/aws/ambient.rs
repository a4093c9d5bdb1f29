//! AWS credentials that are around: in the environment, a profile, a container or an instance.
//!
//! In the SDK's order; the first place that has some decides. A profile counts where it has keys:
//! those that assume roles or sign in by browser are not followed.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use url::{Host, Url};

use super::{Aws, Keys, sts};
use crate::http::is_loopback;
use crate::registry::access::{EcrAccess, Variables};
use crate::registry::{RegistryErrorKind, Secret};

/// Longest wait for an instance's metadata: nobody answers where there is no such service.
const INSTANCE: Duration = Duration::from_secs(1);
/// Longest wait for a container's credentials.
const CONTAINER: Duration = Duration::from_secs(5);
/// Most of an answer that is read, in bytes.
const BODY: usize = 64 * 1024;

/// Finds keys; `None` where there are none.
///
/// # Errors
/// When a place that is named has none: a file that cannot be read, a role that is refused.
pub(super) async fn keys(
    aws: &Aws<'_>,
    region: &str,
    access: Option<&EcrAccess>,
) -> Result<Option<Keys>, RegistryErrorKind> {
    let get = |name: &str| aws.variables.get(name);
    if let (Some(access_key), Some(secret)) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        let session_token = get("AWS_SESSION_TOKEN").map(Secret::new);
        return Ok(Some(Keys { access_key, secret_key: Secret::new(secret), session_token }));
    }
    if let (Some(file), Some(role)) = (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN")) {
        let path = PathBuf::from(file);
        let token = std::fs::read_to_string(&path).map_err(|error| RegistryErrorKind::file(&path, error))?;
        let endpoint = access.and_then(|access| access.endpoint.as_deref());
        let token = Secret::new(token.trim());
        return sts::assume_with_web_identity(aws, region, endpoint, &role, &token).await.map(Some);
    }
    if let Some(keys) = profile(aws.variables)? {
        return Ok(Some(keys));
    }
    if let Some(keys) = container(aws).await? {
        return Ok(Some(keys));
    }
    Ok(tokio::time::timeout(INSTANCE, instance(aws)).await.ok().flatten())
}

/// A profile of the shared credentials file. One that `AWS_PROFILE` names must be there: whoever else has keys
/// on this machine is not who is meant.
fn profile(variables: &Variables) -> Result<Option<Keys>, RegistryErrorKind> {
    let get = |name: &str| variables.get(name);
    let wanted = get("AWS_PROFILE");
    let lacks = |place: &str| match &wanted {
        None => Ok(None),
        Some(name) => Err(RegistryErrorKind::Denied(format!(
            "AWS_PROFILE names `{name}`, of which {place} has no keys; profiles that sign in by browser or assume \
             roles are not followed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`aws configure \
             export-credentials` prints them)"
        ))),
    };
    let named = get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let usual = || get("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
    let Some(path) = named.or_else(usual) else { return lacks("the shared credentials file") };
    let shown = format!("`{}`", path.display());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return lacks(&shown),
        Err(error) => return Err(RegistryErrorKind::file(&path, error)),
    };
    match read_profile(&text, wanted.as_deref().unwrap_or("default")) {
        Some(keys) => Ok(Some(keys)),
        None => lacks(&shown),
    }
}

fn read_profile(text: &str, wanted: &str) -> Option<Keys> {
    let mut is_wanted = false;
    let (mut access_key, mut secret_key, mut session_token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_wanted = name.trim() == wanted;
        } else if is_wanted && let Some((name, value)) = line.split_once('=') {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => access_key = Some(value),
                "aws_secret_access_key" => secret_key = Some(Secret::new(value)),
                "aws_session_token" => session_token = Some(Secret::new(value)),
                _ => {}
            }
        }
    }
    Some(Keys { access_key: access_key?, secret_key: secret_key?, session_token })
}

/// What containers of ECS and EKS, and instances, answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

impl Document {
    fn read(text: &str) -> Option<Keys> {
        let document: Self = serde_json::from_str(text).ok()?;
        Some(Keys {
            access_key: document.access_key_id,
            secret_key: Secret::new(document.secret_access_key),
            session_token: Some(Secret::new(document.token)),
        })
    }
}

/// The endpoint that ECS or EKS names to containers.
async fn container(aws: &Aws<'_>) -> Result<Option<Keys>, RegistryErrorKind> {
    let get = |name: &str| aws.variables.get(name);
    let address = match get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Some(path) => format!("http://169.254.170.2{path}"),
        None => match get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            Some(address) => address,
            None => return Ok(None),
        },
    };
    let denied = |why: &str| RegistryErrorKind::Denied(format!("the container's AWS credentials: {why}"));
    let url = Url::parse(&address).map_err(|_| denied("their address is no URL"))?;
    if url.scheme() != "https" && !is_loopback(&url) && !is_of_containers(&url) {
        return Err(denied("their address is neither HTTPS nor local"));
    }
    let mut request = aws.transport.direct(Method::GET, url)?;
    let token = match get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => {
            let path = PathBuf::from(file);
            let text = std::fs::read_to_string(&path);
            Some(text.map_err(|error| RegistryErrorKind::file(&path, error))?.trim().to_owned())
        }
        None => get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let text = tokio::time::timeout(CONTAINER, text(aws, request)).await;
    let text = text.ok().flatten().ok_or_else(|| denied("they are not answered"))?;
    Document::read(&text).map(Some).ok_or_else(|| denied("the answer holds no keys"))
}

/// The addresses that ECS and EKS have for this.
fn is_of_containers(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => matches!(ip.octets(), [169, 254, 170, 2 | 23]),
        Some(Host::Ipv6(ip)) => ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
        _ => false,
    }
}

/// The instance's role, by version 2 of the metadata service.
async fn instance(aws: &Aws<'_>) -> Option<Keys> {
    let disabled = aws.variables.get("AWS_EC2_METADATA_DISABLED");
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let base = aws.variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = Url::parse(&base.unwrap_or_else(|| "http://169.254.169.254/".to_owned())).ok()?;
    let url = |path: &str| base.join(path).ok();
    let asked = aws.transport.direct(Method::PUT, url("/latest/api/token")?).ok()?;
    let token = text(aws, asked.header("x-aws-ec2-metadata-token-ttl-seconds", "60")).await?;
    let get = |url: Url| {
        Some(aws.transport.direct(Method::GET, url).ok()?.header("x-aws-ec2-metadata-token", &token))
    };
    let roles = "/latest/meta-data/iam/security-credentials/";
    let role = text(aws, get(url(roles)?)?).await?;
    let role = role.lines().next()?.trim();
    let keys = text(aws, get(url(&format!("{roles}{role}"))?)?).await?;
    Document::read(&keys)
}

async fn text(aws: &Aws<'_>, request: RequestBuilder) -> Option<String> {
    let mut response = aws.transport.send(request, None).await.ok()?;
    let (bytes, whole) = aws.transport.read(&mut response, BODY).await.ok()?;
    (response.status().is_success() && whole).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_profile_is_read() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key = S\n\n[ci]\n# comment\n\
            aws_access_key_id=B\naws_secret_access_key=T=\naws_session_token = U\n[sso]\nsso_session = x\n";
        let keys = read_profile(text, "ci").unwrap();
        assert_eq!((keys.access_key.as_str(), keys.secret_key.expose()), ("B", "T="));
        assert_eq!(keys.session_token.unwrap().expose(), "U");
        assert_eq!(read_profile(text, "default").unwrap().session_token, None);
        assert_eq!(read_profile(text, "sso"), None);
        assert_eq!(read_profile(text, "other"), None);
    }

    #[test]
    fn a_profile_that_is_named_must_have_keys() {
        let home = tempfile::tempdir().unwrap();
        let found = |named: &[(&str, &str)]| {
            let own = [("HOME", home.path().to_str().unwrap())];
            let all = own.iter().chain(named).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            profile(&Variables::given(all.collect())).map(|keys| keys.map(|keys| keys.access_key))
        };
        assert_eq!(found(&[]).unwrap(), None);
        let error = found(&[("AWS_PROFILE", "prod")]).unwrap_err().to_string();
        assert!(error.contains("`prod`") && error.contains(".aws/credentials"), "{error}");
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key = S\n";
        std::fs::write(home.path().join(".aws/credentials"), text).unwrap();
        assert_eq!(found(&[]).unwrap().as_deref(), Some("A"));
        found(&[("AWS_PROFILE", "prod")]).unwrap_err();
    }

    #[test]
    fn containers_are_asked_at_their_own_addresses_only() {
        let is = |text: &str| is_of_containers(&Url::parse(text).unwrap());
        assert!(
            is("http://169.254.170.2/v2") && is("http://169.254.170.23/v1") && is("http://[fd00:ec2::23]/v1")
        );
        assert!(!is("http://169.254.170.3/") && !is("http://example.com/"));
    }
}
