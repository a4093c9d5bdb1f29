//! Lists of versions in a file or on a server: a JSON array of texts, or a version a line.

use std::path::Path;
use std::time::Duration;

use super::{Candidate, DiscoverError};
use crate::registry::causes;

/// Most of a list that is read, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;
const TRIES: u32 = 3;

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

/// The list on a server. What the server may mend by itself is asked for again.
pub(super) async fn fetch(url: &str, shown: &str) -> Result<Vec<Candidate>, DiscoverError> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("railyard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_secs(60))
        .build()
        .expect("the TLS back end starts with built-in settings");
    let mut wait = Duration::from_millis(500);
    for attempt in 1.. {
        match get(&client, url).await {
            Ok(text) => return versions(&text, shown),
            Err((reason, retry)) if !retry || attempt == TRIES => {
                return Err(DiscoverError::new(
                    format!("failed to fetch `{shown}`: {reason}"),
                    "correct `url`, or run again when the server is well",
                ));
            }
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait *= 4;
    }
    unreachable!("the loop ends at the last try")
}

/// A body, or why there is none and whether asking again may help.
async fn get(client: &reqwest::Client, url: &str) -> Result<String, (String, bool)> {
    let transport = |error: reqwest::Error| (causes(&error.without_url()), true);
    let mut response = client.get(url).send().await.map_err(transport)?;
    let status = response.status();
    if !status.is_success() {
        return Err((format!("the server answered {status}"), status.is_server_error() || status == 429));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT {
            return Err((format!("it has more than {LIMIT} bytes, which is no list of versions"), false));
        }
    }
    String::from_utf8(body).map_err(|_| ("it is no text".to_owned(), false))
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
}
