//! `railyard delegate pin` against a server with Harness's documented payloads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::project::{Ended, Project};

const KEY: &str = "pat.AbC123.0123456789abcdef.secretpart";
const LATEST: &str = r#"{"metaData": {}, "resource": {"latestSupportedVersion": "24.04.82804",
    "latestSupportedMinimalVersion": "24.04.82804.minimal"}, "responseMessages": []}"#;
const PINNED: &str = r#"{"metaData": {}, "resource": "Updated Delegate image tag to acme/delegate:1", "responseMessages": []}"#;

/// Answers GET and PUT; remembers the requests with their headers.
struct Manager {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn new(get: (&'static str, &'static str), put: (&'static str, &'static str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = requests.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let length = head
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.lines().next().unwrap().trim().parse().unwrap());
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let (status, answer) = if head.starts_with("GET") { get } else { put };
                seen.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
                let text = format!(
                    "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{answer}",
                    answer.len()
                );
                let _ = stream.write_all(text.as_bytes());
            }
        });
        Self { url, requests }
    }

    /// The first lines of the requests so far.
    fn lines(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.lines().next().unwrap().to_owned())
            .collect()
    }
}

const IMAGE: &str = "registry.example.com/acme/delegate:24.04.82804-full@sha256:1111111111111111111111111111111111111111111111111111111111111111";

#[track_caller]
fn pin(manager: &Manager, variable: Option<&str>, arguments: &[&str]) -> Ended {
    let mut project = Project::new("");
    std::fs::remove_file(project.path("builds.toml")).unwrap();
    if let Some(variable) = variable {
        project.set(variable, KEY);
    }
    for other in ["HARNESS_API_KEY", "HARNESS_TOKEN", "HARNESS_ACCOUNT_ID", "HARNESS_URL"] {
        if Some(other) != variable {
            project.set(other, "");
        }
    }
    let all = [&["delegate", "pin", IMAGE, "--account", "acc-1", "--url", &manager.url], arguments].concat();
    let ended = project.run(&all);
    for text in [&ended.out, &ended.err] {
        assert!(!text.contains("secretpart"), "the key is shown: {text}");
    }
    ended
}

#[test]
fn nothing_is_sent_without_apply() {
    let manager = Manager::new(("200 OK", LATEST), ("200 OK", PINNED));
    let ended = pin(&manager, Some("HARNESS_API_KEY"), &["--tag", "a b", "--tag", "c"]).code(0);
    let ended = ended
        .says(&["latest supported version: 24.04.82804, minimal 24.04.82804.minimal", "--apply sends it"]);
    let wanted = format!(
        "PUT {}/ng/api/delegate-setup/override-delegate-tag?accountIdentifier=acc-1&delegateTag=registry.example.com%2F\
         acme%2Fdelegate%3A24.04.82804-full%40sha256%3A{}&tags=a+b&tags=c&validTillNextRelease=false\n",
        manager.url,
        "1".repeat(64)
    );
    assert_eq!(ended.out, wanted);
    assert_eq!(
        manager.lines(),
        ["GET /ng/api/delegate-setup/latest-supported-version?accountIdentifier=acc-1 HTTP/1.1"]
    );
}

#[test]
fn without_a_key_it_is_shown_and_nobody_is_asked() {
    let manager = Manager::new(("200 OK", LATEST), ("200 OK", PINNED));
    pin(&manager, None, &[]).code(0).prints(&["PUT "]).says(&["Harness was not asked"]);
    pin(&manager, None, &["--apply"]).code(3).says(&["neither HARNESS_API_KEY nor HARNESS_TOKEN is set"]);
    assert_eq!(manager.lines(), Vec::<String>::new());
}

#[test]
fn apply_sends_the_key_or_the_token_in_its_header() {
    for (variable, header) in [
        ("HARNESS_API_KEY", format!("x-api-key: {KEY}")),
        ("HARNESS_TOKEN", format!("authorization: Bearer {KEY}")),
    ] {
        let manager = Manager::new(("200 OK", LATEST), ("200 OK", PINNED));
        let arguments = [
            "--apply",
            "--org",
            "o",
            "--project",
            "p",
            "--valid-for-days",
            "90",
            "--valid-till-next-release",
        ];
        let ended = pin(&manager, Some(variable), &arguments).code(0);
        assert_eq!(ended.out, "Updated Delegate image tag to acme/delegate:1\n");
        let requests = manager.requests.lock().unwrap();
        assert_eq!(requests.len(), 2);
        assert!(requests[1].starts_with("PUT /ng/api/delegate-setup/override-delegate-tag?accountIdentifier=acc-1&orgIdentifier=o&projectIdentifier=p&delegateTag="), "{}", requests[1].len());
        assert!(requests[1].contains("&validForDays=90&validTillNextRelease=true HTTP/1.1"));
        assert!(requests.iter().all(|request| request.contains(&header)), "{variable}");
    }
}

#[test]
fn empty_null_and_unknown_answers_are_understood() {
    for answer in [
        "{}",
        "null",
        "",
        r#"{"resource": null}"#,
        r#"{"resource": {"latestSupportedVersion": null, "x": 1}}"#,
    ] {
        let manager = Manager::new(("200 OK", answer), ("200 OK", answer));
        let ended = pin(&manager, Some("HARNESS_API_KEY"), &["--apply"]).code(0);
        let ended = ended.says(&["note: Harness names no supported version"]);
        assert!(
            ended.out.starts_with("pinned registry.example.com/acme/delegate:24.04.82804-full"),
            "{}",
            ended.out
        );
    }
    let latest = r#"{"resource": {"latestSupportedVersion": "24.03.1", "new": {"a": [1]}}, "more": true}"#;
    let manager = Manager::new(("200 OK", latest), ("200 OK", PINNED));
    pin(&manager, Some("HARNESS_API_KEY"), &[]).code(0).says(&["is newer than 24.03.1"]);
}

#[test]
fn refusals_say_why_and_never_the_key() {
    const ECHO: &str = r#"{"status": "ERROR", "code": "INVALID_TOKEN", "message": "no pat.AbC123.0123456789abcdef.secretpart here"}"#;
    const MESSAGES: &str = r#"{"metaData": {}, "resource": null, "responseMessages": [
        {"code": "INVALID_REQUEST", "level": "ERROR", "message": "tag\nis unknown"}]}"#;
    let cases: [(&str, &str, &[&str]); 7] = [
        ("401 Unauthorized", ECHO, &["the server answered 401", "no … here", "help: check the key or token"]),
        ("400 Bad Request", MESSAGES, &["400 Bad Request: tag is unknown", "help:"]),
        ("500 Internal Server Error", "<html>", &["the server answered 500", "help:"]),
        ("302 Found", "", &["the server answered 302", "help: give the URL that it redirects to"]),
        ("200 OK", "<html>", &["the answer is no JSON", "is this Harness Manager?"]),
        ("200 OK", MESSAGES, &["the server refuses: tag is unknown"]),
        ("200 OK", ECHO, &["the server refuses: no … here"]),
    ];
    for (status, body, wanted) in cases {
        let manager = Manager::new(("200 OK", LATEST), (status, body));
        let ended = pin(&manager, Some("HARNESS_API_KEY"), &["--apply"]).code(3).says(wanted);
        assert_eq!(ended.out, "", "{status}");
        let manager = Manager::new((status, body), ("200 OK", PINNED));
        pin(&manager, Some("HARNESS_API_KEY"), &["--apply"]).code(3).says(wanted);
        let lines = manager.lines();
        assert!(!lines.is_empty(), "{status}");
        let pins = lines.iter().filter(|line| line.starts_with("PUT")).count();
        assert_eq!(pins, 0, "nothing is pinned when Harness could not be asked");
    }
}

#[test]
fn a_key_does_not_leave_by_http() {
    let project = {
        let mut project = Project::new("");
        project.set("HARNESS_API_KEY", KEY);
        project.set("HARNESS_TOKEN", "");
        project
    };
    let url = "http://harness.example.com";
    let ended = project.run(&["delegate", "pin", IMAGE, "--account", "a", "--url", url, "--apply"]);
    ended.code(2).says(&["the key would be readable", "help:"]);
    let account = project.run(&["delegate", "pin", IMAGE, "--url", url]);
    account.code(2).says(&["--account"]);
}
