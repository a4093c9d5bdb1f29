//! AWS Signature Version 4 in the `Authorization` header (AWS, "Create a signed AWS API request").

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::Keys;
use crate::http::authority;

/// A POST to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) url: &'a Url,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    /// Headers that are signed beside `host` and those added here; lower-case names.
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) body: &'a [u8],
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: &'a str,
}

/// The headers to add to the request.
pub(super) fn sign(request: &Unsigned<'_>, keys: &Keys) -> Vec<(&'static str, String)> {
    let mut added = vec![("x-amz-date", request.time.to_owned())];
    added
        .extend(keys.session_token.as_ref().map(|token| ("x-amz-security-token", token.expose().to_owned())));
    let mut signed: Vec<(&str, String)> = request.headers.to_vec();
    signed.push(("host", authority(request.url)));
    signed.extend(added.iter().cloned());
    signed.sort();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!(
        "POST\n{}\n{}\n{lines}\n{names}\n{}",
        request.url.path(),
        request.url.query().unwrap_or_default(),
        hex::encode(Sha256::digest(request.body))
    );
    let day = request.time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        request.time,
        hex::encode(Sha256::digest(canonical.as_bytes()))
    );
    let seed = format!("AWS4{}", keys.secret_key.expose()).into_bytes();
    let key = [day, request.region, request.service, "aws4_request"]
        .iter()
        .fold(seed, |key, part| authenticate(&key, part));
    let signature = hex::encode(authenticate(&key, &text));
    added.push((
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            keys.access_key
        ),
    ));
    added
}

fn authenticate(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Secret;

    /// `post-x-www-form-urlencoded` and `post-sts-header-before` of AWS's signature test suite.
    #[test]
    fn signatures_are_those_of_the_test_suite() {
        let url = Url::parse("https://example.amazonaws.com/").unwrap();
        let mut keys = Keys {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let headers = [("content-type", "application/x-www-form-urlencoded".to_owned())];
        let request = |headers, body| Unsigned {
            url: &url,
            service: "service",
            region: "us-east-1",
            headers,
            body,
            time: "20150830T123600Z",
        };
        let authorization = |added: &[(&str, String)]| added.last().unwrap().1.clone();
        let form = sign(&request(&headers, b"Param1=value1"), &keys);
        assert_eq!(
            authorization(&form),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        keys.session_token = Some(Secret::new(
            "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
        ));
        let session = sign(&request(&[], b""), &keys);
        assert_eq!(
            authorization(&session),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token, \
             Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
        );
    }
}
