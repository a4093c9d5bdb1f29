//! The merged view of layers.

use railyard::layer::{LayerError, Tree, find_libraries, tree_digest};

use super::support::{Layer, Tarball, list_tree, path, tree};

fn base() -> Layer {
    let tar = Tarball::new().dir("usr", 0o755).dir("usr/bin", 0o755).file("usr/bin/sh", "sh");
    let tar = tar.symlink("bin", "usr/bin").dir("tmp", 0o1777).dir("etc", 0o755).file("etc/a", "1");
    tar.file("etc/b", "22").layer()
}

#[test]
fn upper_layers_replace_hide_and_merge() {
    let upper = Tarball::new().dir("etc", 0o700).file("etc/.wh.a", "").file("etc/c", "333");
    let merged = tree(&[base(), upper.file(".wh.usr", "").layer()]);
    assert_eq!(
        list_tree(&merged),
        [
            "/bin -> usr/bin 777",
            "/etc directory 700",
            "/etc/b file 2 644",
            "/etc/c file 3 644",
            "/tmp directory 1777"
        ]
    );
    let node = merged.get(&path("etc/b")).unwrap();
    assert_eq!(node.layer, 0);
    assert_eq!(merged.get(&path("etc/c")).unwrap().layer, 1);
    assert_eq!(merged.get(&path("usr/bin/sh")), None);
}

#[test]
fn opaque_directories_hide_what_is_beneath_only() {
    let upper = Tarball::new().dir("etc", 0o755).file("etc/n", "1").file("etc/.wh..wh..opq", "").layer();
    let top = Tarball::new().dir("etc", 0o755).file("etc/m", "1").layer();
    let merged = tree(&[base(), upper, top]);
    let names: Vec<_> = merged.children(&path("etc")).into_iter().map(|n| n.path.to_string()).collect();
    assert_eq!(names, ["/etc/m", "/etc/n"]);
}

#[test]
fn a_directory_that_a_layer_does_not_list_keeps_its_metadata() {
    let merged = tree(&[base(), Tarball::new().file("tmp/x", "1").layer()]);
    assert_eq!(list_tree(&merged)[4..6], ["/tmp directory 1777", "/tmp/x file 1 644"].map(String::from)[..]);
}

#[test]
fn a_type_change_takes_away_what_was_there() {
    let merged = tree(&[base(), Tarball::new().file("etc", "now a file").dir("bin", 0o755).layer()]);
    assert!(merged.get(&path("etc/a")).is_none());
    assert!(merged.children(&path("bin")).is_empty());
    let again = merged.push(Tarball::new().dir("etc", 0o755).layer().index);
    assert!(again.get(&path("etc/a")).is_none());
    assert!(again.get(&path("etc")).unwrap().is_dir());
}

#[test]
fn hard_links_lead_to_files_of_layers_beneath() {
    let merged = tree(&[base(), Tarball::new().hard_link("sh", "usr/bin/sh").layer()]);
    let node = merged.get(&path("sh")).unwrap();
    assert_eq!((node.layer, node.path), (0, path("sh")));
}

#[test]
fn links_are_followed_inside_the_root() {
    let tar = Tarball::new().symlink("opt/abs", "/bin").symlink("opt/up", "../../../etc/./a");
    let tar = tar.symlink("opt/one", "two").symlink("opt/two", "one").symlink("opt/nowhere", "/no/where");
    let merged = tree(&[base(), tar.layer()]);
    let resolve = |text: &str, last| merged.resolve(&path(text), last).map(|p| p.to_string());
    assert_eq!(resolve("bin/sh", true).unwrap(), "/usr/bin/sh");
    assert_eq!(resolve("opt/abs/sh", false).unwrap(), "/usr/bin/sh");
    assert_eq!(resolve("opt/up", true).unwrap(), "/etc/a");
    assert_eq!(resolve("opt/up", false).unwrap(), "/opt/up");
    assert_eq!(resolve("opt/nowhere/x", true).unwrap(), "/no/where/x");
    assert!(matches!(resolve("opt/one", true), Err(LayerError::LinkLoop { .. })));
}

#[test]
fn the_tree_digest_knows_content_not_layers_or_times() {
    let paths = ["/bin".to_owned(), "/etc/".to_owned()];
    let one = tree(&[base()]);
    let split = tree(&[
        Tarball::new().dir("etc", 0o700).file("etc/a", "old").file("etc/gone", "").layer(),
        Tarball::new().dir("usr/bin", 0o755).file("usr/bin/sh", "sh").symlink("bin", "./usr/bin/").layer(),
        Tarball::new()
            .dir("etc", 0o755)
            .file("etc/a", "1")
            .file("etc/b", "22")
            .file("etc/.wh.gone", "")
            .layer(),
    ]);
    let digest = |tree: &Tree| tree_digest(tree, &paths).unwrap();
    assert_eq!(digest(&one), digest(&split));
    for change in [
        Tarball::new().dir("etc", 0o711),
        Tarball::new().file("etc/a", "2"),
        Tarball::new().file_of("etc/a", "1", 0o600, (0, 0)),
        Tarball::new().file_of("etc/a", "1", 0o644, (1, 0)),
        Tarball::new().symlink("etc/a", "1"),
        Tarball::new().pax(&[("SCHILY.xattr.user.x", b"1")]).file("etc/a", "1"),
        Tarball::new().file("usr/bin/.wh.sh", ""),
    ] {
        assert_ne!(digest(&one), digest(&one.push(change.layer().index)));
    }
    let elsewhere = one.push(Tarball::new().dir("tmp", 0o755).file("new", "").layer().index);
    assert_eq!(digest(&one), digest(&elsewhere));
}

#[test]
fn libraries_are_found_behind_links() {
    let tar = Tarball::new().symlink("lib64", "usr/lib64").symlink("usr/lib64/libc.so.6", "libc-2.26.so");
    let tar =
        tar.file("usr/lib64/libc-2.26.so", "c").symlink("usr/lib64/libstdc++.so.6", "libstdc++.so.6.0.24");
    let found = find_libraries(&tree(&[tar.file("usr/lib64/libstdc++.so.6.0.24", "cpp").layer()]));
    assert_eq!(found.libc.unwrap().name, "libc-2.26.so");
    let cpp = found.libstdcxx.unwrap();
    assert_eq!((cpp.name.as_str(), cpp.path), ("libstdc++.so.6.0.24", path("usr/lib64/libstdc++.so.6.0.24")));
    let musl = find_libraries(&tree(&[Tarball::new().file("lib/ld-musl-x86_64.so.1", "m").layer()]));
    assert_eq!(musl.libc.unwrap().name, "ld-musl-x86_64.so.1");
    assert_eq!(musl.libstdcxx, None);
}
