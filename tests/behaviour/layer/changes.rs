//! Layers of what setup steps changed.

use railyard::layer::{ChangesSpec, NORMALISED_MTIME, TreePath, normalise_changes};

use super::support::{Layer, Tarball, check, list, path, tree};

fn base() -> Layer {
    Tarball::new()
        .dir("etc", 0o755)
        .file("etc/conf", "1")
        .dir("root", 0o700)
        .dir("var", 0o755)
        .dir("run", 0o755)
        .layer()
}

fn changes(tarball: Tarball, mounts: &[TreePath]) -> Vec<String> {
    let beneath = tree(&[base()]);
    let dir = std::env::temp_dir();
    let spec = ChangesSpec { beneath: &beneath, mounts, spool_dir: &dir, level: 4, keep_until: None };
    let mut out = Vec::new();
    let blob = normalise_changes(tarball.bytes().as_slice(), &spec, &mut out).unwrap();
    check(&blob, &out);
    let real = blob.index.entries().iter().filter(|e| e.kind.word() != "whiteout");
    assert!(real.clone().all(|e| e.mtime == NORMALISED_MTIME && !e.is_implied()));
    list(&blob.index)
}

#[test]
fn deletions_are_kept_in_order_and_directories_that_only_hold_them() {
    let tar = Tarball::new().file("usr/bin/git", "git").dir("etc", 0o755).file("etc/.wh.conf", "");
    let tar = tar.dir("var", 0o755).file("var/x", "").file("var/.wh..wh..opq", "").file(".wh.root", "");
    assert_eq!(
        changes(tar, &[]),
        [
            "/etc directory 755",
            "/etc/conf whiteout 0",
            "/root whiteout 0",
            "/usr directory 755",
            "/usr/bin directory 755",
            "/usr/bin/git file 3 644",
            "/var directory 755",
            "/var whiteout 0",
            "/var/x file 0 644"
        ]
    );
}

#[test]
fn what_engines_make_is_dropped() {
    let tar = Tarball::new()
        .dir("etc", 0o755)
        .file("etc/hosts", "")
        .file("etc/resolv.conf", "")
        .file(".dockerenv", "");
    let tar = tar
        .dir("dev", 0o755)
        .dir("dev/pts", 0o755)
        .file("dev/console", "")
        .dir("proc", 0o555)
        .dir("sys", 0o555);
    let tar = tar
        .dir("run", 0o755)
        .dir("run/secrets", 0o755)
        .file("run/secrets/token", "")
        .file("etc/.wh.hostname", "");
    assert_eq!(changes(tar, &[]), Vec::<String>::new());
}

#[test]
fn directories_that_did_not_change_are_dropped() {
    assert_eq!(changes(Tarball::new().dir("etc", 0o755).dir("root", 0o700), &[]), Vec::<String>::new());
    assert_eq!(
        changes(Tarball::new().dir("etc", 0o711).dir("new", 0o755), &[]),
        ["/etc directory 711", "/new directory 755"]
    );
    // An emptied directory is a change.
    let emptied = changes(Tarball::new().dir("etc", 0o755).file("etc/.wh..wh..opq", ""), &[]);
    assert_eq!(emptied, ["/etc directory 755", "/etc whiteout 0"]);
    // A directory that is only implied has the metadata of the one beneath.
    assert_eq!(
        changes(Tarball::new().file("root/x", ""), &[]),
        ["/root directory 700", "/root/x file 0 644"]
    );
}

#[test]
fn empty_mount_points_are_dropped_with_what_held_them() {
    let tar = || {
        Tarball::new().dir("root", 0o700).dir("root/.npm", 0o755).dir("var", 0o755).dir("var/cache", 0o755)
    };
    let mounts = [path("root/.npm"), path("var/cache/a/b")];
    let found = changes(tar().dir("var/cache/a", 0o755).dir("var/cache/a/b", 0o755), &mounts);
    assert_eq!(found, Vec::<String>::new());
    let found = changes(tar().file("var/cache/list", "1"), &mounts);
    assert_eq!(found, ["/var directory 755", "/var/cache directory 755", "/var/cache/list file 1 644"]);
}

#[test]
fn hard_links_stay() {
    let tar = Tarball::new().file("b", "12").hard_link("a", "b").hard_link("c", "etc/conf");
    assert_eq!(changes(tar, &[]), ["/a file 2 644", "/b link /a 644", "/c file 644"]);
}
