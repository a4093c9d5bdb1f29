//! A token service that grants by user, and a registry that believes it.
//!
//! Source: the distribution project's token specification (jwt.md, token.md, oauth.md).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::servers::{Running, registry, tool};

/// Who may do what.
#[derive(Clone)]
pub struct User {
    pub name: &'static str,
    pub password: &'static str,
    /// Fronts of repositories, and the actions there.
    pub may: &'static [(&'static str, &'static str)],
}

/// What was asked: user, scopes.
pub type Asked = Arc<Mutex<Vec<(String, Vec<String>)>>>;

/// A registry and its token service.
pub struct Guarded {
    pub registry: Running,
    pub asked: Asked,
}

/// Starts both. Identity tokens are `refresh-` and the password.
#[track_caller]
pub fn guarded(users: &'static [User]) -> Guarded {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let subject = ["-subj", "/CN=tokens", "-keyout", "key.pem", "-out", "cert.pem"];
    tool(
        "openssl",
        &path,
        &[&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"][..], &subject].concat(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let asked = Asked::default();
    let (noted, keys) = (asked.clone(), path);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (noted, keys) = (noted.clone(), keys.clone());
            std::thread::spawn(move || answer(&stream, users, &keys, &noted));
        }
    });
    let auth = format!(
        "auth:\n  token: {{realm: \"{realm}\", service: registry.test, issuer: issuer.test, rootcertbundle: $DIR/cert.pem}}\n"
    );
    Guarded { registry: registry(directory, &auth), asked }
}

fn answer(mut stream: &TcpStream, users: &[User], keys: &Path, asked: &Asked) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let (mut basic, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => basic = value.trim().trim_start_matches("Basic ").to_owned(),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let target = first.split(' ').nth(1).unwrap_or_default();
    let form = match first.starts_with("POST") {
        true => String::from_utf8_lossy(&body).into_owned(),
        false => target.split_once('?').unwrap_or_default().1.to_owned(),
    };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let all = |name: &str| -> Vec<String> {
        pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    };
    let pair =
        STANDARD.decode(basic).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let refresh = all("refresh_token").into_iter().next();
    let is = |user: &&User| match &refresh {
        Some(token) => *token == format!("refresh-{}", user.password),
        None => pair == format!("{}:{}", user.name, user.password),
    };
    let (status, document) = match users.iter().find(is) {
        None => ("401 Unauthorized", json!({ "details": format!("no such user: {pair}") })),
        Some(user) => {
            let scopes: Vec<String> =
                all("scope").iter().flat_map(|scope| scope.split(' ').map(str::to_owned)).collect();
            asked.lock().unwrap().push((user.name.to_owned(), scopes.clone()));
            let access: Vec<Value> = scopes.iter().filter_map(|scope| granted(user, scope)).collect();
            let token = token(keys, user.name, &access);
            let name = if refresh.is_some() { "access_token" } else { "token" };
            ("200 OK", json!({ name: token, "expires_in": 300 }))
        }
    };
    let text = document.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    let _ = stream.write_all((head + &text).as_bytes());
}

/// What a user gets of a scope.
fn granted(user: &User, scope: &str) -> Option<Value> {
    let mut parts = scope.splitn(3, ':');
    let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
    let (_, may) = user.may.iter().find(|(front, _)| name.starts_with(front))?;
    let actions: Vec<&str> =
        actions.split(',').filter(|action| may.split(',').any(|m| m == *action)).collect();
    Some(json!({ "type": kind, "name": name, "actions": actions }))
}

fn token(keys: &Path, user: &str, access: &[Value]) -> String {
    let certificate = std::fs::read_to_string(keys.join("cert.pem")).unwrap();
    let der: String = certificate.lines().filter(|line| !line.starts_with("---")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let claims = json!({
        "iss": "issuer.test", "sub": user, "aud": "registry.test", "exp": now + 300, "nbf": now - 10,
        "iat": now, "jti": format!("{now}-{user}"), "access": access,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let key: PathBuf = keys.join("key.pem");
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", key.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(output.stdout))
}
