//! The registry client against a small server in this process: what each answer leads to.

// The lint spares test functions only, not what they share.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use railyard::oci::{Descriptor, Digest, MEDIA_MANIFEST, Reference, RepositoryName};
use railyard::registry::{
    BlobSource, Credential, Credentials, HostSettings, HttpRegistry, Progress, Registry, RegistryErrorKind,
    RegistryOptions, RetrySettings, Upload,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Seen {
    /// Method and path, without the query.
    fn line(&self) -> String {
        format!("{} {}", self.method, self.target.split('?').next().unwrap())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer; status 0 hangs up, and with `cut`, the connection ends after so many bytes of the body.
#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Reply {
    fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }
}

/// A server that answers with a closure, given the request and the number of equal lines before it.
struct Server {
    host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log) = (answer.clone(), log.clone());
                tokio::spawn(async move { serve(stream, &*answer, &log).await });
            }
        });
        Self { host, seen }
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Seen::line).collect()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn repository(&self) -> RepositoryName {
        format!("{}/acme/app", self.host).parse().unwrap()
    }

    fn tag(&self) -> Reference {
        self.repository().tag("v1")
    }

    fn client(&self, credentials: Credentials) -> HttpRegistry {
        HttpRegistry::new(RegistryOptions { credentials, retry: quick(), ..RegistryOptions::default() })
    }

    fn anonymous(&self) -> HttpRegistry {
        self.client(Credentials::anonymous())
    }

    fn ann(&self) -> Credentials {
        Credentials::anonymous().with(&self.host, Credential::password("ann", "hunter22"))
    }
}

fn quick() -> RetrySettings {
    RetrySettings {
        base: Duration::from_millis(5),
        cap: Duration::from_millis(20),
        idle: Duration::from_secs(5),
        ..RetrySettings::default()
    }
}

async fn serve(stream: TcpStream, answer: &(dyn Fn(&Seen, usize) -> Reply + Sync), log: &Mutex<Vec<Seen>>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    let request = Seen { method, target, headers, body };
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|seen| seen.line() == request.line()).count();
        log.push(request.clone());
        before
    };
    let reply = answer(&request, before);
    if reply.status == 0 {
        return; // hangs up
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| *name == "content-length") && reply.status != 204 {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = if request.method == "HEAD" { &[][..] } else { &reply.body[..] };
    let body = &body[..reply.cut.unwrap_or(body.len()).min(body.len())];
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.flush().await;
    let _ = stream.shutdown().await;
}

fn count() -> (Arc<AtomicU64>, Progress) {
    let total = Arc::new(AtomicU64::new(0));
    let sum = total.clone();
    let progress = move |n| {
        sum.fetch_add(n, Ordering::Relaxed);
    };
    (total, Arc::new(progress))
}

fn blob(bytes: &[u8]) -> Descriptor {
    Descriptor::new("application/octet-stream", Digest::of(bytes), bytes.len() as u64)
}

fn data() -> Vec<u8> {
    (0..300_000u32).map(|n| (n % 251) as u8).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

const DOCUMENT: &[u8] = br#"{"schemaVersion":2}"#;

fn manifest() -> Reply {
    Reply::new(200)
        .with("content-type", format!("{MEDIA_MANIFEST}; charset=utf-8"))
        .with("docker-content-digest", Digest::of(DOCUMENT).to_string())
        .body(DOCUMENT)
}

/// A registry that wants a token from itself; `pass` says which `Authorization` the service takes.
fn with_tokens(pass: &'static str) -> impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static {
    move |request, before| {
        if request.target.starts_with("/token") {
            let wanted = if request.method == "POST" {
                String::from_utf8_lossy(&request.body).into_owned()
            } else {
                request.header("authorization").to_owned()
            };
            if !wanted.contains(pass) {
                return Reply::new(401).body(r#"{"details":"wrong password hunter22"}"#);
            }
            return Reply::new(200).body(format!(r#"{{"token":"t{before}","expires_in":300}}"#));
        }
        if !request.header("authorization").starts_with("Bearer t") {
            let realm = format!("http://{}/token", request.header("host"));
            let challenge =
                format!(r#"Bearer realm="{realm}",service="reg",scope="repository:acme/app:pull""#);
            return Reply::new(401)
                .with("www-authenticate", challenge)
                .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#);
        }
        manifest()
    }
}

#[tokio::test]
async fn a_bearer_token_is_fetched_once_a_scope_and_reused() {
    let server = Server::start(with_tokens("Basic YW5uOmh1bnRlcjIy")).await;
    let client = server.client(server.ann());
    for _ in 0..3 {
        let found = client.head(&server.tag()).await.unwrap().unwrap();
        assert_eq!(found, Descriptor::new(MEDIA_MANIFEST, Digest::of(DOCUMENT), DOCUMENT.len() as u64));
    }
    client.put_manifest(&server.tag(), MEDIA_MANIFEST, Bytes::from_static(DOCUMENT)).await.unwrap();
    let tokens: Vec<Seen> =
        server.seen().into_iter().filter(|request| request.target.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 2, "{:?}", server.lines());
    assert!(tokens[0].target.contains("service=reg&scope=repository%3Aacme%2Fapp%3Apull&account=ann"));
    assert!(tokens[1].target.contains("scope=repository%3Aacme%2Fapp%3Apull%2Cpush"));
    // One refused request in all: later ones carry a token at once.
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("HEAD")).count(), 4);
}

#[tokio::test]
async fn tokens_are_had_anonymously_where_there_is_no_credential() {
    let server = Server::start(with_tokens("")).await;
    let (_, bytes) = server.anonymous().manifest(&server.tag()).await.unwrap().unwrap();
    assert_eq!(&bytes[..], DOCUMENT);
    let token = server.seen().into_iter().find(|request| request.target.starts_with("/token")).unwrap();
    assert_eq!(token.header("authorization"), "");
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let server = Server::start(with_tokens("refresh_token=refresh-me")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let entry =
        format!(r#"{{"auths":{{"{}":{{"auth":"eDo=","identitytoken":"refresh-me"}}}}}}"#, server.host);
    std::fs::write(&path, entry).unwrap();
    let client = server.client(Credentials::docker_config(path));
    assert!(client.head(&server.tag()).await.unwrap().is_some());
    let post = server.seen().into_iter().find(|request| request.method == "POST").unwrap();
    let body = String::from_utf8(post.body).unwrap();
    assert!(
        body.contains("grant_type=refresh_token&service=reg&client_id=railyard&scope=repository"),
        "{body}"
    );
}

#[tokio::test]
async fn a_refused_credential_is_denied_and_not_printed() {
    let server = Server::start(with_tokens("nobody")).await;
    let error = server.client(server.ann()).head(&server.tag()).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::Denied(_)));
    assert_eq!(
        error.to_string(),
        format!(
            "failed to look up manifest `{}`: access denied: the token service answered 401: wrong password …",
            server.tag()
        )
    );
    assert!(!format!("{error:?}").contains("hunter22"));
}

#[tokio::test]
async fn a_basic_challenge_is_answered_with_user_and_password() {
    let server = Server::start(|request, _| match request.header("authorization") {
        "Basic YW5uOmh1bnRlcjIy" => manifest(),
        other => Reply::new(401)
            .with("www-authenticate", r#"Basic realm="https://x.example/",service="ecr""#)
            .body(format!("got <{other}>")),
    })
    .await;
    let client = server.client(server.ann());
    assert!(client.head(&server.tag()).await.unwrap().is_some());
    assert!(client.head(&server.tag()).await.unwrap().is_some());
    assert_eq!(server.lines().len(), 3);
    let wrong = Credentials::anonymous().with(&server.host, Credential::password("ann", "wrong-one"));
    let error = server.client(wrong).manifest(&server.tag()).await.unwrap_err().to_string();
    assert!(error.contains("access denied: the registry answered 401: got <Basic …>"), "{error}");
    let error = server.anonymous().manifest(&server.tag()).await.unwrap_err().to_string();
    assert!(error.contains("(asked without credentials)"), "{error}");
}

#[tokio::test]
async fn the_engine_gets_the_same_credential() {
    let server = Server::start(|_, _| Reply::new(500)).await;
    let client = server.client(server.ann());
    let found = client.pull_credentials(&server.host).await.unwrap();
    assert_eq!(found, Some(Credential::password("ann", "hunter22")));
    assert_eq!(client.pull_credentials("elsewhere.example").await.unwrap(), None);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let server = Server::start(|_, before| match before {
        0 => Reply::new(429).with("retry-after", "1"),
        _ => manifest(),
    })
    .await;
    let start = Instant::now();
    assert!(server.anonymous().head(&server.tag()).await.unwrap().is_some());
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_manifest_put_survives_server_errors_but_not_for_ever() {
    let server = Server::start(|_, before| Reply::new(if before < 3 { 500 } else { 201 })).await;
    let put = Bytes::from_static(DOCUMENT);
    server.anonymous().put_manifest(&server.tag(), MEDIA_MANIFEST, put.clone()).await.unwrap();
    assert_eq!(server.lines(), vec!["PUT /v2/acme/app/manifests/v1"; 4]);
    assert!(server.seen().iter().all(|request| request.body == DOCUMENT));
    assert_eq!(server.seen()[3].header("content-type"), MEDIA_MANIFEST);

    let broken = Server::start(|_, _| Reply::new(503).body("try later")).await;
    let error = broken.anonymous().put_manifest(&broken.tag(), MEDIA_MANIFEST, put).await.unwrap_err();
    let want = format!("failed to push manifest `{}`: the registry answered 503: try later", broken.tag());
    assert_eq!(error.to_string(), want);
    assert_eq!(broken.lines().len(), 5);
}

#[tokio::test]
async fn lasting_refusals_are_not_repeated() {
    let server = Server::start(|_, _| {
        Reply::new(400).body(r#"{"errors":[{"code":"MANIFEST_INVALID","message":"no config"}]}"#)
    })
    .await;
    let put = Bytes::from_static(DOCUMENT);
    let error = server.anonymous().put_manifest(&server.tag(), MEDIA_MANIFEST, put).await.unwrap_err();
    assert!(error.to_string().ends_with("the registry answered 400: MANIFEST_INVALID: no config"));
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn an_unreachable_registry_is_named_without_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = HttpRegistry::new(RegistryOptions { retry: quick(), ..RegistryOptions::default() });
    let reference: Reference = format!("{host}/acme/app:v1").parse().unwrap();
    let error = client.head(&reference).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::Transport(_)));
    let text = error.to_string();
    assert!(text.contains("Connection refused") && !text.contains("http://"), "{text}");
}

#[tokio::test]
async fn head_falls_back_to_get_where_the_digest_is_missing() {
    let server =
        Server::start(|_, _| Reply::new(200).with("content-type", MEDIA_MANIFEST).body(DOCUMENT)).await;
    let found = server.anonymous().head(&server.tag()).await.unwrap().unwrap();
    assert_eq!(found.digest, Digest::of(DOCUMENT));
    assert_eq!(server.lines(), ["HEAD /v2/acme/app/manifests/v1", "GET /v2/acme/app/manifests/v1"]);
    let accept = server.seen()[1].header("accept").to_owned();
    assert!(accept.contains("image.index.v1") && accept.contains("manifest.list.v2"), "{accept}");
}

#[tokio::test]
async fn what_is_not_there_is_none_and_no_tags() {
    let server = Server::start(|_, _| {
        Reply::new(404).body(r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository not known"}]}"#)
    })
    .await;
    let client = server.anonymous();
    assert!(client.head(&server.tag()).await.unwrap().is_none());
    assert!(client.manifest(&server.tag()).await.unwrap().is_none());
    assert!(!client.has_blob(&server.repository(), Digest::of(b"")).await.unwrap());
    assert!(client.tags(&server.repository()).await.unwrap().is_empty());
    let error = client.blob_bytes(&server.repository(), &blob(b"x")).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::NotFound));
}

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused() {
    let server = Server::start(|_, _| Reply::new(200).body(DOCUMENT)).await;
    let wanted = server.repository().digest(Digest::of(b"other"));
    let error = server.anonymous().manifest(&wanted).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::Mismatch { got, .. } if got == Digest::of(DOCUMENT)));
}

#[tokio::test]
async fn tags_are_read_through_every_page() {
    let server = Server::start(|request, _| {
        if request.target.contains("last=b") {
            Reply::new(200).body(r#"{"name":"acme/app","tags":["c"]}"#)
        } else {
            let next = r#"</v2/acme/app/tags/list?last=b&n=2>; rel="next""#;
            Reply::new(200).with("link", next).body(r#"{"name":"acme/app","tags":["a","b"]}"#)
        }
    })
    .await;
    assert_eq!(server.anonymous().tags(&server.repository()).await.unwrap(), ["a", "b", "c"]);
    let circle = Server::start(|_, _| {
        Reply::new(200)
            .with("link", r#"</v2/acme/app/tags/list?n=1000>; rel="next""#)
            .body(r#"{"tags":null}"#)
    })
    .await;
    let error = circle.anonymous().tags(&circle.repository()).await.unwrap_err();
    assert!(error.to_string().contains("do not end"));
}

/// An upload server: mounts as told, then takes PUTs.
fn uploads(mount: u16, fail_puts: usize) -> impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static {
    move |request, before| match request.method.as_str() {
        "HEAD" => Reply::new(404),
        "POST" if request.target.contains("mount=") && mount == 201 => Reply::new(201),
        "POST" if request.target.contains("mount=") && mount != 202 => Reply::new(mount),
        "POST" => Reply::new(202).with("location", "/v2/acme/app/blobs/uploads/u1?_state=a%2Bb%3D"),
        "PUT" if before < fail_puts => Reply::new(if before == 0 { 502 } else { 0 }),
        "PUT" => Reply::new(201),
        "DELETE" => Reply::new(204),
        _ => Reply::new(405),
    }
}

async fn push(
    server: &Server,
    descriptor: &Descriptor,
    source: Option<BlobSource>,
) -> (Result<Upload, RegistryErrorKind>, u64) {
    let (moved, progress) = count();
    let from = format!("{}/acme/other", server.host).parse().unwrap();
    let client = server.anonymous();
    let done = client.push_blob(&server.repository(), descriptor, Some(&from), source, progress).await;
    (done.map_err(|error| error.kind), moved.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_mount_moves_no_bytes() {
    let bytes = data();
    let server = Server::start(uploads(201, 0)).await;
    let (done, moved) = push(&server, &blob(&bytes), None).await;
    assert_eq!((done.unwrap(), moved), (Upload::Mounted, 0));
    let post = server.seen().into_iter().find(|request| request.method == "POST").unwrap();
    let digest = Digest::of(&bytes).hex();
    assert_eq!(post.target, format!("/v2/acme/app/blobs/uploads/?mount=sha256%3A{digest}&from=acme%2Fother"));
    assert_eq!(post.header("content-length"), "0");
}

#[tokio::test]
async fn a_refused_mount_goes_on_as_an_upload() {
    let bytes = data();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blob");
    std::fs::write(&file, &bytes).unwrap();
    for (source, mount, posts) in [
        (BlobSource::Bytes(bytes.clone().into()), 202, 1),
        (BlobSource::File(file.clone()), 202, 1),
        (BlobSource::File(file.clone()), 403, 2),
    ] {
        let server = Server::start(uploads(mount, 0)).await;
        let (done, moved) = push(&server, &blob(&bytes), Some(source)).await;
        assert_eq!((done.unwrap(), moved), (Upload::Sent { bytes: 300_000 }, 300_000));
        let seen = server.seen();
        let put = seen.last().unwrap();
        let digest = Digest::of(&bytes).hex();
        assert_eq!(
            put.target,
            format!("/v2/acme/app/blobs/uploads/u1?_state=a%2Bb%3D&digest=sha256%3A{digest}")
        );
        assert_eq!(put.header("content-length"), "300000");
        assert_eq!(put.header("transfer-encoding"), "");
        assert!(put.body == bytes);
        assert_eq!(seen.iter().filter(|request| request.method == "POST").count(), posts);
    }
}

#[tokio::test]
async fn a_refused_mount_without_bytes_is_cancelled() {
    let server = Server::start(uploads(202, 0)).await;
    let (done, _) = push(&server, &blob(b"x"), None).await;
    assert!(matches!(done, Err(RegistryErrorKind::NotMounted)));
    assert_eq!(server.lines().last().unwrap(), "DELETE /v2/acme/app/blobs/uploads/u1");
}

#[tokio::test]
async fn an_upload_that_fails_looks_again_and_starts_over() {
    let bytes = data();
    let server = Server::start(uploads(202, 2)).await;
    let (done, moved) = push(&server, &blob(&bytes), Some(BlobSource::Bytes(bytes.clone().into()))).await;
    assert_eq!((done.unwrap(), moved), (Upload::Sent { bytes: 300_000 }, 300_000));
    let methods: String = server.seen().iter().map(|request| request.method.clone() + " ").collect();
    assert_eq!(methods, "HEAD POST PUT DELETE HEAD POST PUT HEAD POST PUT ");
    assert!(server.seen().last().unwrap().body == bytes);

    // The first PUT was stored although its answer was an error.
    let stored = Server::start(|request, before| match request.method.as_str() {
        "HEAD" => Reply::new(if before == 0 { 404 } else { 200 }),
        _ => uploads(202, 1)(request, before),
    })
    .await;
    let (done, _) = push(&stored, &blob(&bytes), Some(BlobSource::Bytes(bytes.into()))).await;
    assert_eq!(done.unwrap(), Upload::Sent { bytes: 300_000 });
    assert_eq!(stored.lines().iter().filter(|line| line.starts_with("PUT")).count(), 1);
}

#[tokio::test]
async fn a_blob_that_is_there_is_left_alone() {
    let server = Server::start(|_, _| Reply::new(200)).await;
    let (done, moved) = push(&server, &blob(b"x"), None).await;
    assert_eq!((done.unwrap(), moved, server.lines().len()), (Upload::Existed, 0, 1));
}

#[tokio::test]
async fn a_denied_upload_says_so() {
    let server = Server::start(|request, _| match request.method.as_str() {
        "HEAD" => Reply::new(404),
        _ => Reply::new(403).body(r#"{"errors":[{"code":"DENIED","message":"no push for you"}]}"#),
    })
    .await;
    let descriptor = blob(b"x");
    let source = Some(BlobSource::Bytes(Bytes::from_static(b"x")));
    let client = server.anonymous();
    let error =
        client.push_blob(&server.repository(), &descriptor, None, source, count().1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to push blob `{}` to `{}`: access denied: the registry answered 403: DENIED: no push for you",
            descriptor.digest,
            server.repository()
        )
    );
}

#[tokio::test]
async fn a_local_file_that_is_not_the_blob_is_named() {
    let server = Server::start(uploads(202, 0)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blob");
    let missing = push(&server, &blob(b"x"), Some(BlobSource::File(file.clone()))).await.0.unwrap_err();
    assert!(matches!(missing, RegistryErrorKind::File { .. }));
    std::fs::write(&file, b"xyz").unwrap();
    let longer = push(&server, &blob(b"x"), Some(BlobSource::File(file))).await.0.unwrap_err();
    assert!(longer.to_string().ends_with("has 3 bytes, its descriptor says 1"), "{longer}");
}

#[tokio::test]
async fn a_broken_download_is_resumed_where_it_broke() {
    let bytes = data();
    let (all, wanted) = (bytes.clone(), bytes.clone());
    let server = Server::start(move |request, _| match request.header("range") {
        "" => Reply::new(200).body(all.clone()).cut(100_000),
        range => {
            let start: usize = range["bytes=".len()..].trim_end_matches('-').parse().unwrap();
            let reply = Reply::new(206)
                .with("content-range", format!("bytes {start}-{}/{}", all.len() - 1, all.len()))
                .body(&all[start..]);
            if start < 200_000 { reply.cut(120_000) } else { reply }
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("blob");
    let (moved, progress) = count();
    let client = server.anonymous();
    client.fetch_blob(&server.repository(), &blob(&bytes), &target, progress).await.unwrap();
    assert!(std::fs::read(&target).unwrap() == wanted);
    assert_eq!(files(folder.path()), ["blob"]);
    assert_eq!(moved.load(Ordering::Relaxed), 300_000);
    let ranges: Vec<String> = server.seen().iter().map(|r| r.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=100000-", "bytes=220000-"]);
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_from_the_start() {
    let bytes = data();
    let all = bytes.clone();
    let server = Server::start(move |_, before| {
        let reply = Reply::new(200).body(all.clone());
        if before == 0 { reply.cut(100_000) } else { reply }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("blob");
    let (moved, progress) = count();
    server.anonymous().fetch_blob(&server.repository(), &blob(&bytes), &target, progress).await.unwrap();
    assert!(std::fs::read(&target).unwrap() == bytes);
    assert_eq!(moved.load(Ordering::Relaxed), 300_000);
}

#[tokio::test]
async fn a_blob_that_is_not_its_digest_leaves_nothing_behind() {
    let server = Server::start(|_, _| Reply::new(200).body("evil")).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("blob");
    let client = server.anonymous();
    let repository = server.repository();
    let good = client.fetch_blob(&repository, &blob(b"good"), &target, count().1).await.unwrap_err();
    assert!(matches!(good.kind, RegistryErrorKind::Mismatch { .. }));
    let short = client.fetch_blob(&repository, &blob(b"abc"), &target, count().1).await.unwrap_err();
    assert!(short.to_string().contains("more than the 3 bytes"));
    assert!(files(folder.path()).is_empty());
    let small = client.blob_bytes(&server.repository(), &blob(b"good")).await.unwrap_err();
    assert!(matches!(small.kind, RegistryErrorKind::Mismatch { .. }));
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn a_download_that_is_dropped_leaves_nothing_behind() {
    let all = data();
    let server =
        Server::start(move |_, _| Reply::new(200).with("content-length", "400000").body(all.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("blob");
    let client = server.anonymous();
    let descriptor = Descriptor::new("x", Digest::of(b""), 400_000);
    let repository = server.repository();
    let fetch = client.fetch_blob(&repository, &descriptor, &target, count().1);
    drop(tokio::time::timeout(Duration::from_millis(20), fetch).await);
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn a_redirect_elsewhere_does_not_carry_the_credential() {
    let bytes = data();
    let all = bytes.clone();
    let storage = Server::start(move |_, _| Reply::new(200).body(all.clone())).await;
    let elsewhere = format!("http://{}/bucket?signature=s3cr3t", storage.host);
    let server = Server::start(move |request, _| match request.header("authorization") {
        "" => Reply::new(401).with("www-authenticate", "Basic realm=\"x\""),
        _ => Reply::new(307).with("location", elsewhere.clone()),
    })
    .await;
    let client = server.client(server.ann());
    let got = client.blob_bytes(&server.repository(), &blob(&bytes)).await.unwrap();
    assert!(got == bytes);
    assert_eq!(storage.seen()[0].header("authorization"), "");
    assert_eq!(storage.seen()[0].target, "/bucket?signature=s3cr3t");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_the_credential_and_circles_end() {
    let server = Server::start(|request, _| match request.header("authorization") {
        "" => Reply::new(401).with("www-authenticate", "Basic realm=\"x\""),
        _ if request.target.starts_with("/moved") => manifest(),
        _ => Reply::new(301).with("location", "/moved"),
    })
    .await;
    assert!(server.client(server.ann()).head(&server.tag()).await.unwrap().is_some());
    let circle = Server::start(|request, _| Reply::new(302).with("location", request.target.clone())).await;
    let error = circle.anonymous().manifest(&circle.tag()).await.unwrap_err();
    assert!(matches!(error.kind, RegistryErrorKind::Status { status: 302, .. }), "{error}");
    assert_eq!(circle.lines().len(), 6);
}

#[tokio::test]
async fn requests_keep_to_the_budget_of_their_host() {
    let server = Server::start(|_, _| manifest()).await;
    let settings = HostSettings { requests_per_second: Some(20.0), ..HostSettings::default() };
    let client = HttpRegistry::new(RegistryOptions {
        settings: BTreeMap::from([(server.host.clone(), settings)]),
        retry: quick(),
        ..RegistryOptions::default()
    });
    let (tag, start) = (server.tag(), Instant::now());
    let heads = (0..50).map(|_| client.head(&tag));
    let all = futures_util::future::join_all(heads).await;
    assert!(all.into_iter().all(|found| found.is_ok()));
    // 40 at once, then 20 a second.
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_silent_registry_counts_as_broken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let retry = RetrySettings { tries: 1, idle: Duration::from_millis(100), ..quick() };
    let client = HttpRegistry::new(RegistryOptions { retry, ..RegistryOptions::default() });
    let reference: Reference = format!("{host}/acme/app:v1").parse().unwrap();
    let error = client.head(&reference).await.unwrap_err().to_string();
    assert!(error.ends_with("nothing moved for 0.1 s"), "{error}");
    drop(listener);
}

#[tokio::test]
async fn a_registry_with_a_rate_limit_is_worked_more_slowly() {
    // 20 requests a second, counted in windows of half a second, and no Retry-After.
    let windows: Mutex<BTreeMap<u128, u32>> = Mutex::default();
    let start = Instant::now();
    let server = Server::start(move |_, _| {
        let mut windows = windows.lock().unwrap();
        let used = windows.entry(start.elapsed().as_millis() / 500).or_default();
        *used += 1;
        if *used > 10 { Reply::new(429) } else { manifest() }
    })
    .await;
    let (client, tag) = (server.anonymous(), server.tag());
    let all = futures_util::future::join_all((0..60).map(|_| client.head(&tag))).await;
    let failed = all.iter().filter(|found| found.is_err()).count();
    assert_eq!(failed, 0, "after {:?} and {} requests", start.elapsed(), server.lines().len());
}

/// ECR's answer where tags of a repository are immutable, whatever the tag has.
#[tokio::test]
async fn an_immutable_tag_with_the_same_digest_is_success_and_with_another_one_a_refusal() {
    let server = Server::start(|request, _| match request.method.as_str() {
        "PUT" => Reply::new(400).body(
            r#"{"errors":[{"code":"TAG_INVALID","message":"The image tag 'v1' already exists in the 'a/b' repository and cannot be overwritten because the tag is immutable."}]}"#,
        ),
        _ => manifest(),
    })
    .await;
    let client = server.anonymous();
    let (has, same) = client.manifest(&server.tag()).await.unwrap().unwrap();
    client.put_manifest(&server.tag(), MEDIA_MANIFEST, same).await.unwrap();
    let other = Bytes::from_static(br#"{"schemaVersion":2,"layers":[]}"#);
    let error = client.put_manifest(&server.tag(), MEDIA_MANIFEST, other.clone()).await.unwrap_err();
    let wanted = Digest::of(&other);
    assert!(matches!(error.kind, RegistryErrorKind::Immutable { .. }), "{error}");
    assert!(error.to_string().contains(&has.digest.to_string()), "{error}");
    assert!(error.to_string().contains(&wanted.to_string()), "{error}");
}
