//! Every way in which a lock is broken: what is said of it, where, and what to do. Nothing is written
//! over.

use crate::project::Project;

const MANIFEST: &str =
    "schema = 1\n[project]\nname = \"acme\"\n[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\n";

const LOCK: &str = r#"# Written by railyard. Commit it; `railyard update` moves its entries.
version = 1

[[image]]
reference = "docker.io/library/debian:12"
platform = "linux/amd64"
digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
environment = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
trees."/var/lang" = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

[[download]]
url = "https://example.com/tool"
sha256 = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
size = 7

[[versions]]
name = "axes.sam"
query = "tags docker.io/library/sam (?<version>.+)-x86_64: *"
values = [
  "1.0.0",
  "v1.1.0",
]
tags."1.0.0" = "1.0.0-x86_64"

[outputs]
"sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee" = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
"#;

/// `LOCK` with one piece replaced.
fn with(old: &str, new: &str) -> String {
    assert!(LOCK.contains(old), "{old}");
    LOCK.replacen(old, new, 1)
}

/// `LOCK` with an entry a second time.
fn again(header: &str) -> String {
    let start = LOCK.find(header).unwrap();
    let end = LOCK[start..].find("\n\n").unwrap() + start + 1;
    format!("{}{}\n{}", &LOCK[..start], &LOCK[start..end], &LOCK[start..])
}

fn broken() -> Vec<(&'static str, String)> {
    let conflict = "<<<<<<< HEAD\nsize = 7\n=======\nsize = 8\n>>>>>>> theirs";
    vec![
        ("conflict", with("size = 7", conflict)),
        ("no-toml", with("size = 7", "size = ")),
        ("prose", "This is no lock.\n".to_owned()),
        ("empty", String::new()),
        ("version-other", with("version = 1", "version = 2")),
        ("version-missing", with("version = 1\n", "")),
        ("version-text", with("version = 1", "version = \"1\"")),
        ("unknown-key", with("version = 1", "version = 1\ncolour = 1")),
        ("unknown-key-of-image", with("platform =", "plattform = 1\nplatform =")),
        ("unknown-key-of-download", with("size = 7", "size = 7\nmode = 1")),
        ("unknown-key-of-versions", with("query =", "newest = 1\nquery =")),
        ("image-no-table", "version = 1\nimage = 1\n".to_owned()),
        (
            "digest-missing",
            with(
                "digest = \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n",
                "",
            ),
        ),
        ("digest-short", with("aaaa\"", "aaa\"")),
        ("digest-algorithm", with("sha256:aaaa", "md5:aaaa")),
        (
            "digest-number",
            with("\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "7"),
        ),
        ("reference-malformed", with("library/debian:12", "library/Debian:12")),
        ("platform-malformed", with("linux/amd64", "linux")),
        ("environment-malformed", with("sha256:bbbb", "sha256:zzzz")),
        ("tree-malformed", with("sha256:cccc", "sha256:zzzz")),
        ("sha256-malformed", with("dddd\"", "dddd!\"")),
        ("size-missing", with("size = 7\n", "")),
        ("size-negative", with("size = 7", "size = -7")),
        ("values-empty", with("  \"1.0.0\",\n  \"v1.1.0\",\n", "")),
        ("values-no-version", with("\"v1.1.0\"", "\"latest\"")),
        ("values-twice", with("\"v1.1.0\"", "\"1.0.0\"")),
        ("tags-without-value", with("tags.\"1.0.0\"", "tags.\"9.0.0\"")),
        ("query-missing", with("query = \"tags docker.io/library/sam (?<version>.+)-x86_64: *\"\n", "")),
        ("output-malformed", with("\"sha256:eeee", "\"eeee")),
        ("image-twice", again("[[image]]")),
        ("download-twice", again("[[download]]")),
        ("versions-twice", again("[[versions]]")),
        ("output-twice", format!("{LOCK}{}\n", LOCK.lines().last().unwrap())),
        (
            "several",
            with("sha256:aaaa", "md5:aaaa").replace("size = 7\n", "").replace("linux/amd64", "linux"),
        ),
    ]
}

#[test]
fn every_broken_lock_is_shown_with_its_place_and_a_remedy() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/lock");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let project = Project::new(MANIFEST);
    for (name, text) in broken() {
        project.write("builds.lock", &text);
        let ended = project.run(&["check"]).code(2);
        settings.bind(|| insta::assert_snapshot!(name, ended.err));
        let plain = project.run(&["check", "--plain"]).code(2).err;
        let lines: Vec<&str> = plain.lines().collect();
        let (last, found) = lines.split_last().unwrap();
        assert_eq!(*last, "error: the lock `builds.lock` cannot be used; it was not changed");
        assert!(!found.is_empty(), "{name}");
        for line in found {
            let (place, rest) = line.split_once(": error[lock-").unwrap_or_else(|| panic!("{name}: {line}"));
            let numbers: Vec<&str> = place.strip_prefix("builds.lock:").unwrap().split(':').collect();
            assert!(numbers.len() == 2 && numbers.iter().all(|n| n.parse::<u32>().unwrap() > 0), "{line}");
            assert!(rest.contains("(help: "), "{name}: {line}");
        }
        assert_eq!(found.len() > 1, name == "several", "{name}: {plain}");
    }
}

#[test]
fn no_command_writes_over_a_broken_lock() {
    let project = Project::new(MANIFEST);
    project.write("builds.lock", LOCK);
    project.run(&["check"]).code(0);
    for (name, text) in broken() {
        project.write("builds.lock", &text);
        for command in
            [&["plan", "--offline"][..], &["plan"], &["build"], &["build", "--locked"], &["update"]]
        {
            project.run(command).code(2).says(&["error: the lock `builds.lock` cannot be used"]);
            assert_eq!(project.read("builds.lock"), text, "{command:?} changed the lock: {name}");
        }
    }
}

#[test]
fn an_older_lock_without_versions_is_read() {
    let project = Project::new(MANIFEST);
    let start = LOCK.find("[[versions]]").unwrap();
    let end = LOCK.find("[outputs]").unwrap();
    project.write("builds.lock", &format!("{}{}", &LOCK[..start], &LOCK[end..]));
    project.run(&["check"]).code(0);
    project.run(&["plan", "--offline"]).code(0);
}
