//! Runs in real engines: every engine in `RAILYARD_TEST_ENGINES` (socket addresses separated by
//! spaces; `dev/env` sets it). They fail without one, and without the development registry.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use railyard::engine::{
    Collect, DockerEngine, Engine, EngineError, LineSink, RunOutput, RunRequest, SecretValue, TarSink,
};
use railyard::oci::{Digest, Platform, Reference};

const PYTHON: &str = "sam/build-python3.11:1.143.0-20250822194415-x86_64";

/// An entry of a tar: what the tests look at.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    kind: char,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    link: String,
    content: Vec<u8>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

type Tree = BTreeMap<String, Entry>;

struct Outcome {
    result: Result<RunOutput, EngineError>,
    lines: Vec<String>,
    tree: Option<Tree>,
}

impl Outcome {
    #[track_caller]
    fn ok(&self) -> &RunOutput {
        self.result.as_ref().unwrap_or_else(|error| panic!("{error}\n{:#?}", self.lines))
    }

    #[track_caller]
    fn tree(&self) -> &Tree {
        let output = self.ok();
        assert_eq!(output.exit_code, 0, "{:#?}", self.lines);
        self.tree.as_ref().expect("something was collected")
    }
}

fn engines() -> Vec<Arc<DockerEngine>> {
    let engines = std::env::var("RAILYARD_TEST_ENGINES").unwrap_or_default();
    let engines: Vec<_> =
        engines.split_whitespace().map(|host| Arc::new(DockerEngine::connect(Some(host)))).collect();
    assert!(
        !engines.is_empty(),
        "RAILYARD_TEST_ENGINES is not set: bring up engines with dev/up, then eval \"$(dev/env)\""
    );
    engines
}

fn registry() -> String {
    std::env::var("RAILYARD_DEV_REGISTRY").unwrap_or_else(|_| "127.0.0.1:5000".to_owned())
}

/// The base image by digest, as the registry has it.
async fn base_reference() -> Reference {
    let tagged: Reference = format!("{}/{PYTHON}", registry()).parse().unwrap();
    let name = &tagged.name;
    let url = format!("http://{}/v2/{}/manifests/{}", name.registry, name.repository, tagged.selector());
    let accept = "application/vnd.oci.image.manifest.v1+json, \
        application/vnd.docker.distribution.manifest.v2+json";
    let answer = reqwest::Client::new()
        .head(url)
        .header("Accept", accept)
        .send()
        .await
        .expect("the development registry answers")
        .error_for_status()
        .unwrap();
    let digest: Digest = answer.headers()["docker-content-digest"].to_str().unwrap().parse().unwrap();
    Reference { digest: Some(digest), ..tagged }
}

async fn base(engine: &DockerEngine) -> String {
    engine.pull(&base_reference().await, &Platform::linux_amd64(), None).await.unwrap()
}

fn labels(test: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("railyard.test".to_owned(), test.to_owned()),
        ("railyard.test.process".to_owned(), std::process::id().to_string()),
    ])
}

fn request(image: &str, script: &str) -> RunRequest {
    RunRequest {
        image: image.to_owned(),
        command: ["/bin/sh", "-ec", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        user: None,
        workdir: None,
        memory: None,
        cpus: None,
        network: "none".to_owned(),
        timeout: Some(Duration::from_secs(120)),
        caches: BTreeMap::new(),
        secrets: BTreeMap::new(),
        collect: Collect::Nothing,
        labels: labels("run"),
    }
}

fn keep(image: &str, script: &str, paths: &[&str]) -> RunRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    RunRequest { collect: Collect::Paths(paths), ..request(image, script) }
}

fn read_tree(tar: &mut dyn Read) -> std::io::Result<Tree> {
    let mut tree = Tree::new();
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
        let header = entry.header().clone();
        let mut xattrs = BTreeMap::new();
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            tar::EntryType::Regular => 'f',
            tar::EntryType::Fifo => 'p',
            _ => '?',
        };
        let entry = Entry {
            kind,
            mode: header.mode()? & 0o7777,
            owner: (header.uid()?, header.gid()?),
            mtime: header.mtime()?,
            link: link.unwrap_or_default(),
            content,
            xattrs,
        };
        let before = tree.insert(name.trim_end_matches('/').to_owned(), entry);
        assert!(before.is_none(), "`{name}` is there twice");
    }
    Ok(tree)
}

async fn run(engine: &DockerEngine, request: RunRequest) -> Outcome {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let tree = Arc::new(Mutex::new(None));
    let line_sink: LineSink = {
        let lines = Arc::clone(&lines);
        Box::new(move |line| lines.lock().unwrap().push(line.to_owned()))
    };
    let tar_sink: TarSink = {
        let tree = Arc::clone(&tree);
        Box::new(move |tar| {
            *tree.lock().unwrap() = Some(read_tree(tar)?);
            Ok(())
        })
    };
    let result = engine.run(request, line_sink, tar_sink).await;
    // A test's runtime ends before what goes on in the background.
    engine.settle().await;
    let lines = lines.lock().unwrap().clone();
    let tree = tree.lock().unwrap().take();
    Outcome { result, lines, tree }
}

/// Runs the Docker client against this engine.
fn docker(engine: &DockerEngine, arguments: &[&str]) -> String {
    let output = std::process::Command::new("docker")
        .args(["-H", engine.endpoint()])
        .args(arguments)
        .output()
        .expect("the docker client is in PATH (dev/env)");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn containers(engine: &DockerEngine, test: &str) -> String {
    let mut arguments = vec!["ps".to_owned(), "-aq".to_owned()];
    for (key, value) in labels(test) {
        arguments.extend(["--filter".to_owned(), format!("label={key}={value}")]);
    }
    docker(engine, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_engine_says_what_it_is() {
    for engine in engines() {
        let info = engine.info().await.unwrap();
        assert_eq!(info.endpoint, engine.endpoint());
        assert!(info.version.contains('.') && info.cpus > 0 && info.memory > 0, "{info:?}");
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_named() {
    for host in ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1", "ftp://x"] {
        let error = DockerEngine::connect(Some(host)).info().await.unwrap_err();
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(host), "{error}");
    }
}

#[tokio::test]
async fn pulls_are_by_digest_joined_and_reuse_what_is_there() {
    let reference = base_reference().await;
    for engine in engines() {
        let platform = Platform::linux_amd64();
        let pull = || engine.pull(&reference, &platform, None);
        let (a, b, c) = tokio::join!(pull(), pull(), pull());
        let id = a.unwrap();
        assert!(id.starts_with("sha256:"));
        assert_eq!((b.unwrap(), c.unwrap()), (id.clone(), id.clone()));
        let began = Instant::now();
        assert_eq!(engine.pull(&reference, &platform, None).await.unwrap(), id);
        assert!(began.elapsed() < Duration::from_secs(2));

        let missing = format!("{}/sam/nothing-here@{}", registry(), Digest::of(b"x")).parse().unwrap();
        let error = engine.pull(&missing, &platform, None).await.unwrap_err();
        assert!(error.to_string().contains("nothing-here") && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn lines_come_whole_and_with_the_exit_code() {
    for engine in engines() {
        let image = base(&engine).await;
        let script = r#"printf 'first\nhalf'; sleep 0.2; printf ' line\r\n'; printf 'a\rb\n' >&2
            printf 'bad \377 byte\n'
            i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done; printf last; exit 7"#;
        for request in [request(&image, script), keep(&image, script, &["/etc"])] {
            let outcome = run(&engine, request).await;
            let output = outcome.ok();
            assert_eq!((output.exit_code, output.out_of_memory), (7, false));
            assert!(outcome.tree.is_none());
            let lines = &outcome.lines;
            for line in ["first", "half line", "b", "bad \u{fffd} byte", "line 0", "line 1999", "last"] {
                assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
            }
            assert_eq!(lines.len(), 2005, "{:?}", &lines[..8]);
        }
    }
}

#[tokio::test]
async fn lines_come_as_they_are_written() {
    for engine in engines() {
        let image = base(&engine).await;
        let began = Instant::now();
        let first = Arc::new(Mutex::new(None));
        let lines: LineSink = {
            let first = Arc::clone(&first);
            Box::new(move |_| {
                first.lock().unwrap().get_or_insert_with(|| began.elapsed());
            })
        };
        let request = keep(&image, "echo now; sleep 4; echo then", &["/etc/passwd"]);
        engine.run(request, lines, Box::new(|_| Ok(()))).await.unwrap();
        engine.settle().await;
        let (first, whole) = (first.lock().unwrap().unwrap(), began.elapsed());
        assert!(whole - first > Duration::from_secs(3), "{first:?} of {whole:?}");
    }
}

#[tokio::test]
async fn environment_user_and_directory_are_as_asked() {
    for engine in engines() {
        let image = base(&engine).await;
        let request = RunRequest {
            env: vec![("GREETING".into(), "a b=\"c\" $d".into())],
            user: Some("1234:5678".into()),
            workdir: Some("/usr/lib".into()),
            ..request(&image, r#"echo "$GREETING"; id -u; id -g; pwd; cat; hostname"#)
        };
        let outcome = run(&engine, request).await;
        assert_eq!(outcome.ok().exit_code, 0);
        assert_eq!(outcome.lines, ["a b=\"c\" $d", "1234", "5678", "/usr/lib", "railyard"]);
    }
}

#[tokio::test]
async fn an_image_can_be_started_as_it_is() {
    for engine in engines() {
        let image = base(&engine).await;
        // Its command is a shell, which ends at once without input.
        let outcome = run(&engine, RunRequest { command: Vec::new(), ..request(&image, "") }).await;
        assert_eq!(outcome.ok().exit_code, 0);
        let unknown = RunRequest { command: vec!["/no/such/program".into()], ..request(&image, "") };
        let error = run(&engine, unknown).await.result.unwrap_err();
        assert!(error.to_string().contains("/no/such/program") && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn too_much_memory_ends_a_run_and_is_told() {
    for engine in engines() {
        let image = base(&engine).await;
        let hungry = "python3 -c 'x = bytearray(300 << 20)'";
        for request in [request(&image, &format!("exec {hungry}")), keep(&image, hungry, &["/etc"])] {
            let outcome = run(&engine, RunRequest { memory: Some(64 << 20), ..request }).await;
            let output = outcome.ok();
            assert!(output.exit_code != 0 && output.out_of_memory, "{output:?} {:?}", outcome.lines);
        }
        let limited = RunRequest { memory: Some(64 << 20), cpus: Some(64.0), ..request(&image, "exit 3") };
        let outcome = run(&engine, limited).await;
        assert_eq!((outcome.ok().exit_code, outcome.ok().out_of_memory), (3, false));
    }
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_ended_and_removed() {
    for engine in engines() {
        let image = base(&engine).await;
        for request in [request(&image, "echo on; sleep 100"), keep(&image, "echo on; sleep 100", &["/etc"])]
        {
            let timeout = Some(Duration::from_secs(2));
            let began = Instant::now();
            let outcome = run(&engine, RunRequest { timeout, labels: labels("timeout"), ..request }).await;
            assert!(matches!(outcome.result, Err(EngineError::TimedOut(_))));
            assert!(began.elapsed() < Duration::from_secs(20));
            assert_eq!(outcome.lines, ["on"]);
            assert_eq!(containers(&engine, "timeout"), "");
        }
    }
}

#[tokio::test]
async fn a_run_without_network_has_none() {
    for engine in engines() {
        let image = base(&engine).await;
        let outcome = run(&engine, request(&image, "grep -c : /proc/net/dev")).await;
        assert_eq!(outcome.lines, ["1"]);
        let bridged = RunRequest { network: "bridge".into(), ..request(&image, "grep -c : /proc/net/dev") };
        assert_eq!(run(&engine, bridged).await.lines, ["2"]);
    }
}

#[tokio::test]
async fn secrets_are_there_for_the_command_and_nowhere_else() {
    let value = "päss 'word'\\0101 %s\n$x\n".repeat(40);
    for engine in engines() {
        let image = base(&engine).await;
        let script = "stat -c '%a %u' /run/secrets/*; sha256sum </run/secrets/token; \
            cat /run/secrets/empty; env; tr '\\0' ' ' </proc/1/cmdline; umask; cat; sleep 2";
        for (user, collect) in [
            (None, Collect::Nothing),
            (Some("1234".to_owned()), Collect::Nothing),
            (None, Collect::Paths(vec!["/etc/passwd".into(), "/run".into()])),
            (None, Collect::Changes),
        ] {
            let request = RunRequest {
                user: user.clone(),
                secrets: BTreeMap::from([
                    ("token".into(), SecretValue(value.clone())),
                    ("empty".into(), SecretValue(String::new())),
                ]),
                labels: labels("secrets"),
                collect: collect.clone(),
                ..request(&image, script)
            };
            let running = {
                let engine = Arc::clone(&engine);
                tokio::spawn(async move { run(&engine, request).await })
            };
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let container = containers(&engine, "secrets");
            let inspected = docker(&engine, &["inspect", container.trim()]);
            assert!(inspected.contains("/run/secrets"), "{inspected}");
            let outcome = running.await.unwrap();
            assert_eq!(outcome.ok().exit_code, 0, "{:?}", outcome.lines);
            let text = outcome.lines.join("\n");
            let owner = user.as_deref().unwrap_or("0");
            assert_eq!(outcome.lines[..2], [format!("600 {owner}"), format!("600 {owner}")]);
            assert!(text.contains(&Digest::of(value.as_bytes()).hex()), "{text}");
            assert!(text.contains("0022"), "{text}");
            for place in [&inspected, &text, &format!("{:?}", outcome.tree)] {
                assert!(!place.contains("word'"), "{place}");
            }
            if let Collect::Paths(_) = collect {
                assert!(outcome.tree().contains_key("run/secrets"));
            }
            let kept = outcome.tree.unwrap_or_default();
            assert!(!kept.keys().any(|path| path.starts_with("run/secrets/")), "{:?}", kept.keys());
        }
    }
}

#[tokio::test]
async fn a_cache_volume_outlives_its_run_and_is_not_kept() {
    for engine in engines() {
        let image = base(&engine).await;
        let volume = format!("railyard-test-{}", std::process::id());
        let script = "mkdir -p /w/c /w/d; echo seen: $(ls /w/c); echo x >>/w/c/file; echo y >/w/d/file";
        for (want, hide_tar) in [("seen:", false), ("seen: file", true)] {
            let script = if hide_tar { format!("rm /bin/tar; {script}") } else { script.to_owned() };
            let request = RunRequest {
                caches: BTreeMap::from([("/w/c".to_owned(), volume.clone())]),
                ..keep(&image, &script, &["/w"])
            };
            let outcome = run(&engine, request).await;
            let names: Vec<_> = outcome.tree().keys().map(String::as_str).collect();
            assert_eq!(names, ["w", "w/c", "w/d", "w/d/file"]);
            assert_eq!(outcome.lines, [want]);
        }
        docker(&engine, &["volume", "rm", &volume]);
    }
}

/// All that is special about files; `/k` and `/other` are kept.
const SPECIAL: &str = r#"
mkdir -p /k/d /other/below && cd /k
echo text >file && chmod 4751 file && ln file d/hard && ln file /other/hard
ln -s /nowhere dangling && ln -s d/hard soft && mkdir sticky && chmod 1777 sticky
echo owned >owned && chown 33:44 owned && chmod 0600 owned && mkfifo fifo
echo space >"it's a \$name é" && echo deep >/other/below/deep
n=$(printf 'n%.0s' $(seq 120)); mkdir $n && echo long >$n/$n && ln $n/$n $n/hard-to-long && ln -s $n/$n long-link
python3 - <<'PY'
import os
open("/k/cap", "w").write("capable")
os.setxattr("/k/cap", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
for directory in "/k", "/other":
    for path, directories, files in os.walk(directory, topdown=False):
        for name in files + directories:
            os.utime(path + "/" + name, (1_600_000_000.25, 1_600_000_000.75), follow_symlinks=False)
PY
touch -d @1600000000 /k /other
(while :; do date >/k/d/now; rm /k/d/now; done) >/dev/null 2>&1 &
"#;

#[tokio::test]
async fn kept_paths_are_faithful_with_the_images_tar_and_without() {
    for engine in engines() {
        let image = base(&engine).await;
        let paths = ["/k", "/other", "/k/d", "/k/dangling", "/etc/hosts"];
        let mut trees = Vec::new();
        for hide in ["", "rm /bin/tar", "printf '#!/bin/sh\nexit 2' >/bin/tar"] {
            let outcome = run(&engine, keep(&image, &format!("{SPECIAL}\n{hide}"), &paths)).await;
            let mut tree = outcome.tree().clone();
            // What was still writing.
            tree.remove("k/d/now");
            tree.remove("k/d");
            let long = "n".repeat(120);
            assert_eq!((tree["k"].kind, tree["k"].mtime), ('d', 1_600_000_000));
            assert_eq!((tree["k/dangling"].kind, tree["k/dangling"].link.as_str()), ('l', "/nowhere"));
            assert_eq!(tree["k/soft"].link, "d/hard");
            assert_eq!(tree["k/sticky"].mode, 0o1777);
            assert_eq!((tree["k/owned"].owner, tree["k/owned"].mode), ((33, 44), 0o600));
            assert_eq!(tree["k/it's a $name é"].content, b"space\n");
            assert_eq!(tree["other/below/deep"].content, b"deep\n");
            assert_eq!(tree["other/below/deep"].mtime, 1_600_000_000);
            assert_eq!(tree["k/long-link"].link, format!("{long}/{long}"));
            let pair = [&tree[&format!("k/{long}/{long}")], &tree[&format!("k/{long}/hard-to-long")]];
            let hard = pair.iter().find(|e| e.kind == 'h').expect("one is a hard link");
            assert!(hard.link.starts_with(&format!("k/{long}/")), "{hard:?}");
            assert_eq!(tree["k/cap"].xattrs["security.capability"].len(), 20);
            let pair = [&tree["k/file"], &tree["k/d/hard"]];
            let hard = pair.iter().find(|e| e.kind == 'h').expect("one is a hard link");
            assert!(["k/file", "k/d/hard"].contains(&hard.link.as_str()), "{hard:?}");
            let file = pair.iter().find(|e| e.kind == 'f').expect("one is a file");
            assert_eq!((file.content.as_slice(), file.mode), (&b"text\n"[..], 0o4751));
            assert!(!tree.contains_key("etc/hosts"), "{:?}", tree.keys());
            // Which one of a group of hard links is the file is not said, and with the archive API
            // a group ends where a kept path does.
            let grouped =
                |e: &Entry| e.kind == 'h' || [&b"text\n"[..], b"long\n"].contains(&e.content.as_slice());
            for entry in tree.values_mut().filter(|e| grouped(e)) {
                *entry = Entry::default();
            }
            trees.push(tree);
        }
        assert_eq!(trees[0], trees[1]);
        assert_eq!(trees[1], trees[2]);
    }
}

#[tokio::test]
async fn users_other_than_root_can_keep_what_only_root_may_read() {
    for engine in engines() {
        let image = base(&engine).await;
        let request = RunRequest { user: Some("1234".into()), ..keep(&image, "true", &["/etc/shadow"]) };
        let outcome = run(&engine, request).await;
        assert_eq!(outcome.tree().keys().collect::<Vec<_>>(), ["etc/shadow"]);
    }
}

#[tokio::test]
async fn a_path_that_is_missing_is_named() {
    for engine in engines() {
        let image = base(&engine).await;
        for hide in ["true", "rm /bin/tar"] {
            let outcome = run(&engine, keep(&image, hide, &["/etc", "/not/there"])).await;
            match outcome.result {
                Err(EngineError::NoSuchPath(path)) => assert_eq!(path, "/not/there"),
                other => panic!("{other:?}"),
            }
            assert!(outcome.tree.is_none());
        }
    }
}

#[tokio::test]
async fn a_receiver_that_fails_fails_the_run() {
    for engine in engines() {
        let image = base(&engine).await;
        for collect in [Collect::Paths(vec!["/usr".into()]), Collect::Changes] {
            let request =
                RunRequest { collect, labels: labels("sink"), ..request(&image, "cp -r /usr/share /copy") };
            let sink: TarSink = Box::new(|tar| {
                tar.read_exact(&mut [0; 512])?;
                Err(std::io::Error::other("disk full"))
            });
            let error = engine.run(request, Box::new(|_| {}), sink).await.unwrap_err();
            assert!(matches!(&error, EngineError::Sink(e) if e.to_string() == "disk full"), "{error:?}");
            assert_eq!(containers(&engine, "sink"), "");
        }
    }
}

#[tokio::test]
async fn changes_are_one_layer_with_whiteouts() {
    for engine in engines() {
        let image = base(&engine).await;
        let dangling =
            || docker(&engine, &["images", "-qf", "dangling=true", "-f", "label=railyard.test=changes"]);
        let script = "rm /etc/issue; rm -rf /usr/share/doc; rm -rf /etc/alternatives; mkdir /etc/alternatives; \
            echo new >/etc/alternatives/new; echo added >/added; chmod 0600 /etc/passwd";
        let request =
            RunRequest { collect: Collect::Changes, labels: labels("changes"), ..request(&image, script) };
        let outcome = run(&engine, request.clone()).await;
        let tree = outcome.tree();
        for (path, kind) in [
            ("added", 'f'),
            ("etc", 'd'),
            ("etc/.wh.issue", 'f'),
            ("usr/share/.wh.doc", 'f'),
            ("etc/alternatives/new", 'f'),
        ] {
            assert_eq!(tree.get(path).map(|e| e.kind), Some(kind), "{path}: {:?}", tree.keys());
        }
        // A directory made anew is opaque, or each of its old entries is deleted.
        let gone = ["etc/alternatives/.wh..wh..opq", "etc/alternatives/.wh.awk"];
        assert!(gone.iter().any(|path| tree.contains_key(*path)), "{:?}", tree.keys());
        assert_eq!(tree["added"].content, b"added\n");
        assert_eq!(tree["etc/passwd"].mode, 0o600);
        assert!(!tree.contains_key("etc/group") && !tree.contains_key("usr/bin"), "{:?}", tree.keys());

        let nothing = RunRequest { command: ["/bin/sh", "-c", ":"].map(String::from).into(), ..request };
        assert_eq!(run(&engine, nothing).await.tree(), &Tree::new());
        engine.settle().await;
        assert_eq!((containers(&engine, "changes"), dangling()), (String::new(), String::new()));
    }
}

#[tokio::test]
async fn a_dropped_run_is_ended_and_nothing_is_left() {
    for engine in engines() {
        let image = base(&engine).await;
        // From before the container exists to while it runs.
        for after in [0, 5, 30, 100, 300, 1500] {
            let request = RunRequest { labels: labels("dropped"), ..keep(&image, "sleep 100", &["/etc"]) };
            let _ = tokio::time::timeout(Duration::from_millis(after), run(&engine, request)).await;
            let began = Instant::now();
            engine.settle().await;
            assert!(began.elapsed() < Duration::from_secs(20));
            assert_eq!(containers(&engine, "dropped"), "", "after {after} ms");
        }
    }
}

#[tokio::test]
async fn a_sweep_removes_what_carries_all_the_labels() {
    for engine in engines() {
        let image = base(&engine).await;
        let labels = labels("sweep");
        let mut arguments = vec!["create".to_owned()];
        labels.iter().for_each(|(k, v)| arguments.extend(["--label".into(), format!("{k}={v}")]));
        arguments.extend([image, "true".into()]);
        docker(&engine, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut other = labels.clone();
        other.insert("more".into(), "x".into());
        assert_eq!(engine.sweep(&other).await.unwrap(), 0);
        assert_eq!(engine.sweep(&labels).await.unwrap(), 1);
        assert_eq!(containers(&engine, "sweep"), "");
    }
}

/// A TCP address that passes everything to the engine's socket, until it is told to freeze.
async fn proxy(engine: &DockerEngine) -> (String, tokio::sync::watch::Sender<bool>) {
    let socket = engine.endpoint().strip_prefix("unix://").unwrap().to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let (freeze, frozen) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (socket, mut frozen) = (socket.clone(), frozen.clone());
            tokio::spawn(async move {
                let pass = async {
                    let mut server = tokio::net::UnixStream::connect(socket).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                };
                let freezes = async { frozen.wait_for(|frozen| *frozen).await.is_ok() };
                let freezes = tokio::select! {
                    () = pass => false,
                    freezes = freezes => freezes,
                };
                if freezes {
                    // Open, and silent.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, freeze)
}

#[tokio::test]
async fn an_engine_that_freezes_is_noticed() {
    for engine in engines() {
        let image = base(&engine).await;
        let (address, freeze) = proxy(&engine).await;
        let labels = labels("frozen");
        let behind = DockerEngine::connect(Some(&address)).with_patience(Duration::from_secs(4));
        let secrets = BTreeMap::from([("a".to_owned(), SecretValue("b".into()))]);
        let quick = RunRequest { secrets, ..keep(&image, "cat /run/secrets/a", &["/etc/passwd"]) };
        assert_eq!(run(&behind, quick).await.tree().len(), 1);

        let slow = RunRequest { labels: labels.clone(), ..request(&image, "echo on; sleep 100") };
        let freezes = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            freeze.send(true).unwrap();
            Instant::now()
        };
        let (outcome, frozen) = tokio::join!(run(&behind, slow), freezes);
        assert_eq!(outcome.lines, ["on"]);
        let error = outcome.result.unwrap_err();
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        assert!(frozen.elapsed() < Duration::from_secs(15), "{:?}", frozen.elapsed());
        assert_eq!(engine.sweep(&labels).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn links_with_a_slash_and_no_paths_at_all_can_be_kept() {
    for engine in engines() {
        let image = base(&engine).await;
        for hide in ["true", "rm /bin/tar"] {
            let script = format!("mkdir /real; ln -s /real /link; {hide}");
            let outcome = run(&engine, keep(&image, &script, &["/link/"])).await;
            assert_eq!((outcome.tree().len(), outcome.tree()["link"].kind), (1, 'l'));
            assert_eq!(run(&engine, keep(&image, hide, &[])).await.tree(), &Tree::new());
        }
        for path in ["/", "relative"] {
            assert!(run(&engine, keep(&image, "true", &[path])).await.result.is_err());
        }
    }
}

#[tokio::test]
async fn an_archive_is_loaded_and_its_id_given() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("own.tar");
    let config = small_image(&archive);
    for engine in engines() {
        docker(&engine, &["rmi", &config.to_string()]);
        let id = engine.load(&archive, config).await.unwrap();
        assert_eq!(engine.load(&archive, config).await.unwrap(), id);
        let request = RunRequest { command: vec!["/none".into()], ..request(&id, "") };
        let error = run(&engine, request).await.result.unwrap_err().to_string();
        assert!(error.contains("/none") && error.contains("start"), "{error}");
        docker(&engine, &["rmi", &id]);
        let error = engine.load(&directory.path().join("missing.tar"), config).await.unwrap_err();
        assert!(error.to_string().contains("missing.tar"), "{error}");
    }
}

/// Writes a docker-archive with one file; returns the digest of its configuration.
fn small_image(archive: &std::path::Path) -> Digest {
    fn file(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    let mut layer = tar::Builder::new(Vec::new());
    file(&mut layer, "hello", b"hello");
    let layer = layer.into_inner().unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(&layer)
    );
    let digest = Digest::of(config.as_bytes());
    let manifest =
        format!(r#"[{{"Config":"{}.json","RepoTags":null,"Layers":["layer.tar"]}}]"#, digest.hex());
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, &format!("{}.json", digest.hex()), config.as_bytes());
    file(&mut tar, "layer.tar", &layer);
    file(&mut tar, "manifest.json", manifest.as_bytes());
    std::fs::write(archive, tar.into_inner().unwrap()).unwrap();
    digest
}
