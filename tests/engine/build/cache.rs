//! The cache repository; images that need no engine; blobs that move once.

use crate::project::NO_ENGINE;
use crate::project::registry::{digest, file, manifest, paths, project, tool};

const SHARED: &str = r#"
[cache]
repository = "$REPO/cache"
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made; head -c 100 /dev/urandom >/opt/made/bytes", keep = ["/opt/made"] }
[images.app]
base = "$BASE"
setup = [{ script = "echo set >/etc/setup" }]
tags = ["1"]
layers = ["made"]
[images.second]
base = "$BASE"
tags = ["1"]
layers = ["made"]
env = { SECOND = "yes" }
"#;

#[test]
fn a_second_machine_takes_everything_from_the_cache_repository() {
    let mut project = project(SHARED);
    let first = project.push(&[]);
    assert_eq!((first.steps("artifact"), first.steps("setup")), (1, 1));
    project.store = "second".into();
    project.engine = NO_ENGINE.into();
    let prefix = project.fill("$REPO/elsewhere");
    let second = project.push(&["--locked", "--repository", &prefix]);
    second.all("built");
    assert_eq!((second.steps("artifact"), second.steps("setup"), second.steps("assemble")), (0, 0, 0));
    assert_eq!(second.digests(), first.digests());
    assert_eq!(digest(&format!("{prefix}/app:1")).as_ref(), Some(&first.digests()[0]));
    assert_eq!(file(&format!("{prefix}/app:1"), "etc/setup"), "set");

    // Where only the images' records are lost, the layers' still serve: nothing is run.
    project.store = "third".into();
    project.set("SOURCE_DATE_EPOCH", "1700000000");
    let third = project.push(&["--locked"]);
    assert_eq!((third.steps("artifact"), third.steps("setup"), third.steps("assemble")), (0, 0, 2));
}

#[test]
fn an_artifact_is_sent_once_and_restored_from_what_it_was_placed_as() {
    let mut project = project(
        r#"
[cache]
repository = "$REPO/cache"
[axes.mode]
values = ["0750", "0711"]
[layers.guarded]
dirs = [{ path = "/opt", mode = "0750" }]
when = "mode == '0750'"
[layers.open]
dirs = [{ path = "/opt", mode = "0711" }]
when = "mode == '0711'"
[layers.made]
run = { image = "$BASE", script = "mkdir /opt/made; head -c 60000 /dev/urandom | od -An -tx1 >/opt/made/bytes", keep = ["/opt/made"] }
[images.app]
axes = ["mode"]
base = "$BASE"
tags = ["{{ mode }}"]
layers = ["guarded", "open", "made"]
"#,
    );
    let first = project.push(&["--only", "mode=0750"]);
    assert_eq!(first.steps("artifact"), 2);
    let sent = first.number("/bytes_sent");
    assert!((60_000..110_000).contains(&sent), "{sent} bytes were sent: artifact and placed layer");

    // Another machine, another place: what the run made comes out of the first image's layer.
    project.store = "second".into();
    project.engine = NO_ENGINE.into();
    let second = project.push(&["--locked"]);
    let bytes = |mode: &str| file(&project.fill(&format!("$REPO/app:{mode}")), "opt/made/bytes");
    assert_eq!(second.steps("artifact"), 1, "the other mode of /opt alone: {:#}", second.0);
    assert_eq!(bytes("0711"), bytes("0750"));
    assert_eq!(digest(&project.fill("$REPO/app:0750")), Some(first.digests()[0].clone()));
}

#[test]
fn without_the_cache_a_second_machine_needs_the_engine() {
    let mut project = project(SHARED);
    project.push(&[]);
    project.store = "second".into();
    project.engine = NO_ENGINE.into();
    let (ended, report) = project.build(&["--push", "--locked", "--no-cache"], 3);
    ended.says(&["/nonexistent/docker.sock", "help: start a Docker engine"]);
    report.all("failed");
}

#[test]
fn images_without_runs_need_no_engine() {
    let mut project = project(
        r#"
[layers.files]
files = [{ path = "/etc/motd", content = "hi\n", mode = "0600", owner = "7:8" }]
dirs = [{ path = "/srv/data", mode = "0770" }]
copy = [{ from = "$BASE", paths = ["/etc/passwd"], to = "/srv/passwd" }]
[images.app]
base = "$BASE"
tags = ["1"]
layers = ["files"]
[images.bare]
base = "scratch"
tags = ["1"]
layers = ["files"]
entrypoint = ["/nothing"]
"#,
    );
    project.engine = NO_ENGINE.into();
    project.push(&[]).all("built");
    let bare = project.fill("$REPO/bare:1");
    assert_eq!(file(&bare, "etc/motd"), "hi");
    assert_eq!(manifest(&bare)["layers"].as_array().unwrap().len(), 1);
    let mut found = paths(&bare);
    found.sort();
    assert_eq!(found, ["etc", "etc/motd", "srv", "srv/data", "srv/passwd"]);
    assert!(file(&project.fill("$REPO/app:1"), "srv/passwd").starts_with("root:"));
}

#[test]
fn a_blob_is_sent_once_and_mounted_in_the_second_repository() {
    let mut project = project(
        r#"
[layers.big]
files = [{ path = "/etc/big", content = "$NONCE" }]
[images.one]
base = "scratch"
tags = ["1"]
layers = ["big"]
[images.two]
base = "scratch"
tags = ["1"]
layers = ["big"]
env = { TWO = "2" }
"#,
    );
    project.engine = NO_ENGINE.into();
    // Bytes that do not compress, and that the registry has never seen.
    let nonce = tool("sh", &["-c", "head -c 30000 /dev/urandom | od -An -tx1 | tr -d ' \\n'"]);
    project.name("NONCE", &nonce);
    let text = project.read("builds.toml");
    project.write("builds.toml", &text);
    let report = project.push(&[]);
    assert_eq!(report.number("/blobs/mounted"), 1, "{:#}", report.0);
    let sent = "one layer, two configurations, two statements and their two empty configurations";
    assert_eq!(report.number("/blobs/sent"), 7, "{sent}: {:#}", report.0);
    let sent = report.number("/bytes_sent");
    assert!((30_000..50_000).contains(&sent), "{sent} bytes were sent");
}

#[test]
fn pushed_images_are_copied_by_skopeo_without_complaint() {
    let project = project(SHARED);
    project.push(&["--no-cache"]);
    let target = format!("dir:{}", project.path("copied").display());
    for image in ["app", "second"] {
        let source = project.fill(&format!("docker://$REPO/{image}:1"));
        tool("skopeo", &["copy", "--src-tls-verify=false", "--preserve-digests", &source, &target]);
        tool("skopeo", &["inspect", "--tls-verify=false", &source]);
    }
}
