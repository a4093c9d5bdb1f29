//! Files over HTTP, for downloads that the development file server does not have.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

/// Serves these files (`name`, content) until the test ends; gives `http://127.0.0.1:PORT`.
pub fn serve(files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> String {
    let files: Arc<HashMap<&str, Vec<u8>>> = Arc::new(files.into_iter().collect());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let files = files.clone();
            std::thread::spawn(move || answer(&stream, &files));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: &std::net::TcpStream, files: &HashMap<&str, Vec<u8>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let mut words = request.split(' ');
    let (method, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = match files.get(name.trim_start_matches('/')) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let body = if method == "HEAD" { &b""[..] } else { body };
    // A client that has gone asks again or fails by itself.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
