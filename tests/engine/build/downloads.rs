//! Downloads: mirrors in order, the sha256 as the judge, archives.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::project::registry::{digest, file, project, tool};
use crate::project::{NO_ENGINE, Project};

/// Files over HTTP; remembers which were asked for.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        let files: Arc<HashMap<&str, Vec<u8>>> = Arc::new(files.into_iter().collect());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (files.clone(), log.clone());
                std::thread::spawn(move || answer(&stream, &files, &log));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn answer(mut stream: &TcpStream, files: &HashMap<&str, Vec<u8>>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    log.lock().unwrap().push(name.clone());
    let (status, body) = match files.get(name.as_str()) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has gone asks again or fails by itself.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn downloading(server: &Server, download: &str) -> Project {
    let mut project = project("");
    project.engine = NO_ENGINE.into();
    project.name("SERVER", &server.address);
    let text = project.read("builds.toml");
    let image = "[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"got\"]\n";
    project.write("builds.toml", &format!("{text}[layers.got]\ndownloads = [{download}]\n{image}"));
    project
}

#[test]
fn the_next_mirror_is_asked_when_one_has_nothing() {
    let server = Server::start(vec![("second/tool", b"the tool".to_vec())]);
    let project = downloading(
        &server,
        r#"{ urls = ["$SERVER/first/tool", "$SERVER/second/tool"], path = "/bin/tool", mode = "0755" }"#,
    );
    let first = project.push(&[]);
    assert_eq!(file(&project.fill("$REPO/app:1"), "bin/tool"), "the tool");
    assert_eq!(server.asked(), ["first/tool", "second/tool"]);
    let lock = project.read("builds.lock");
    assert!(lock.contains("first/tool") && lock.contains("sha256 = \""), "{lock}");
    assert_eq!(project.push(&[]).digests(), first.digests());
    assert_eq!(server.asked(), Vec::<String>::new(), "what is locked and stored is not asked for again");
}

#[test]
fn a_download_that_no_mirror_has_is_a_failure() {
    let server = Server::start(Vec::new());
    let project = downloading(&server, r#"{ urls = ["$SERVER/a", "$SERVER/b"], path = "/bin/tool" }"#);
    let ended = project.run(&["build", "--push"]);
    assert!(matches!(ended.code, Some(1 | 3)), "{ended:?}");
    ended.says(&[
        "no mirror delivers the download",
        "/a`: the server answered 404",
        "/b`: the server answered 404",
        "help:",
    ]);
    assert_eq!(digest(&project.fill("$REPO/app:1")), None);
}

#[test]
fn a_wrong_sha256_is_a_failure_and_another_mirror_may_be_right() {
    let server = Server::start(vec![("bad", b"evil".to_vec()), ("good", b"good".to_vec())]);
    let sum = tool("sh", &["-c", "printf good | sha256sum | cut -c 1-64"]);
    let alone = format!(r#"{{ url = "$SERVER/bad", path = "/bin/tool", sha256 = "{sum}" }}"#);
    let project = downloading(&server, &alone);
    let (ended, report) = project.build(&["--push"], 1);
    ended.says(&["its sha256 is", &format!("wanted is {sum}")]);
    report.all("failed");

    let both =
        format!(r#"{{ urls = ["$SERVER/bad", "$SERVER/good"], path = "/bin/tool", sha256 = "{sum}" }}"#);
    let project = downloading(&server, &both);
    project.push(&[]);
    assert_eq!(file(&project.fill("$REPO/app:1"), "bin/tool"), "good");
}

#[test]
fn a_download_that_changed_under_its_url_is_refused() {
    let server = Server::start(vec![("tool", b"one".to_vec())]);
    let mut project = downloading(&server, r#"{ url = "$SERVER/tool", path = "/bin/tool" }"#);
    project.push(&[]);
    let lock = project.read("builds.lock");
    let other = Server::start(vec![("tool", b"two".to_vec())]);
    // The same lock with the other server's bytes behind the URL.
    project.write("builds.lock", &lock.replace(&server.address, &other.address));
    let text = project.read("builds.toml").replace(&server.address, &other.address);
    project.write("builds.toml", &text);
    project.store = "second".into();
    let (ended, _) = project.build(&["--push"], 1);
    ended.says(&["its sha256 is"]);
}

#[test]
fn members_are_taken_out_of_archives() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        cd "$1"
        mkdir -p pack/bin pack/share
        printf '#!/bin/sh\n' >pack/bin/tool; chmod 755 pack/bin/tool
        echo notes >pack/share/notes
        tar -czf pack.tgz pack
        tar -cf pack.tar pack
    "#;
    let place = directory.path().to_str().unwrap();
    tool("sh", &["-c", script, "sh", place]);
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let server = Server::start(vec![
        ("pack.tgz", read("pack.tgz")),
        ("pack.tar", read("pack.tar")),
        ("pack.zip", zip()),
    ]);
    let project = downloading(
        &server,
        r#"
  { url = "$SERVER/pack.tgz", path = "/one/tool", extract = { members = ["pack/bin/tool"] } },
  { url = "$SERVER/pack.tar", path = "/all/", extract = { strip = 1 } },
  { url = "$SERVER/pack.zip", path = "/zip/", extract = { members = ["z/file"] } },
"#,
    );
    project.push(&[]);
    let image = project.fill("$REPO/app:1");
    let mut paths = crate::project::registry::paths(&image);
    paths.retain(|p| !matches!(p.as_str(), "one" | "all" | "zip"));
    paths.sort();
    assert_eq!(
        paths,
        ["all/bin", "all/bin/tool", "all/share", "all/share/notes", "one/tool", "zip/z", "zip/z/file"]
    );
    assert_eq!(file(&image, "zip/z/file"), "zipped");
    assert_eq!(file(&image, "all/share/notes"), "notes");

    let missing = downloading(
        &server,
        r#"{ url = "$SERVER/pack.tgz", path = "/t", extract = { members = ["pack/none"] } }"#,
    );
    let (ended, _) = missing.build(&["--push"], 1);
    ended.says(&["pack/none", "help: correct `members`"]);
}

/// A zip with `z/file` and `z/other`, stored.
fn zip() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("z/file", "zipped\n"), ("z/other", "other\n")] {
        writer.start_file(name, options).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn the_stand_in_tools_are_fetched() {
    let server = Server::start(Vec::new());
    let url = "$FILES/public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template";
    let project = downloading(&server, &format!(r#"{{ url = "{url}", path = "/bin/go-template" }}"#));
    project.push(&[]).all("built");
    assert!(
        crate::project::registry::paths(&project.fill("$REPO/app:1")).contains(&"bin/go-template".to_owned())
    );
}
