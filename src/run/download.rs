//! Downloads: mirrors in order, sha256 as the judge, a failed download is a failure.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;

use super::blobs::{Once, Progress, Traffic};
use super::deliver::blocking;
use super::error::StepError;
use crate::event::Direction;
use crate::oci::{Digest, Hasher};
use crate::registry::causes;
use crate::store::Store;

const TRIES: u32 = 3;
/// How the reason begins where bytes came, but not those that are wanted.
const OTHER_BYTES: &str = "its sha256 is";

/// Fetches files into the store, each once.
pub struct Downloads {
    client: reqwest::Client,
    store: Arc<Store>,
    traffic: Arc<Traffic>,
    done: Once<String, (Digest, u64)>,
}

impl Downloads {
    /// Into a store, counting into `traffic`.
    pub fn new(store: Arc<Store>, traffic: Arc<Traffic>) -> Self {
        let client = reqwest::Client::builder()
            .user_agent(concat!("railyard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(60))
            .build()
            .expect("the TLS back end starts with built-in settings");
        Self { client, store, traffic, done: Once::default() }
    }

    /// The content of the first mirror that delivers what is wanted, as a blob of the store.
    ///
    /// # Errors
    /// When every mirror fails; the message names each with its reason.
    pub async fn get(
        &self,
        urls: &[String],
        wanted: Option<Digest>,
        progress: &Progress,
    ) -> Result<(Digest, u64), StepError> {
        if let Some(digest) = wanted {
            let store = self.store.clone();
            if let Some(size) = blocking(move || Ok(store.verify(digest)?)).await? {
                return Ok((digest, size));
            }
        }
        let slot = self.done.slot(format!("{wanted:?} {}", urls.join(" ")));
        let result = slot
            .get_or_try_init(|| async {
                let mut reasons = Vec::new();
                let mut other = false;
                for url in urls {
                    match self.try_mirror(url, wanted, progress).await {
                        Ok(result) => return Ok(result),
                        Err(reason) => {
                            other |= reason.starts_with(OTHER_BYTES);
                            reasons.push(format!("`{}`: {reason}", without_secrets(url)));
                        }
                    }
                }
                let message = format!("no mirror delivers the download: {}", reasons.join("; "));
                Err(StepError { contradicts_lock: other, ..StepError::new(message) }
                    .help("check the URLs and the version, or give another mirror"))
            })
            .await?;
        Ok(*result)
    }

    async fn try_mirror(
        &self,
        url: &str,
        wanted: Option<Digest>,
        progress: &Progress,
    ) -> Result<(Digest, u64), String> {
        let mut wait = Duration::from_millis(500);
        for attempt in 1.. {
            match self.fetch(url, wanted, progress).await {
                Ok(result) => return Ok(result),
                Err((reason, retry)) if !retry || attempt == TRIES => return Err(reason),
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait *= 4;
        }
        unreachable!("the loop ends at the last try")
    }

    async fn fetch(
        &self,
        url: &str,
        wanted: Option<Digest>,
        progress: &Progress,
    ) -> Result<(Digest, u64), (String, bool)> {
        let transport = |e: reqwest::Error| (causes(&e.without_url()), true);
        let response = self.client.get(url).send().await.map_err(transport)?;
        let status = response.status();
        if !status.is_success() {
            let retry = status.is_server_error() || status.as_u16() == 429;
            return Err((format!("the server answered {status}"), retry));
        }
        let expected = response.content_length();
        let local = |e: &dyn std::fmt::Display| (e.to_string(), false);
        let mut file = self.store.temporary_file().map_err(|e| local(&e))?;
        let mut hasher = Hasher::new();
        let mut size = 0u64;
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(transport)?;
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(|e| local(&e))?;
            size += chunk.len() as u64;
            self.traffic.fetched_bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            progress(Direction::Fetched, chunk.len() as u64);
        }
        if expected.is_some_and(|expected| expected != size) {
            return Err((format!("{size} bytes came instead of {}", expected.unwrap_or(0)), true));
        }
        let digest = hasher.finish();
        if let Some(wanted) = wanted
            && wanted != digest
        {
            return Err((format!("{OTHER_BYTES} {}, wanted is {}", digest.hex(), wanted.hex()), false));
        }
        self.store.put_file(file, digest).map_err(|e| local(&e))?;
        Ok((digest, size))
    }
}

/// A URL without user, password and query, for messages.
fn without_secrets(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return "a malformed URL".into() };
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::run::blobs::silent;

    #[tokio::test]
    async fn a_damaged_download_is_fetched_again() {
        let directory = tempfile::tempdir().unwrap();
        let wanted = Store::open(directory.path()).unwrap().put_bytes(b"content").unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        std::fs::write(store.blob_path(wanted), b"CONTENT").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let urls = [format!("http://{}/tool", listener.local_addr().unwrap())];
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 1024]).unwrap();
            client
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ncontent")
                .unwrap();
        });
        let downloads = Downloads::new(store.clone(), Arc::default());
        assert_eq!(downloads.get(&urls, Some(wanted), &silent()).await.unwrap(), (wanted, 7));
        server.join().unwrap();
        assert_eq!(std::fs::read(store.blob_path(wanted)).unwrap(), b"content");
        assert_eq!(store.take_dropped().len(), 1);
        // It is there now: nobody listens any more.
        assert_eq!(downloads.get(&urls, Some(wanted), &silent()).await.unwrap(), (wanted, 7));
    }
}
