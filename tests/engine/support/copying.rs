//! What the tests of `copy` share: a base, and a source that is copied onto it.

use super::fixture::{CAPABILITY, Fixture, dir, file, symlink};
use super::lab::{Case, Lab};

/// A base with the usual directories, some of them with metadata worth keeping.
pub fn base() -> Fixture {
    Fixture::new([
        dir("etc"),
        file("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        dir("opt"),
        dir("tmp").mode(0o1777),
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/own", "own").mode(0o755),
    ])
}

/// A case of one copying layer, `part`, on `$base`.
pub fn copy<'a>(tables: &'a str, dockerfile: &'a str) -> Case<'a> {
    Case { tables, image: "base = \"$base\"\nlayers = [\"part\"]", dockerfile, ..Case::default() }
}

/// A lab with `$base` and `$source`.
pub fn lab(test: &str, base: &Fixture, source: &Fixture) -> Lab {
    let mut lab = Lab::new(test);
    lab.push("base", base);
    lab.push("source", source);
    lab
}

/// The plain case: one path to the same place.
pub fn same_place(test: &str, base: &Fixture, source: &Fixture, path: &str) {
    let tables = format!("[layers.part]\ncopy = [{{ from = \"$source\", paths = [\"{path}\"] }}]");
    let dockerfile = format!("FROM $base\nCOPY --from=$source {path} {path}\n");
    lab(test, base, source).judge(&copy(&tables, &dockerfile));
}

/// Metadata of every kind, to be changed by a copy.
pub fn to_change() -> Fixture {
    Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o700).owner(9, 9),
        file("opt/app/plain", "plain").mode(0o600).owner(9, 9),
        file("opt/app/tool", "tool").mode(0o4511),
        file("opt/app/ping", "ping").mode(0o755).xattr("security.capability", &CAPABILITY),
        dir("opt/app/sub").mode(0o2710),
        dir("opt/app/spool").mode(0o3777),
        file("opt/app/sub/leaf", "leaf").mode(0o444).owner(1, 1),
        symlink("opt/app/link", "plain").owner(9, 9),
    ])
}
