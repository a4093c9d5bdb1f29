//! Downloads: mirrors in order, sha256 as the judge, a failed download is a failure.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::NamedTempFile;
use url::Url;

use super::blobs::{Once, Progress, Traffic};
use super::deliver::{blocking, file_error};
use super::error::StepError;
use crate::event::Direction;
use crate::http::{Http, Meter, Request, Sink, shown};
use crate::oci::{Digest, Hasher};
use crate::store::Store;

/// Most of a download, in bytes: a server that never ends must not fill the disk.
const LIMIT: u64 = 64 * 1024 * 1024 * 1024;
/// How the reason begins where bytes came, but not those that are wanted.
const OTHER_BYTES: &str = "its sha256 is";

/// Fetches files into the store, each once.
pub struct Downloads {
    http: Http,
    store: Arc<Store>,
    traffic: Arc<Traffic>,
    done: Once<String, (Digest, u64)>,
}

impl Downloads {
    /// Into a store, counting into `traffic`.
    pub fn new(store: Arc<Store>, traffic: Arc<Traffic>) -> Self {
        Self { http: Http::default(), store, traffic, done: Once::default() }
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
                        Err(Refused::Here(error)) => return Err(error),
                        Err(Refused::There(reason)) => {
                            other |= reason.starts_with(OTHER_BYTES);
                            reasons.push(format!("`{}`: {reason}", shown(url)));
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
    ) -> Result<(Digest, u64), Refused> {
        let there = |reason: &dyn std::fmt::Display| Refused::There(reason.to_string());
        let target = Url::parse(url).map_err(|error| there(&error))?;
        let mut incoming = Incoming::new(self, progress);
        let fetched = self.http.fetch_into(&Request::get(target).limit(LIMIT), &mut incoming).await;
        let Incoming { file, hasher, size, failure, .. } = incoming;
        if let Some(failure) = failure {
            return Err(Refused::Here(failure));
        }
        fetched.map_err(|error| there(&error))?;
        let Some(file) = file else {
            return Err(there(&"the server sent no body"));
        };
        let digest = hasher.finish();
        if let Some(wanted) = wanted
            && wanted != digest
        {
            return Err(there(&format!("{OTHER_BYTES} {}, wanted is {}", digest.hex(), wanted.hex())));
        }
        self.store.put_file(file, digest).map_err(|error| Refused::Here(error.into()))?;
        Ok((digest, size))
    }
}

/// Why a mirror does not deliver.
enum Refused {
    /// Another may do better.
    There(String),
    /// This machine cannot keep what comes, from whomever.
    Here(StepError),
}

/// A download on its way into the store; each try has a file of its own.
struct Incoming<'a> {
    store: &'a Store,
    meter: Meter,
    file: Option<NamedTempFile>,
    hasher: Hasher,
    size: u64,
    /// Why the store could not take it.
    failure: Option<StepError>,
}

impl<'a> Incoming<'a> {
    fn new(downloads: &'a Downloads, progress: &Progress) -> Self {
        let (traffic, progress) = (downloads.traffic.clone(), progress.clone());
        let meter = Meter::new(Arc::new(move |bytes| {
            traffic.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
            progress(Direction::Fetched, bytes);
        }));
        Self { store: &downloads.store, meter, file: None, hasher: Hasher::new(), size: 0, failure: None }
    }

    /// Notes why the store could not take it, and says it.
    fn fail(&mut self, error: StepError) -> String {
        let message = error.message.clone();
        self.failure = Some(error);
        message
    }
}

impl Sink for Incoming<'_> {
    fn start(&mut self) -> Result<(), String> {
        self.file = Some(self.store.temporary_file().map_err(|error| self.fail(error.into()))?);
        self.hasher = Hasher::new();
        self.size = 0;
        self.meter.restart(0);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let file = self.file.as_mut().expect("a body is written after it was started");
        if let Err(error) = file.write_all(bytes) {
            let failure = file_error("write", file.path(), &error);
            return Err(self.fail(failure));
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.meter.advance(bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::run::blobs::silent;

    /// A server that gives one of these answers after the other, then is gone.
    fn serve(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut request, mut piece) = (Vec::new(), [0; 1024]);
                while !request.ends_with(b"\r\n\r\n") {
                    let read = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..read]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address.to_string()
    }

    fn downloads(folder: &tempfile::TempDir) -> Downloads {
        Downloads::new(Arc::new(Store::open(folder.path()).unwrap()), Arc::default())
    }

    #[tokio::test]
    async fn a_broken_download_is_fetched_anew_and_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = downloads(&folder);
        let address = serve(&[
            "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy",
            "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nthe ",
            "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nthe tool",
        ]);
        let moved = Arc::new(AtomicU64::new(0));
        let sum = moved.clone();
        let progress: Progress = Arc::new(move |_, bytes| {
            sum.fetch_add(bytes, Ordering::Relaxed);
        });
        let wanted = Digest::of(b"the tool");
        let got = downloads.get(&[format!("http://{address}/tool")], Some(wanted), &progress).await.unwrap();
        assert_eq!(got, (wanted, 8));
        assert_eq!(std::fs::read(downloads.store.blob_path(wanted)).unwrap(), b"the tool");
        assert_eq!(moved.load(Ordering::Relaxed), 8);
        assert_eq!(downloads.traffic.fetched_bytes.load(Ordering::Relaxed), 8);
    }

    #[tokio::test]
    async fn the_reasons_name_every_mirror_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = downloads(&folder);
        let address = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil"]);
        let urls =
            [format!("http://ann:hunter22@{address}/tool?token=hunter23"), "//ann:hunter22@x".to_owned()];
        let error = downloads.get(&urls, Some(Digest::of(b"good")), &super::super::blobs::silent()).await;
        let error = error.unwrap_err();
        assert!(error.contradicts_lock && !error.message.contains("hunter"), "{}", error.message);
        let begin = format!("no mirror delivers the download: `http://{address}/tool?…`: its sha256 is ");
        assert!(error.message.starts_with(&begin), "{}", error.message);
        assert!(error.message.contains("; `a malformed URL`: "), "{}", error.message);
    }

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
