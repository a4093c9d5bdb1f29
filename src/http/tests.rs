//! [`Http`] against servers on loopback that misbehave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::{ApiCredential, Http, HttpError, Request, RetrySettings, Secret, Sink};

/// Answers one request after the other with these texts, the last one ever again; an empty text is
/// none at all.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = requests.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut text, mut piece) = (Vec::new(), [0; 4096]);
                while !text.ends_with(b"\r\n\r\n") && !text.ends_with(b"}") {
                    let read = stream.read(&mut piece).await.unwrap();
                    text.extend_from_slice(&piece[..read]);
                }
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(String::from_utf8(text).unwrap().to_lowercase());
                    log.len()
                };
                let answer = answers[number.min(answers.len()) - 1].clone();
                tokio::spawn(async move {
                    if answer.is_empty() {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                    }
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { port, requests }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}/{path}", self.port)).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn redirect(location: &str) -> String {
    status(&format!("302 Found\r\nLocation: {location}"))
}

fn quick() -> Http {
    let wait = Duration::from_millis(1);
    let idle = Duration::from_millis(200);
    Http::new(RetrySettings { tries: 3, base: wait, cap: wait, retry_after_cap: wait, idle })
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again() {
    for passing in
        ["500 Oops", "502 Bad Gateway", "503 Busy", "429 Too Many\r\nRetry-After: 3600", "408 Late"]
    {
        let server = Server::start(&[&status(passing), &status(passing), OK]).await;
        let reply = quick().fetch(&Request::get(server.url("a"))).await.unwrap();
        assert_eq!((reply.body.as_slice(), server.requests().len()), (&b"ok"[..], 3), "{passing}");
    }
    for lasting in ["404 Not Found", "403 Forbidden", "501 Not Implemented"] {
        let server = Server::start(&[&status(lasting), OK]).await;
        let error = quick().fetch(&Request::get(server.url("a"))).await.unwrap_err();
        assert_eq!(
            (error.to_string(), server.requests().len()),
            (format!("the server answered {lasting}"), 1)
        );
    }
    let server = Server::start(&[&status("503 Busy")]).await;
    let error = quick().fetch(&Request::get(server.url("a"))).await.unwrap_err();
    assert!(matches!(error, HttpError::Status(status) if status == 503), "{error}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_change_is_repeated_only_where_the_server_did_nothing() {
    for (line, times) in
        [("500 Oops", 1), ("502 Bad Gateway", 1), ("503 Busy", 2), ("429 Too Many\r\nRetry-After: 0", 2)]
    {
        for request in [Request::put, |url| Request::post(url, "{}")] {
            let server = Server::start(&[&status(line), OK]).await;
            quick().send(&request(server.url("a"))).await.unwrap();
            assert_eq!(server.requests().len(), times, "{line}");
        }
    }
    // Whoever says nothing may have carried it out.
    let server = Server::start(&[""]).await;
    assert!(quick().send(&Request::put(server.url("a"))).await.is_err());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn who_says_nothing_or_not_all_is_given_up() {
    let server = Server::start(&[""]).await;
    let error = quick().fetch(&Request::get(server.url("a"))).await.unwrap_err().to_string();
    assert_eq!((error.as_str(), server.requests().len()), ("nothing moved for 0.2 s", 3));
    let request = Request::get(server.url("a")).timeout(Duration::from_millis(50));
    let error = quick().fetch(&request).await.unwrap_err().to_string();
    assert_eq!(error, "there was no whole answer within 0.05 s");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://ann:hunter22@{closed}/?token=hunter23")).unwrap();
    let error = quick().fetch(&Request::get(url)).await.unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("hunter"), "{error}");
}

#[tokio::test]
async fn bodies_have_a_limit() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    ] {
        let server = Server::start(&[answer]).await;
        let request = |limit| Request::get(server.url("a")).limit(limit);
        let error = quick().fetch(&request(4)).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer has more than 4 bytes");
        assert_eq!(server.requests().len(), 1);
        assert_eq!(quick().fetch(&request(5)).await.unwrap().body, b"12345");
    }
}

#[tokio::test]
async fn a_body_that_broke_off_begins_anew() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf";
    let server = Server::start(&[half, OK]).await;
    let mut body = Vec::new();
    let reply = quick().fetch_into(&Request::get(server.url("a")), &mut body).await.unwrap();
    assert_eq!((body.as_slice(), reply.body.len()), (&b"ok"[..], 0));

    struct Full(u32);
    impl Sink for Full {
        fn start(&mut self) -> Result<(), String> {
            self.0 += 1;
            Ok(())
        }
        fn write(&mut self, _: &[u8]) -> Result<(), String> {
            Err("no space left".to_owned())
        }
    }
    let mut full = Full(0);
    let error = quick().fetch_into(&Request::get(server.url("a")), &mut full).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), full.0), ("no space left", 1));
}

#[tokio::test]
async fn redirects_carry_no_secret_to_another_host() {
    let other = Server::start(&[OK]).await;
    // Another host than 127.0.0.1, though the same machine.
    let target = format!("http://localhost:{}/b", other.port);
    let server = Server::start(&[&redirect("/moved"), &redirect(&target)]).await;
    let mut url = server.url("a?token=hunter23");
    url.set_username("ann").unwrap();
    url.set_password(Some("hunter22")).unwrap();
    let reply = quick().fetch(&Request::get(url)).await.unwrap();
    assert_eq!((reply.url.as_str(), reply.body.as_slice()), (target.as_str(), &b"ok"[..]));
    let seen = server.requests();
    assert!(
        seen[1].starts_with("get /moved ")
            && seen.iter().all(|request| request.contains("authorization: basic"))
    );
    let seen = &other.requests()[0];
    assert!(
        !seen.contains("authorization") && !seen.contains("referer") && !seen.contains("hunter"),
        "{seen}"
    );
}

#[tokio::test]
async fn signed_requests_are_not_redirected() {
    for (credential, header) in [
        (ApiCredential::Key(Secret::new("hunter22")), "x-api-key: hunter22\r\n"),
        (ApiCredential::Bearer(Secret::new("hunter22")), "authorization: bearer hunter22\r\n"),
    ] {
        let server = Server::start(&[&redirect("/b"), OK]).await;
        let request = Request::get(server.url("a")).signed(&credential).unwrap();
        assert!(!format!("{request:?} {credential:?}").contains("hunter22"));
        assert_eq!(quick().send(&request).await.unwrap().status, 302);
        assert!(server.requests().len() == 1 && server.requests()[0].contains(header));
    }
    let broken = ApiCredential::Key(Secret::new("hunter\n22"));
    let error =
        Request::get(Url::parse("http://localhost/").unwrap()).signed(&broken).unwrap_err().to_string();
    assert_eq!(error, "the key or token has characters that no header can have");
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(&[&redirect("/again")]).await;
    let error = quick().fetch(&Request::get(server.url("a"))).await.unwrap_err();
    assert_eq!(error.to_string(), "the server's redirect leads to another one, and so on");
    assert_eq!(server.requests().len(), 11);
    let server = Server::start(&[&redirect("file:///etc/passwd")]).await;
    let error = quick().fetch(&Request::get(server.url("a"))).await.unwrap_err();
    assert_eq!(error.to_string(), "the server's redirect leads to neither HTTP nor HTTPS");
}
