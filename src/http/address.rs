//! URLs: whose they are, where a redirect leads, and how they are shown.

use std::net::IpAddr;

use url::{Host, Url};

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// `host[:port]` of a URL, the port where it is not the scheme's own.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A URL without user, password, query and fragment, for messages.
pub(crate) fn shown(url: &str) -> String {
    // Of `ann:word@host` the scheme would be `ann`.
    let parsed = Url::parse(url).ok().filter(|url| !url.cannot_be_a_base());
    let Some(mut parsed) = parsed else { return "a malformed URL".into() };
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_fragment(None);
    let has_query = parsed.query().is_some();
    parsed.set_query(None);
    if has_query { format!("{parsed}?…") } else { parsed.to_string() }
}

/// The target of a `Location` header met at `at`, of a request that began at `from`; else why it is
/// not followed, as in "the redirect …".
///
/// Servers behind proxies say `http:` of themselves: that is taken as `https:`. A true step down to
/// plain HTTP is refused, unless `may_step_down` allows it for the target's `host[:port]`.
pub(crate) fn redirected(
    from: &Url,
    at: &Url,
    location: &str,
    may_step_down: impl Fn(&str) -> bool,
) -> Result<Url, &'static str> {
    let mut url = at.join(location).map_err(|_| "is no URL")?;
    if url.scheme() == "http" && from.scheme() == "https" {
        if url.host() == from.host() {
            // Both schemes are special ones, between which changing always works.
            let _ = url.set_scheme("https");
        } else if !may_step_down(&authority(&url)) {
            return Err("leads from HTTPS to plain HTTP");
        }
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err("leads to neither HTTP nor HTTPS");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_what_may_be_secret() {
        assert_eq!(shown("https://ann:word@x.example/a/b?token=t#part"), "https://x.example/a/b?…");
        assert_eq!(shown("http://127.0.0.1:1/a"), "http://127.0.0.1:1/a");
        assert_eq!(shown("//ann:word@x.example/a"), "a malformed URL");
        assert_eq!(shown("ann:word@x.example/a"), "a malformed URL");
    }

    #[test]
    fn redirects_stay_encrypted() {
        let url = |text: &str| Url::parse(text).unwrap();
        let from = url("https://x.example/a/b");
        let resolve =
            |at: &str, location: &str| redirected(&from, &url(at), location, |_| false).map(String::from);
        assert_eq!(resolve("https://x.example/a/b", "c?d").unwrap(), "https://x.example/a/c?d");
        assert_eq!(resolve("https://x.example/", "http://x.example/c").unwrap(), "https://x.example/c");
        let why = resolve("https://cdn.example/", "http://other.example/").unwrap_err();
        assert_eq!(why, "leads from HTTPS to plain HTTP");
        assert!(resolve("https://x.example/", "file:///etc/passwd").is_err());
        assert!(redirected(&from, &from, "http://lab.example:1/", |host| host == "lab.example:1").is_ok());
    }
}
