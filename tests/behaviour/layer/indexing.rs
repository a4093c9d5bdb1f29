//! Reading layers as registries hold them.

use railyard::layer::{Kind, LayerError, Placing, index_layer};
use railyard::oci::{
    DiffId, Digest, MEDIA_DOCKER_LAYER_GZIP, MEDIA_LAYER, MEDIA_LAYER_GZIP, MEDIA_LAYER_ZSTD,
};

use super::support::{Tarball, gzip, index, line, list, path};

fn sample() -> Vec<u8> {
    Tarball::new().dir("a", 0o755).file("a/b", "hello").bytes()
}

#[test]
fn every_compression_gives_the_same_index_and_diff_id() {
    let plain = sample();
    let (half, rest) = plain.split_at(700);
    let two_members = [gzip(half), gzip(rest)].concat();
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let stored = [
        (plain.clone(), MEDIA_LAYER),
        (gzip(&plain), MEDIA_LAYER_GZIP),
        (two_members, MEDIA_DOCKER_LAYER_GZIP),
        (zstd.clone(), MEDIA_LAYER_ZSTD),
        (zstd, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
        // The bytes decide when the type is wrong.
        (plain.clone(), MEDIA_LAYER_GZIP),
    ];
    for (bytes, media_type) in stored {
        let (found, diff_id) = index_layer(bytes.as_slice(), media_type).unwrap();
        assert_eq!(list(&found), ["/a directory 755", "/a/b file 5 644"], "{media_type}");
        assert_eq!(found.uncompressed_size(), plain.len() as u64);
        assert_eq!(diff_id, DiffId(Digest::of(&plain)));
    }
    let refused = index_layer(plain.as_slice(), "text/html");
    assert!(matches!(refused, Err(LayerError::MediaType(_))));
}

#[test]
fn names_are_normalised_and_missing_parents_implied() {
    let found = Tarball::new().file("./x/y/z", "1").dir("./x-y", 0o700).index();
    assert_eq!(
        list(&found),
        [
            "/x directory 755 (implied)",
            "/x/y directory 755 (implied)",
            "/x/y/z file 1 644",
            "/x-y directory 700"
        ]
    );
}

#[test]
fn long_and_odd_names_come_through() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(180));
    let found = Tarball::new().file(&long, "1").symlink("l", &long).index();
    assert!(found.get(&path(&long)).is_some());
    assert!(
        matches!(&found.get(&path("l")).unwrap().kind, Kind::Symlink { target } if *target == long.as_bytes())
    );
    let raw = Tarball::new().raw(|h| h.as_mut_bytes()[..3].copy_from_slice(b"a\xff\xfe")).index();
    assert_eq!(raw.entries()[0].path.as_bytes(), b"a\xff\xfe");
}

#[test]
fn pax_values_hold_newlines_and_win_over_the_header() {
    let capability = b"\x01\0\0\x02\n\x04\0\0=\n\0\0\0\0";
    let records: [(&str, &[u8]); 5] = [
        ("SCHILY.xattr.security.capability", capability),
        ("uid", b"4000000000"),
        ("mtime", b"-1.5"),
        ("path", "dir/späti".as_bytes()),
        ("atime", b"1.5"),
    ];
    let found = Tarball::new().pax(&records).file("short", "1").index();
    let entry = found.get(&path("dir/späti")).unwrap();
    assert_eq!(entry.meta.xattrs[0].value, capability);
    assert_eq!((entry.meta.uid, entry.mtime), (4_000_000_000, -2));
}

#[test]
fn numbers_may_be_base_256() {
    let found = Tarball::new()
        .raw(|h| {
            h.as_mut_bytes()[0] = b'x';
            h.set_uid(1 << 40);
            h.as_mut_bytes()[136..148].copy_from_slice(&[0xff; 12]);
        })
        .index();
    assert_eq!((found.entries()[0].meta.uid, found.entries()[0].mtime), (1 << 40, -1));
}

#[test]
fn the_last_entry_of_a_path_wins() {
    let tar = Tarball::new().file("a", "one").file("b", "1").dir("d", 0o700).file("d/x", "x");
    let found = tar.file("a", "three").dir("d", 0o755).index();
    assert_eq!(list(&found), ["/a file 5 644", "/b file 1 644", "/d directory 755", "/d/x file 1 644"]);
    // A file in place of a directory takes away what the directory held.
    let found = Tarball::new().dir("d", 0o755).file("d/x", "x").file("d", "now").index();
    assert_eq!(list(&found), ["/d file 3 644"]);
    let broken = Tarball::new().file("d", "file").file("d/x", "x").bytes();
    assert!(matches!(index_layer(broken.as_slice(), MEDIA_LAYER), Err(LayerError::Path { .. })));
}

#[test]
fn hard_links_are_resolved_before_and_after_their_target() {
    let tar = Tarball::new().hard_link("early", "file").file_of("file", "12345", 0o755, (7, 8));
    let found = tar.hard_link_of("late", "./file", 0o755, (7, 8)).hard_link("far", "gone/away").index();
    assert_eq!(
        list(&found),
        ["/early link /file 755 7:8", "/far file 644", "/file file 5 755 7:8", "/late link /file 755 7:8"]
    );
    let kinds: Vec<_> = found.entries().iter().map(|e| &e.kind).collect();
    assert!(matches!(kinds[1], Kind::HardLink { target } if *target == path("gone/away")));
    let offset = |kind: &Kind| if let Kind::File { offset, .. } = kind { *offset } else { 0 };
    assert_eq!(offset(kinds[0]), offset(kinds[2]));
    // What a link led to is kept when the target's name is used again.
    let found = Tarball::new().file("a", "old").hard_link("b", "a").file("a", "newer").index();
    assert_eq!(list(&found), ["/a file 5 644", "/b file 3 644"]);
}

#[test]
fn the_last_hard_link_sets_the_metadata_of_all_names() {
    // As engines extract it; tried with `ADD` of such a tar on 28.5.2.
    let tar = Tarball::new().pax(&[("SCHILY.xattr.user.x", b"1")]).file_of("a", "1", 0o4755, (7, 8));
    let found = tar.hard_link_of("b", "a", 0o640, (0, 9)).index();
    assert_eq!(list(&found), ["/a file 1 640 0:9 +user.x", "/b link /a 640 0:9 +user.x"]);
}

#[test]
fn whiteouts_and_opaque_marks_are_kept_apart_from_entries() {
    let tar = Tarball::new().dir("d", 0o755).file("d/.wh..wh..opq", "").file("d/.wh.gone", "");
    let found = tar.file(".wh.d", "").file(".wh..wh.plnk", "").index();
    let kinds: Vec<_> = found.entries().iter().map(|e| (e.path.to_string(), e.kind.clone())).collect();
    assert_eq!(
        kinds,
        [
            ("/d".into(), Kind::Whiteout),
            ("/d".into(), Kind::Directory),
            ("/d".into(), Kind::Opaque),
            ("/d/gone".into(), Kind::Whiteout)
        ]
    );
}

#[test]
fn garbage_behind_the_archive_counts_for_the_hash_only() {
    let mut bytes = sample();
    bytes.extend_from_slice(b"garbage");
    let (found, diff_id) = index_layer(bytes.as_slice(), MEDIA_LAYER).unwrap();
    assert_eq!(found.entries().len(), 2);
    assert_eq!(diff_id, DiffId(Digest::of(&bytes)));
    // Without the two blocks at the end, as some programs write it.
    assert_eq!(index(&sample()[..1536]).entries().len(), 2);
}

#[test]
fn what_is_broken_is_refused() {
    let whole = sample();
    assert!(matches!(index_layer(&whole[..1200], MEDIA_LAYER), Err(LayerError::Io { .. })));
    let cut = gzip(&whole);
    assert!(index_layer(&cut[..cut.len() / 2], MEDIA_LAYER_GZIP).is_err());
    assert!(matches!(index_layer(&[b'x'; 2048][..], MEDIA_LAYER), Err(LayerError::Archive { .. })));
    let up = Tarball::new().raw(|h| h.as_mut_bytes()[..8].copy_from_slice(b"a/../../")).bytes();
    assert!(matches!(index_layer(up.as_slice(), MEDIA_LAYER), Err(LayerError::Traversal { .. })));
    assert!(index(&[]).is_empty());
}

#[test]
fn an_index_survives_storing() {
    let tar = Tarball::new().pax(&[("SCHILY.xattr.user.x", b"\0\n")]).file("a/b", "1").symlink("l", "a");
    let found = tar.hard_link("c", "a/b").file(".wh.z", "").index();
    let stored = postcard::to_stdvec(&found).unwrap();
    let loaded: railyard::layer::LayerIndex = postcard::from_bytes(&stored).unwrap();
    assert_eq!(loaded, found);
    let json: railyard::layer::LayerIndex =
        serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(json, found);
}

#[test]
fn comments_of_other_programs_do_not_matter() {
    let found = Tarball::new().pax(&[("comment", b"made by hand")]).file("a", "1").index();
    assert_eq!(found.entries()[0].placing, Placing::Own);
    assert_eq!(line(&path("a"), &found.entries()[0].kind, &found.entries()[0].meta), "/a file 1 644");
}
