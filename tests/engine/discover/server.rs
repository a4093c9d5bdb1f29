//! A server on loopback whose documents and tags a test changes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    documents: BTreeMap<String, String>,
    tags: Vec<String>,
    requests: Vec<String>,
}

/// Documents by path, and the tags of the repository `acme/app`, two a page.
#[derive(Clone)]
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub host: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// One that has nothing yet.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = Self { host, state: Arc::default() };
        let state = server.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                std::thread::spawn(move || answer(&stream, &state));
            }
        });
        server
    }

    /// Puts a document there.
    pub fn put(&self, path: &str, text: &str) {
        self.state.lock().unwrap().documents.insert(path.to_owned(), text.to_owned());
    }

    /// Sets the tags.
    pub fn tags(&self, tags: &[&str]) {
        self.state.lock().unwrap().tags = tags.iter().map(ToString::to_string).collect();
    }

    /// Every request so far that has this text.
    pub fn requests(&self, part: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|line| line.contains(part)).count()
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut state = state.lock().unwrap();
    state.requests.push(request);
    let (status, headers, body) = match path {
        "/v2/acme/app/tags/list" => page(&state.tags, query),
        _ => match state.documents.get(path.trim_start_matches('/')) {
            Some(body) => ("200 OK", String::new(), body.clone()),
            None => ("404 Not Found", String::new(), String::new()),
        },
    };
    drop(state);
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes());
}

/// Two tags after the `last`, and where the next page is.
fn page(tags: &[String], query: &str) -> (&'static str, String, String) {
    let last = query.split('&').find_map(|pair| pair.strip_prefix("last="));
    let start = last.map_or(0, |last| tags.iter().position(|tag| tag == last).unwrap() + 1);
    let page = &tags[start..tags.len().min(start + 2)];
    let body = serde_json::json!({ "name": "acme/app", "tags": page }).to_string();
    let link = match page.last().filter(|_| start + 2 < tags.len()) {
        Some(last) => format!("Link: </v2/acme/app/tags/list?last={last}&n=2>; rel=\"next\"\r\n"),
        None => String::new(),
    };
    ("200 OK", link, body)
}
