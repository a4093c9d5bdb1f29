//! Locks that are well-formed and that the world contradicts.

use super::server::Server;
use crate::project::registry::{digest, project, tool};
use crate::project::{NO_ENGINE, Project};

fn place(lock: &str, start: &str) -> String {
    let line = lock.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    format!("builds.lock:{line}:10: ")
}

fn based() -> Project {
    let mut project = project("[images.app]\nbase = \"$REPO/base:1\"\ntags = [\"1\"]\n");
    project.engine = NO_ENGINE.into();
    tool("crane", &["copy", &project.fill("$BASE"), &project.fill("$REPO/base:1")]);
    project
}

#[test]
fn a_digest_that_the_registry_does_not_have_is_named_with_its_place() {
    let project = based();
    project.push(&[]);
    let base = project.fill("$REPO/base:1");
    let (real, lock) = (digest(&base).unwrap(), project.read("builds.lock"));
    let gone = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let broken = lock.replace(&real, &gone);
    project.write("builds.lock", &broken);
    let (ended, _) = project.build(&["--push"], 1);
    ended.says(&[
        &place(&broken, "digest"),
        &format!(
            "the registry has no `{}@{gone}`, which the lock pins for `{base}`",
            project.fill("$REPO/base")
        ),
        &format!("`railyard update {base}`"),
    ]);
    assert_eq!(project.read("builds.lock"), broken, "nothing is written over");
    project.run(&["update", &base]).code(0).prints(&[&gone, &real]);
    assert_eq!(project.read("builds.lock"), lock);
    project.push(&["--locked"]);
}

#[test]
fn a_download_with_other_bytes_is_named_with_its_place() {
    let server = Server::start();
    server.put("tool", "the first");
    let mut project = project(&format!(
        "[layers.l]\ndownloads = [{{ url = \"http://{}/tool\", path = \"/bin/tool\" }}]\n\
         [images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"l\"]\n",
        server.host
    ));
    project.engine = NO_ENGINE.into();
    project.push(&[]);
    let lock = project.read("builds.lock");
    server.put("tool", "another");
    project.store = "elsewhere".to_owned();
    let (ended, _) = project.build(&["--push"], 1);
    let url = format!("http://{}/tool", server.host);
    ended.says(&[&place(&lock, "sha256"), "its sha256 is", "wanted is", &format!("`railyard update {url}`")]);
    assert_eq!(project.read("builds.lock"), lock, "nothing is written over");
    project.run(&["update", &url]).code(0).prints(&[&format!("moved    {url}")]);
    project.push(&["--locked"]).all("built");
}
