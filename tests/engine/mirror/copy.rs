//! Every platform, by digest, only what differs; what breaks goes on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::proxy::{Fault, Proxy};
use super::second::{Second, pull_all};
use crate::project::Project;
use crate::project::registry::{attempt, digest, manifest, project as registry_project, setting, tool};

const IMAGES: [&str; 5] = [
    "harness/ci-addon:1.14.4",
    "plugins/kaniko:1.3.1",
    "plugins/s3:1.0.5",
    "harness/drone-git:1.1.0-rootless",
    "harness/sto-plugin:latest",
];

/// An empty directory to run in: there is no manifest.
pub fn bare() -> Project {
    let project = Project::new("");
    std::fs::remove_file(project.path("builds.toml")).unwrap();
    project
}

pub fn upstream() -> String {
    format!("{}/upstream", setting("RAILYARD_DEV_REGISTRY"))
}

/// Runs `mirror` with these arguments, and gives its document.
#[track_caller]
pub fn mirror(project: &Project, code: i32, arguments: &[&str]) -> Value {
    let all = [&["mirror", "--format", "json", "--progress", "plain"], arguments].concat();
    let ended = project.run(&all).code(code);
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", ended.out, ended.err))
}

pub fn outcomes(document: &Value) -> Vec<&str> {
    document["images"].as_array().unwrap().iter().map(|image| image["outcome"].as_str().unwrap()).collect()
}

fn sum(document: &Value, pointer: &str) -> u64 {
    let images = document["images"].as_array().unwrap();
    images.iter().map(|image| image.pointer(pointer).unwrap().as_u64().unwrap()).sum()
}

#[test]
fn every_platform_goes_to_another_registry_and_comes_back_by_digest() {
    let (project, second, upstream) = (bare(), Second::start(), upstream());
    let to = format!("{}/acme", second.host);
    let arguments = [&["--to", &to, "--from", &upstream], &IMAGES[..]].concat();

    let dry = mirror(&project, 0, &[&["--dry-run"], &arguments[..]].concat());
    assert_eq!(outcomes(&dry), ["copy"; 5]);
    assert_eq!(digest(&format!("{to}/plugins/s3:1.0.5")), None);

    let first = mirror(&project, 0, &arguments);
    assert_eq!(outcomes(&first), ["copied"; 5]);
    assert_eq!(first["images"][0]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    // The two plugins share a layer of each platform: sent once, then mounted.
    assert_eq!(sum(&first, "/blobs/mounted"), 2);
    assert!(sum(&first, "/bytes") > 600_000, "{first:#}");
    for image in IMAGES {
        let (source, target) = (format!("{upstream}/{image}"), format!("{to}/{image}"));
        let whole = digest(&source).unwrap();
        assert_eq!(digest(&target), Some(whole.clone()), "{image}");
        assert_eq!(tool("crane", &["manifest", &source]), tool("crane", &["manifest", &target]));
        assert_eq!(pull_all(&target), pull_all(&source), "{image}");
    }
    // The attestation in the index is there too, with its statement.
    let repository = format!("{to}/harness/ci-addon");
    let entries = manifest(&format!("{repository}:1.14.4"))["manifests"].as_array().unwrap().clone();
    let attestation = entries.iter().find(|entry| entry["platform"]["os"] == "unknown").unwrap();
    let attested = manifest(&format!("{repository}@{}", attestation["digest"].as_str().unwrap()));
    let statement = attested["layers"][0]["digest"].as_str().unwrap();
    assert!(tool("crane", &["blob", &format!("{repository}@{statement}")]).contains("in-toto.io"));

    let second_run = mirror(&project, 0, &arguments);
    assert_eq!(outcomes(&second_run), ["current"; 5]);
    assert_eq!(second_run["totals"]["bytes"], 0);
}

#[test]
fn within_one_registry_blobs_are_mounted() {
    let (project, upstream) = (bare(), upstream());
    let to = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let document = mirror(&project, 0, &["--to", &to, "--from", &upstream, IMAGES[0], IMAGES[1]]);
    assert_eq!(outcomes(&document), ["copied"; 2]);
    assert_eq!((sum(&document, "/bytes"), sum(&document, "/blobs/sent")), (0, 0));
    assert!(sum(&document, "/blobs/mounted") >= 9, "{document:#}");
    for image in &IMAGES[..2] {
        assert_eq!(digest(&format!("{to}/{image}")), digest(&format!("{upstream}/{image}")));
        pull_all(&format!("{to}/{image}"));
    }
}

#[test]
fn only_what_differs_is_sent() {
    let (project, second, upstream) = (bare(), Second::start(), upstream());
    let to = format!("{}/acme", second.host);
    let moving = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let copy =
        |from: &str| tool("crane", &["copy", &format!("{upstream}/{from}"), &format!("{moving}/tool:1")]);
    copy("plugins/gcs:1.2.6");
    mirror(&project, 0, &["--to", &to, "--from", &moving, "tool:1"]);
    let before = digest(&format!("{to}/tool:1")).unwrap();
    copy("plugins/gcs:1.3.0");
    let document = mirror(&project, 0, &["--to", &to, "--from", &moving, "tool:1"]);
    assert_eq!(
        (outcomes(&document), document["images"][0]["previous"].as_str()),
        (vec!["copied"], Some(&*before))
    );
    // Of each platform the shared layer is there; the other one and the configuration are new.
    assert_eq!((sum(&document, "/blobs/sent"), sum(&document, "/blobs/existed")), (4, 2));
    assert_eq!(digest(&format!("{to}/tool:1")), digest(&format!("{moving}/tool:1")));
}

#[test]
fn a_copy_that_is_killed_goes_on_where_it_stopped() {
    let (project, second, upstream) = (bare(), Second::start(), upstream());
    let proxy = Proxy::start(&second.host);
    let to = format!("{}/acme", proxy.host);
    // Everything but the tag goes through; the tag's PUT hangs.
    proxy.rule(|request| {
        request
            .starts_with("PUT ")
            .then_some(request.ends_with("/1.14.4"))
            .filter(|tag| *tag)
            .map(|_| Fault::Stall)
    });
    let arguments = ["mirror", "--to", &to, "--from", &upstream, IMAGES[0]];
    let mut killed = project.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while proxy.requests("/manifests/1.14.4").iter().all(|request| !request.starts_with("PUT")) {
        assert!(Instant::now() < end, "the tag is never put");
        std::thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(digest(&format!("{}/acme/{}", second.host, IMAGES[0])), None);

    proxy.mend();
    let document = mirror(&project, 0, &["--to", &to, "--from", &upstream, IMAGES[0]]);
    assert_eq!(outcomes(&document), ["copied"]);
    assert_eq!((document["totals"]["bytes"].as_u64(), sum(&document, "/blobs/sent")), (Some(0), 0));
    assert_eq!(proxy.requests("PUT ").len(), 1, "the tag alone: {:?}", proxy.requests("PUT "));
    assert_eq!(
        pull_all(&format!("{}/acme/{}", second.host, IMAGES[0])),
        pull_all(&format!("{upstream}/{}", IMAGES[0]))
    );
}

/// An image with one layer of so many bytes that do not compress.
fn large(project: &Project, bytes: usize) -> String {
    let reference = format!("{}/t-{}/large:1", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let place = project.path("large");
    std::fs::create_dir(&place).unwrap();
    let script = format!("cd \"$1\" && head -c {bytes} /dev/urandom >data && tar -cf large.tar data");
    tool("sh", &["-c", &script, "sh", place.to_str().unwrap()]);
    tool(
        "crane",
        &["append", "--oci-empty-base", "-f", place.join("large.tar").to_str().unwrap(), "-t", &reference],
    );
    reference
}

#[test]
fn a_source_that_breaks_off_is_resumed_and_a_target_that_does_begins_anew() {
    let (project, second) = (bare(), Second::start());
    let source = large(&project, 5_000_000);
    let registry = setting("RAILYARD_DEV_REGISTRY");
    let (front, back) = (Proxy::start(&registry), Proxy::start(&second.host));
    let path = source.strip_prefix(&format!("{registry}/")).unwrap().to_owned();
    let layer = manifest(&source)["layers"][0]["digest"].as_str().unwrap().to_owned();
    let wanted = format!("/blobs/{layer}");
    let mut cuts = vec![Fault::Cut(2_000_000), Fault::Cut(1_000_000)];
    front.rule(move |request| if request.contains(&wanted) { cuts.pop() } else { None });
    let mut refusals = 1;
    let ending = format!("digest={}", layer.replace(':', "%3A"));
    back.rule(move |request| {
        let is_upload = request.starts_with("PUT") && request.ends_with(&ending);
        (is_upload && std::mem::replace(&mut refusals, 0) > 0).then_some(Fault::Answer(502))
    });
    let to = format!("{}/acme", back.host);
    let document = mirror(&project, 0, &["--to", &to, &format!("{}/{path}", front.host)]);
    assert_eq!(outcomes(&document), ["copied"]);
    let fetches = front.requests(&format!("/blobs/{layer}"));
    assert!(fetches.iter().any(|request| request.contains("bytes=")), "{fetches:?}");
    assert_eq!(
        back.requests("PUT")
            .iter()
            .filter(|r| r.ends_with(&format!("digest={}", layer.replace(':', "%3A"))))
            .count(),
        2
    );
    let target = format!("{}/acme/{path}", second.host);
    assert_eq!(digest(&target), digest(&source));
    pull_all(&target);
}

#[test]
fn a_source_with_other_bytes_is_refused() {
    let (project, second) = (bare(), Second::start());
    let source = large(&project, 300_000);
    let registry = setting("RAILYARD_DEV_REGISTRY");
    let layer = manifest(&source)["layers"][0]["digest"].as_str().unwrap().to_owned();
    let wanted = format!("/blobs/{layer}");
    let front = Proxy::start(&registry);
    front.rule(move |request| {
        (request.starts_with("GET") && request.contains(&wanted)).then_some(Fault::Corrupt)
    });
    let path = source.strip_prefix(&format!("{registry}/")).unwrap();
    let to = format!("{}/acme", second.host);
    let document = mirror(&project, 1, &["--to", &to, &format!("{}/{path}", front.host)]);
    let failure = document["images"][0]["failure"].as_str().unwrap();
    for part in ["fetch blob", &layer, "digest mismatch"] {
        assert!(failure.contains(part), "{failure}");
    }
    assert_eq!(digest(&format!("{to}/{path}")), None);
}

#[test]
fn where_mounts_are_refused_blobs_are_sent() {
    let (project, registry) = (bare(), setting("RAILYARD_DEV_REGISTRY"));
    let proxy = Proxy::start(&registry);
    proxy.rule(|request| request.contains("mount=").then_some(Fault::Answer(405)));
    let (from, path) = (format!("{}/upstream", proxy.host), format!("t-{}", project.unique()));
    let to = format!("{}/{path}", proxy.host);
    let document = mirror(&project, 0, &["--to", &to, "--from", &from, IMAGES[2]]);
    assert_eq!((outcomes(&document), sum(&document, "/blobs/mounted")), (vec!["copied"], 0));
    assert_eq!(sum(&document, "/blobs/sent"), 6);
    assert_eq!(
        digest(&format!("{registry}/{path}/{}", IMAGES[2])),
        digest(&format!("{}/{}", upstream(), IMAGES[2]))
    );
}

#[test]
fn schema_1_images_are_refused() {
    let (project, api) = (bare(), super::api::Api::start());
    let body = r#"{"schemaVersion":1,"name":"old/image","tag":"1","architecture":"amd64","fsLayers":[],"history":[]}"#;
    let answer = super::api::Answer::json(200, body)
        .kind("application/vnd.docker.distribution.manifest.v1+prettyjws")
        .header("Docker-Content-Digest", &format!("sha256:{}", "a".repeat(64)));
    api.answer("/v2/old/image/manifests/1", answer);
    let to = format!("{}/t-{}", setting("RAILYARD_DEV_REGISTRY"), project.unique());
    let document = mirror(&project, 1, &["--to", &to, &format!("{}/old/image:1", api.host)]);
    let image = &document["images"][0];
    assert!(image["failure"].as_str().unwrap().contains("is a Docker schema 1 image"), "{image:#}");
    assert!(image["help"].as_str().unwrap().contains("schema 2 or OCI"));
}

#[test]
fn an_image_that_fails_stops_no_other() {
    let (project, second, upstream) = (bare(), Second::start(), upstream());
    let to = format!("{}/acme", second.host);
    let images = ["harness/none:1", IMAGES[2], IMAGES[3]];
    let arguments = [&["--to", &to, "--from", &upstream], &images[..]].concat();
    let document = mirror(&project, 1, &arguments);
    assert_eq!(outcomes(&document), ["failed", "copied", "copied"]);
    let failure = document["images"][0]["failure"].as_str().unwrap();
    assert!(failure.contains(&format!("there is no image `{upstream}/harness/none:1`")), "{failure}");
    let text = project.run(&[&["mirror"], &arguments[..]].concat()).code(1);
    text.prints(&["FAILED   harness/none:1", "current  plugins/s3:1.0.5", "2 current, 1 failed; 0 B sent"]);
    // A registry that is not there is the environment's fault.
    let gone =
        project.run(&["mirror", "--to", "127.0.0.1:9/acme", "--from", &upstream, "--dry-run", IMAGES[2]]);
    gone.code(3).says(&["1 of 1 images were not mirrored"]).prints(&["help: check that the registry is up"]);
}

#[test]
fn signatures_and_statements_go_along_where_asked() {
    let second = Second::start();
    let project = registry_project(
        "[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\n[layers.l]\nfiles = [{ path = \"/a\", content = \"a\" }]\n",
    );
    let text = project.read("builds.toml").replace("tags = [\"1\"]", "tags = [\"1\"]\nlayers = [\"l\"]");
    project.write("builds.toml", &text);
    project.push(&[]).all("built");
    let source = project.fill("$REPO/app");
    let subject = digest(&format!("{source}:1")).unwrap().replace(':', "-");
    // As cosign keeps a signature.
    tool("crane", &["tag", &format!("{source}:1"), &format!("{subject}.sig")]);
    let to = format!("{}/acme", second.host);
    let target = format!("{to}/{}", source.split_once('/').unwrap().1);
    let without = mirror(&project, 0, &["--to", &to, &format!("{source}:1")]);
    assert_eq!(without["images"][0].get("referrers"), None);
    assert_eq!(digest(&format!("{target}:{subject}.sig")), None);
    let arguments = ["--to", &to, "--referrers", &format!("{source}:1")];
    let with = mirror(&project, 0, &arguments);
    assert_eq!((outcomes(&with), with["images"][0]["referrers"].as_u64()), (vec!["copied"], Some(2)));
    assert!(digest(&format!("{target}:{subject}.sig")).is_some());
    let list = manifest(&format!("{target}:{subject}"));
    let statement = list["manifests"][0]["digest"].as_str().unwrap();
    let statement = manifest(&format!("{target}@{statement}"));
    let blob = statement["layers"][0]["digest"].as_str().unwrap();
    assert!(attempt("crane", &["blob", &format!("{target}@{blob}")]).status.success());
    assert_eq!(outcomes(&mirror(&project, 0, &arguments)), ["current"]);
}
