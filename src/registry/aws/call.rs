//! One request to an AWS service and its answer.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use super::sign::{Unsigned, sign};
use super::{Aws, Keys};
use crate::http::{TransportError, is_loopback};
use crate::registry::RegistryErrorKind;

/// Most of an answer that is read, in bytes.
const BODY: usize = 1024 * 1024;

/// A service in a region.
pub(super) struct Service<'a> {
    /// For people.
    pub(super) title: &'static str,
    /// In signatures, and in `AWS_ENDPOINT_URL_NAME`.
    pub(super) name: &'static str,
    pub(super) region: &'a str,
    /// Its own URL.
    pub(super) url: String,
}

/// Why a service refused.
pub(super) struct Refused {
    /// Its name for it, e.g. `RepositoryNotFoundException`.
    pub(super) code: String,
    pub(super) kind: RegistryErrorKind,
}

impl From<RegistryErrorKind> for Refused {
    fn from(kind: RegistryErrorKind) -> Self {
        Self { code: String::new(), kind }
    }
}

impl From<TransportError> for Refused {
    fn from(error: TransportError) -> Self {
        RegistryErrorKind::from(error).into()
    }
}

impl Service<'_> {
    /// Sends a POST, signed where there are keys; the answer's text.
    pub(super) async fn post(
        &self,
        aws: &Aws<'_>,
        endpoint: Option<&str>,
        headers: &[(&'static str, String)],
        body: String,
        keys: Option<&Keys>,
    ) -> Result<String, Refused> {
        let url = self.endpoint(aws, endpoint)?;
        let mut request = aws.transport.request(Method::POST, url.clone())?;
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(keys) = keys {
            let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            let unsigned = Unsigned {
                url: &url,
                service: self.name,
                region: self.region,
                headers,
                body: body.as_bytes(),
                time: &time,
            };
            for (name, value) in sign(&unsigned, keys) {
                request = secret_header(request, name, &value)?;
            }
        }
        let mut response = aws.transport.send(request.body(body), None).await?;
        let status = response.status();
        let (bytes, _) = aws.transport.read(&mut response, BODY).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status.is_success() { Ok(text) } else { Err(self.refused(status, &text, keys)) }
    }

    /// The manifest's, the environment's, or Amazon's.
    fn endpoint(&self, aws: &Aws<'_>, given: Option<&str>) -> Result<Url, RegistryErrorKind> {
        let of_environment = || {
            let ignored = aws.variables.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
            if ignored.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                return None;
            }
            let own = format!("AWS_ENDPOINT_URL_{}", self.name.to_ascii_uppercase());
            aws.variables.get(&own).or_else(|| aws.variables.get("AWS_ENDPOINT_URL"))
        };
        let text = given.map(str::to_owned).or_else(of_environment).unwrap_or_else(|| self.url.clone());
        let url = Url::parse(&text).map_err(|_| {
            RegistryErrorKind::Denied(format!("the endpoint `{text}` of {} is no URL", self.title))
        })?;
        if url.scheme() != "https" && !is_loopback(&url) {
            let why = format!("the endpoint `{text}` of {} is not reached by HTTPS", self.title);
            return Err(RegistryErrorKind::Denied(why));
        }
        Ok(url)
    }

    fn refused(&self, status: StatusCode, text: &str, keys: Option<&Keys>) -> Refused {
        let (code, message) = error(text);
        let mut words = format!("{code}: {message}");
        if let Some(keys) = keys {
            words = keys.secret_key.scrub(&words);
            words = keys.session_token.iter().fold(words, |words, token| token.scrub(&words));
        }
        let number = status.as_u16();
        let is_haste = code.contains("Throttl") || code == "TooManyRequestsException";
        let kind = if status.is_server_error() || number == 429 || is_haste {
            let status = if is_haste { 429 } else { number };
            RegistryErrorKind::Status { status, message: format!("{words} ({})", self.title) }
        } else {
            RegistryErrorKind::Denied(format!("{} answered {number} {words}", self.title))
        };
        Refused { code, kind }
    }
}

fn secret_header(
    request: RequestBuilder,
    name: &'static str,
    value: &str,
) -> Result<RequestBuilder, RegistryErrorKind> {
    let mut value = reqwest::header::HeaderValue::try_from(value)
        .map_err(|_| RegistryErrorKind::Denied("the AWS credentials do not fit into a header".into()))?;
    value.set_sensitive(true);
    Ok(request.header(name, value))
}

/// Code and message of an error, in JSON or XML.
fn error(text: &str) -> (String, String) {
    if let Ok(document) = serde_json::from_str::<Value>(text) {
        // Some answers have both spellings of a name.
        let text = |names: [&str; 2]| names.into_iter().find_map(|name| document.get(name)?.as_str());
        let code = text(["__type", "code"]).and_then(|code| code.rsplit('#').next()).unwrap_or("error");
        return (code.to_owned(), text(["message", "Message"]).unwrap_or("no reason given").to_owned());
    }
    let code = element(text, "Code").unwrap_or("error").to_owned();
    (code, element(text, "Message").unwrap_or("no reason given").to_owned())
}

/// The text of an XML element without elements in it.
pub(super) fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_both_forms() {
        let json = r#"{"__type":"com.amazonaws.ecr#RepositoryNotFoundException","message":"no such","Message":"no such"}"#;
        assert_eq!(error(json), ("RepositoryNotFoundException".to_owned(), "no such".to_owned()));
        let xml = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>";
        assert_eq!(error(xml), ("AccessDenied".to_owned(), "not you".to_owned()));
        assert_eq!(error("<html>").0, "error");
    }
}
