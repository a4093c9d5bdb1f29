//! Lists of versions in a file or on a server: a JSON array of texts, or a version a line.

use std::path::Path;

use url::Url;

use super::{Candidate, DiscoverError};
use crate::http::{Http, HttpError, Request};

/// Most of a list that is read, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The list in a file.
pub(super) fn read(path: &Path) -> Result<Vec<Candidate>, DiscoverError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        DiscoverError::new(
            format!("failed to read `{}`: {error}", path.display()),
            "correct `file`: it is relative to the manifest",
        )
    })?;
    versions(&text, &path.display().to_string())
}

/// The list on a server. `shown` is the URL as errors may show it.
pub(super) async fn fetch(url: &str, shown: &str) -> Result<Vec<Candidate>, DiscoverError> {
    let failed = |why: String| {
        let help = "correct `url`, or run again when the server is well";
        DiscoverError::new(format!("failed to fetch `{shown}`: {why}"), help)
    };
    let target = Url::parse(url).map_err(|error| failed(error.to_string()))?;
    let reply = Http::default().fetch(&Request::get(target).limit(LIMIT)).await;
    let reply = reply.map_err(|error| {
        failed(match error {
            HttpError::TooLong(_) => format!("it has more than {LIMIT} bytes, which is no list of versions"),
            other => other.to_string(),
        })
    })?;
    let text = String::from_utf8(reply.body).map_err(|_| failed("it is no text".to_owned()))?;
    versions(&text, shown)
}

/// Reads a JSON array of texts, or lines; blank lines and lines after `#` are none.
fn versions(text: &str, place: &str) -> Result<Vec<Candidate>, DiscoverError> {
    if text.trim_start().starts_with('[') {
        let list: Vec<String> = serde_json::from_str(text).map_err(|error| {
            DiscoverError::new(
                format!("`{place}` is no JSON array of texts: {error}"),
                "it must be `[\"1.2.3\", …]`, or have a version a line",
            )
        })?;
        return Ok(list.iter().map(|version| Candidate::plain(version)).collect());
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(Candidate::plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        versions(text, "x").unwrap().into_iter().map(|c| c.version).collect()
    }

    #[test]
    fn arrays_and_lines() {
        assert_eq!(listed(" [\"1.0.0\", \"v2.0.0\"]\n"), ["1.0.0", "v2.0.0"]);
        assert_eq!(listed("v1.31.0\n"), ["v1.31.0"]);
        assert_eq!(listed("# ours\r\n1.0.0\r\n\n 2.0.0 "), ["1.0.0", "2.0.0"]);
        assert!(listed("").is_empty());
        assert!(versions("[1, 2]", "x").unwrap_err().message.contains("no JSON array of texts"));
    }

    #[tokio::test]
    async fn errors_hold_no_secret_of_the_url() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for url in
            [format!("http://ann:hunter22@{closed}/list?token=hunter23"), "//ann:hunter22@x".to_owned()]
        {
            let error = fetch(&url, "http://host/list").await.unwrap_err().message;
            assert!(error.starts_with("failed to fetch `") && !error.contains("hunter"), "{error}");
        }
    }
}
