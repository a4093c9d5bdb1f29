//! Files over HTTP, and servers that keep one waiting.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A server in this process.
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub address: String,
    asked: Receiver<String>,
}

impl Server {
    /// Answers each request, by its path with the query.
    pub fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, sender) = (answer.clone(), sender.clone());
                std::thread::spawn(move || {
                    let path = request(&stream);
                    // The test may have ended.
                    let _ = sender.send(path.clone());
                    reply(&stream, answer(&path));
                });
            }
        });
        Self { address, asked }
    }

    /// The path of the next request.
    #[track_caller]
    pub fn asked(&self) -> String {
        self.asked.recv_timeout(Duration::from_secs(60)).expect("the program asks the server")
    }

    /// Whether all requests were looked at.
    pub fn is_asked_no_more(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

fn request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    request.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn reply(mut stream: &TcpStream, body: Option<Vec<u8>>) {
    let (status, body) = match body {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has gone asks again or fails by itself.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
