//! What stands between railyard and the world: a file server whose files change, and a way to the
//! registry that counts requests that write.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Beginnings of requests that change something.
const WRITES: [&[u8]; 4] = [b"PUT /v2/", b"POST /v2/", b"PATCH /v2/", b"DELETE /v2/"];
const LONGEST: usize = 11;

/// A port of its own that leads to the registry.
pub struct Wire {
    pub host: String,
    writes: Arc<AtomicUsize>,
}

impl Wire {
    /// To `target`, a host with a port.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let writes = Arc::<AtomicUsize>::default();
        let (target, counter) = (target.to_owned(), writes.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(&target).unwrap();
                for stream in [&near, &far] {
                    stream.set_nodelay(true).unwrap();
                }
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let counter = counter.clone();
                std::thread::spawn(move || pass(near, far, Some(&counter)));
                std::thread::spawn(move || pass(far_too, near_too, None));
            }
        });
        Self { host, writes }
    }

    /// How many requests that write have passed. Bodies that hold the words of one count too, so
    /// only nothing at all says something.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, writes: Option<&AtomicUsize>) {
    let mut buffer = vec![0; 1 << 16];
    let mut kept = 0;
    while let Ok(read) = from.read(&mut buffer[kept..]) {
        if read == 0 {
            break;
        }
        let end = kept + read;
        if let Some(writes) = writes {
            let seen = &buffer[..end];
            let ends = |word: &&[u8]| {
                seen.windows(word.len())
                    .enumerate()
                    .filter(|(at, w)| w == word && at + w.len() > kept)
                    .count()
            };
            writes.fetch_add(WRITES.iter().map(ends).sum(), Ordering::SeqCst);
        }
        if to.write_all(&buffer[kept..end]).is_err() {
            break;
        }
        let keep = end.min(LONGEST - 1);
        buffer.copy_within(end - keep..end, 0);
        kept = keep;
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Served files, name -> content.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<HashMap<String, String>>>);

impl Files {
    /// A server of its own without files; gives `http://127.0.0.1:PORT` too.
    pub fn serve() -> (Self, String) {
        let files = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = files.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.answer(&stream));
            }
        });
        (files, format!("http://{address}"))
    }

    /// From now on there is this file.
    pub fn put(&self, name: &str, content: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), content.to_owned());
    }

    fn answer(&self, mut stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let found = self.0.lock().unwrap().get(&name).cloned();
        let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
        let body = found.unwrap_or_default();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let body = if request.starts_with("HEAD") { String::new() } else { body };
        // A client that has gone asks again or fails by itself.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}
