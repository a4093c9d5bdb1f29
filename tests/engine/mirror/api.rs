//! A server on loopback that answers as the API does.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    kind: String,
    headers: String,
    body: String,
    delay: Duration,
}

impl Answer {
    /// One with a body.
    pub fn json(status: u16, body: &str) -> Self {
        let kind = "application/json".to_owned();
        Self { status, kind, headers: String::new(), body: body.to_owned(), delay: Duration::ZERO }
    }

    /// With `data` in the envelope of a success.
    pub fn data(data: &str) -> Self {
        Self::json(
            200,
            &format!(r#"{{"status":"SUCCESS","data":{data},"metaData":null,"correlationId":"0891-ok"}}"#),
        )
    }

    /// Of another media type.
    pub fn kind(mut self, kind: &str) -> Self {
        self.kind = kind.to_owned();
        self
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// After a while.
    pub fn after(mut self, milliseconds: u64) -> Self {
        self.delay = Duration::from_millis(milliseconds);
        self
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and target.
    pub line: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

#[derive(Default)]
struct State {
    /// By path; the last answer stays.
    answers: BTreeMap<String, VecDeque<Answer>>,
    seen: Vec<Seen>,
}

/// The server; it ends with the test's process.
#[derive(Clone)]
pub struct Api {
    /// `127.0.0.1:PORT`.
    pub host: String,
    state: Arc<Mutex<State>>,
}

impl Api {
    /// One that answers 404.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Self { host: listener.local_addr().unwrap().to_string(), state: Arc::default() };
        let state = api.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        api
    }

    /// Sets the answer of a path.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.answers(path, vec![answer]);
    }

    /// Sets the answers of a path, one after the other; the last one stays.
    pub fn answers(&self, path: &str, answers: Vec<Answer>) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answers.into());
    }

    /// The requests so far whose line has this text.
    pub fn seen(&self, part: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|seen| seen.line.contains(part)).cloned().collect()
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body).ok()?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let path = line.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen { line, headers, body });
        let answers = state.answers.entry(path).or_default();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
    };
    let answer = answer.unwrap_or_else(|| Answer::json(404, ""));
    std::thread::sleep(answer.delay);
    let Answer { status, kind, headers, body, .. } = answer;
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Said\r\n{headers}Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).ok()
}
