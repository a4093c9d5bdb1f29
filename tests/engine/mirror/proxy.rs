//! A proxy before a registry, which notes requests and breaks some of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this status instead.
    Answer(u16),
    /// The answer ends after so many bytes of its body.
    Cut(usize),
    /// The first byte of the answer's body is another.
    Corrupt,
    /// No answer ever.
    Stall,
}

type Rule = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    rule: Option<Rule>,
    /// Request lines, with the `Range` where there is one.
    requests: Vec<String>,
}

/// The proxy; it ends with the test's process.
#[derive(Clone)]
pub struct Proxy {
    /// `127.0.0.1:PORT`.
    pub host: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Before `upstream`, breaking nothing.
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { host: listener.local_addr().unwrap().to_string(), state: Arc::default() };
        let (state, upstream) = (proxy.state.clone(), upstream.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, upstream) = (state.clone(), upstream.clone());
                // A client that went away ends its thread with an error, and nothing else.
                std::thread::spawn(move || serve(client, &upstream, &state));
            }
        });
        proxy
    }

    /// Sets what is done to requests, by `METHOD PATH[ range]`.
    pub fn rule(&self, rule: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().rule = Some(Box::new(rule));
    }

    /// Breaks nothing any more, and forgets the requests.
    pub fn mend(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// The requests that have this text.
    pub fn requests(&self, part: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

/// One request a connection, which both sides are told.
fn serve(client: TcpStream, upstream: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    let mut length = 0;
    let mut name = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let lower = line.to_ascii_lowercase();
        if head.is_empty() {
            name = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if let Some(value) = lower.strip_prefix("range:") {
            name = format!("{name} {}", value.trim());
        }
        if line == "\r\n" {
            head.extend_from_slice(b"Connection: close\r\n\r\n");
            break;
        }
        if !lower.starts_with("connection:") {
            head.extend_from_slice(line.as_bytes());
        }
    }
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push(name.clone());
        state.rule.as_mut().and_then(|rule| rule(&name))
    };
    let mut out = client.try_clone()?;
    match fault {
        Some(Fault::Stall) => {
            std::thread::sleep(std::time::Duration::from_secs(300));
            return Ok(());
        }
        Some(Fault::Answer(status)) => {
            std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
            let body = r#"{"errors":[{"code":"DENIED","message":"not now"}]}"#;
            let size = body.len();
            write!(out, "HTTP/1.1 {status} No\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}")?;
            return Ok(());
        }
        _ => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&head)?;
    std::io::copy(&mut reader.take(length), &mut server)?;
    match fault {
        Some(Fault::Cut(_) | Fault::Corrupt) => {
            let mut answer = BufReader::new(server);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                answer.read_line(&mut line)?;
                out.write_all(line.as_bytes())?;
            }
            if let Some(Fault::Cut(most)) = fault {
                std::io::copy(&mut answer.take(most as u64), &mut out)?;
            } else {
                let mut body = Vec::new();
                answer.read_to_end(&mut body)?;
                if let Some(first) = body.first_mut() {
                    *first ^= 1;
                }
                out.write_all(&body)?;
            }
        }
        _ => {
            std::io::copy(&mut server, &mut out)?;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}
