//! Registries by host or prefix, and what AWS calls its own.

use super::{Fault, fault, literal_part};
use crate::oci::RepositoryName;

/// The host of a registry, or the front part of repositories on it, as references name them.
pub(in crate::manifest) fn registry(text: &str) -> Result<(), Fault> {
    let same = |r: RepositoryName| r.to_string() == format!("{text}/x");
    if format!("{text}/x").parse::<RepositoryName>().is_ok_and(same) {
        return Ok(());
    }
    let help = if text.contains("docker.io") {
        "write `docker.io`, or `docker.io/ORGANISATION`"
    } else {
        "write `host` or `host:port` as references do, e.g. `docker.io` or `localhost:5000`, and perhaps a path"
    };
    let what = format!("`{text}` is neither the host of a registry nor a host and a path");
    Err(fault("malformed-host", what, help))
}

/// Account and region of a host of Amazon ECR.
pub(in crate::manifest) fn ecr_host(name: &str) -> Option<(String, String)> {
    let host = name.split('/').next()?;
    let (account, rest) = host.split_once(".dkr.ecr")?;
    let rest = rest.strip_prefix("-fips").unwrap_or(rest).strip_prefix('.')?;
    let region = rest.strip_suffix(".cn").unwrap_or(rest).strip_suffix(".amazonaws.com")?;
    aws_account(account).ok()?;
    aws_region(region).ok()?;
    Some((account.to_owned(), region.to_owned()))
}

/// An AWS account.
pub(in crate::manifest) fn aws_account(text: &str) -> Result<String, Fault> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(fault(
        "malformed-account",
        format!("`{text}` is not an AWS account"),
        "write its twelve digits in quotes, leading zeros too: `\"012345678901\"`",
    ))
}

/// An AWS region.
pub(in crate::manifest) fn aws_region(text: &str) -> Result<String, Fault> {
    let fits = text.contains('-')
        && text.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    if fits {
        return Ok(text.to_owned());
    }
    Err(fault(
        "malformed-region",
        format!("`{text}` is not an AWS region"),
        "write it as AWS does, e.g. `eu-central-1`",
    ))
}

/// The ARN of an AWS role.
pub(in crate::manifest) fn aws_role(text: &str) -> Result<(), Fault> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    if let ["arn", _, "iam", "", account, resource] = parts[..]
        && aws_account(account).is_ok()
        && resource.starts_with("role/")
    {
        return Ok(());
    }
    Err(fault(
        "malformed-role",
        format!("`{text}` is not the ARN of an AWS role"),
        "write `arn:aws:iam::ACCOUNT:role/NAME`, or `{ env = \"NAME\" }`",
    ))
}

/// An endpoint of AWS: HTTPS, or on this machine.
pub(in crate::manifest) fn aws_endpoint(text: &str) -> Result<String, Fault> {
    let is_loopback = |url: &url::Url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let fits = |url: url::Url| {
        url.has_host() && (url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url))
    };
    if url::Url::parse(text).is_ok_and(fits) {
        return Ok(text.to_owned());
    }
    Err(fault(
        "malformed-url",
        format!("`{text}` is not an https URL"),
        "write e.g. `https://vpce-….ecr.eu-central-1.vpce.amazonaws.com`; plain http is for this machine only",
    ))
}

/// NAME of `docker-credential-NAME`.
pub(in crate::manifest) fn helper(text: &str) -> Result<String, Fault> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && text.bytes().all(is_name) && !text.starts_with("docker-credential-") {
        return Ok(text.to_owned());
    }
    Err(fault(
        "malformed-helper",
        format!("`{text}` is not the name of a credential helper"),
        "write NAME of `docker-credential-NAME`, e.g. `ecr-login`",
    ))
}

/// A place that images go to: the front part of repositories, or `...`.
pub(in crate::manifest) fn destination(text: &str) -> Result<(), Fault> {
    if text == "..." { Ok(()) } else { super::repository_prefix(text) }
}

/// A semantic version of tags.
pub(in crate::manifest) fn version_tag(text: &str) -> Result<(), Fault> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    if !literal_part(text).1 || semver::Version::parse(bare).is_ok() {
        return Ok(());
    }
    Err(fault(
        "malformed-version",
        format!("`{text}` is not a semantic version"),
        "write all three numbers, e.g. `{{ vars.version }}` with `1.2.3`; other tags go into `tags`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_hosts_or_begin_repositories() {
        for good in ["docker.io", "localhost:5000", "docker.io/acme", "r.example/a/b"] {
            assert!(registry(good).is_ok(), "{good}");
        }
        for bad in ["acme", "https://x.y", "index.docker.io", "r.example/", "r.example/A", "r.example/a:b"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_aws_calls_its_own() {
        let want = Some(("012345678901".to_owned(), "eu-central-1".to_owned()));
        assert_eq!(ecr_host("012345678901.dkr.ecr.eu-central-1.amazonaws.com/team"), want);
        assert_eq!(ecr_host("public.ecr.aws/x"), None);
        assert!(aws_account("12345").is_err() && aws_region("Frankfurt").is_err());
        assert!(aws_role("arn:aws:iam::123456789012:role/a/b").is_ok());
        assert!(aws_role("arn:aws:iam::123456789012:user/a").is_err());
        assert!(aws_endpoint("http://127.0.0.1:5000").is_ok() && aws_endpoint("http://x.example").is_err());
        assert!(helper("ecr-login").is_ok() && helper("docker-credential-ecr-login").is_err());
        assert!(version_tag("v1.2.3").is_ok() && version_tag("1.2").is_err());
    }
}
