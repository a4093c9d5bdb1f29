//! Connections to the engine that are upgraded from HTTP to HTTP/2.
//!
//! `POST /grpc` reaches BuildKit's control service, `POST /session` makes a session, in which the
//! engine asks and we answer. bollard keeps upgraded connections to itself, so they are made here.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tonic::codegen::{Service, http};

/// The longest head of an answer that is read.
const LONGEST_HEAD: usize = 16 * 1024;
/// HTTP/2 window of streams and connections, in bytes.
pub(super) const WINDOW: u32 = 4 << 20;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens a connection and has it upgraded.
pub(super) async fn upgrade(
    endpoint: &str,
    path: &str,
    headers: &[(&str, String)],
) -> Result<Box<dyn Duplex>, Error> {
    let mut stream: Box<dyn Duplex> = match endpoint.split_once("://") {
        Some(("unix", socket)) => Box::new(UnixStream::connect(socket).await?),
        Some(("tcp" | "http", address)) => Box::new(TcpStream::connect(address.trim_end_matches('/')).await?),
        _ => return Err(Error::new(ErrorKind::Unsupported, "the engine's address is not supported")),
    };
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    // Byte by byte: what follows the head belongs to HTTP/2.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > LONGEST_HEAD {
            return Err(Error::new(ErrorKind::InvalidData, "the engine's answer has no end"));
        }
        answer.push(stream.read_u8().await?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    match line.split_whitespace().nth(1) {
        Some("101") => Ok(stream),
        _ => Err(Error::other(format!("the engine does not upgrade `{path}`: {line}"))),
    }
}

/// A task that ends when this is dropped.
pub(super) struct Ending(pub JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The client's side of an HTTP/2 connection, as tonic's clients want it.
#[derive(Clone)]
pub(super) struct Link(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl Link {
    /// Begins HTTP/2; the connection lives as long as the task.
    pub(super) async fn begin(stream: Box<dyn Duplex>) -> Result<(Self, Ending), hyper::Error> {
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        let task = tokio::spawn(async move {
            // Requests that are under way hear of an error themselves.
            let _ = connection.await;
        });
        Ok((Self(sender), Ending(task)))
    }
}

impl Service<http::Request<tonic::body::Body>> for Link {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
