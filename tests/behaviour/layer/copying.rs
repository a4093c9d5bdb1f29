//! Copying out of images, by the rules of `COPY --from`.

use railyard::layer::{CopySpec, Kind, LayerError, place, write_placed};

use super::support::{Layer, TIME, Tarball, builder, finish, list, list_tree, opener, tree};

fn image() -> Vec<Layer> {
    let low = Tarball::new().dir_of("opt", 0o700, (3, 3)).dir_of("opt/app", 0o711, (4, 4));
    let low = low.file_of("opt/app/bin/x", "11", 0o4755, (1, 2)).file("opt/app/old", "gone");
    let low = low.dir("opt/app/cache", 0o755).file("opt/app/cache/c", "hidden").file("opt/lonely", "ly");
    let low = low.symlink("srv", "/opt").symlink("opt/current", "app").symlink("opt/app/tmp", "/tmp");
    let top = Tarball::new().file("opt/app/.wh.old", "").dir("opt/app/cache", 0o750);
    let top = top.file("opt/app/cache/.wh..wh..opq", "").file("opt/app/cache/d", "seen");
    let top = top.file_of("opt/app/one", "1", 0o640, (5, 5)).hard_link_of(
        "opt/app/two",
        "opt/app/one",
        0o640,
        (5, 5),
    );
    let top = top.hard_link("opt/app/alone", "opt/lonely");
    let top = top.pax(&[("SCHILY.xattr.security.capability", b"\x01\n=")]).file("opt/app/cap", "c");
    vec![low.layer(), top.layer()]
}

fn copy(paths: &[&str], edit: impl FnOnce(&mut CopySpec<'_>)) -> Result<Vec<String>, LayerError> {
    let layers = image();
    let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
    let mut spec =
        CopySpec { image: "img:1", paths: &paths, to: None, chmod: None, owner: None, parents_mode: None };
    edit(&mut spec);
    let mut layer = builder();
    layer.copy(&tree(&layers), opener(&layers), &spec)?;
    let (blob, _) = finish(layer);
    for entry in blob.index.entries().iter().filter(|e| !e.is_dir()) {
        assert_eq!(entry.mtime, TIME, "source times are kept");
    }
    Ok(list(&blob.index))
}

#[test]
fn the_content_of_a_directory_is_copied_as_the_container_sees_it() {
    // Whiteout, opaque directory, capability, hard links, the implied top directory.
    assert_eq!(
        copy(&["/opt/app"], |_| {}).unwrap(),
        [
            "/opt directory 755 (implied)",
            "/opt/app directory 755 (implied)",
            "/opt/app/alone file 2 644",
            "/opt/app/bin directory 755",
            "/opt/app/bin/x file 2 4755 1:2",
            "/opt/app/cache directory 750",
            "/opt/app/cache/d file 4 644",
            "/opt/app/cap file 1 644 +security.capability",
            "/opt/app/one file 1 640 5:5",
            "/opt/app/tmp -> /tmp 777",
            "/opt/app/two link /opt/app/one 640 5:5"
        ]
    );
}

#[test]
fn links_in_the_source_path_are_followed_the_last_one_too() {
    let found = copy(&["/srv/current/bin"], |_| {}).unwrap();
    assert_eq!(
        found[2..],
        ["/srv/current/bin directory 755 (implied)", "/srv/current/bin/x file 2 4755 1:2"].map(String::from)
            [..]
    );
    let found = copy(&["/srv/current"], |spec| spec.to = Some("/x")).unwrap();
    assert_eq!(found[2], "/x/bin directory 755");
}

#[test]
fn a_file_goes_to_a_path_or_into_a_directory() {
    let to = |to| copy(&["/opt/app/bin/x"], move |spec| spec.to = Some(to)).unwrap().pop().unwrap();
    assert_eq!(to("/usr/bin/y"), "/usr/bin/y file 2 4755 1:2");
    assert_eq!(to("/usr/bin/"), "/usr/bin/x file 2 4755 1:2");
    let both = copy(&["/opt/lonely", "/opt/app/bin/x"], |spec| spec.to = Some("/d/")).unwrap();
    assert_eq!(both, ["/d directory 755 (implied)", "/d/lonely file 2 644", "/d/x file 2 4755 1:2"]);
}

#[test]
fn a_hard_link_that_leaves_the_selection_becomes_a_file() {
    assert_eq!(copy(&["/opt/app/two"], |_| {}).unwrap()[2], "/opt/app/two file 1 640 5:5");
    // Links do not span paths either.
    let found = copy(&["/opt/app/one", "/opt/app/two"], |_| {}).unwrap();
    assert_eq!(
        found[2..],
        ["/opt/app/one file 1 640 5:5", "/opt/app/two file 1 640 5:5"].map(String::from)[..]
    );
}

#[test]
fn chmod_and_owner_change_everything_below_the_destination() {
    fn chmod(mode: u32, is_dir: bool) -> u32 {
        if is_dir { 0o700 } else { mode | 0o111 }
    }
    let found = copy(&["/opt/app"], |spec| {
        spec.chmod = Some(&chmod);
        spec.owner = Some((7, 8));
    });
    let found = found.unwrap();
    assert_eq!(found[0], "/opt directory 755 7:8 (implied)");
    assert_eq!(found[1], "/opt/app directory 755 7:8 (implied)");
    assert_eq!(found[3], "/opt/app/bin directory 700 7:8");
    assert_eq!(found[8], "/opt/app/one file 1 751 7:8");
    assert_eq!(found[9], "/opt/app/tmp -> /tmp 777 7:8");
}

#[test]
fn what_is_missing_is_named_with_its_image() {
    let error = copy(&["/opt/app/old"], |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "`/opt/app/old` does not exist in `img:1`");
    assert!(matches!(copy(&["/opt/lonely/"], |_| {}), Err(LayerError::Path { .. })));
}

#[test]
fn a_layer_that_is_not_the_indexed_one_is_noticed() {
    let layers = image();
    let other = vec![Layer::of(layers[0].stored.clone()), Layer::of(layers[0].stored.clone())];
    let paths = ["/opt/app/one".to_owned()];
    let spec = CopySpec { image: "i", paths: &paths, to: None, chmod: None, owner: None, parents_mode: None };
    let error = builder().copy(&tree(&layers), opener(&other), &spec).unwrap_err();
    assert!(matches!(error, LayerError::Changed { layer: 1, .. } | LayerError::Io { .. }), "{error}");
}

#[test]
fn content_survives_the_way() {
    let layers = image();
    let paths = ["/opt".to_owned()];
    let spec =
        CopySpec { image: "i", paths: &paths, to: Some("/o"), chmod: None, owner: None, parents_mode: None };
    let mut layer = builder();
    layer.copy(&tree(&layers), opener(&layers), &spec).unwrap();
    let (blob, _) = finish(layer);
    let hash = |kind: &Kind| if let Kind::File { sha256, .. } = kind { Some(*sha256) } else { None };
    for node in tree(&layers).walk(&super::support::path("opt")).skip(1) {
        let copied = super::support::path("o").join(&node.path.as_bytes()[4..]);
        assert_eq!(hash(&blob.index.get(&copied).unwrap().kind), hash(&node.kind), "{copied}");
    }
}

/// The listing of a build by engine 28.5.2 of the same copies (`COPY --from=src`), tried by hand.
#[test]
fn copies_onto_a_base_are_what_the_engine_makes() {
    let source = Tarball::new().dir("s", 0o700).dir("s/in", 0o711).file_of("s/in/f", "new", 0o640, (0, 0));
    let source =
        source.hard_link_of("s/in/g", "s/in/f", 0o640, (0, 0)).file_of("s/top", "TOP", 0o4755, (7, 8));
    let source = vec![source.symlink("s/ln", "in").symlink("s/flink", "top").layer()];
    let base =
        Tarball::new().dir("usr", 0o755).dir("usr/bin", 0o2750).file_of("usr/bin/real", "old", 0o755, (0, 0));
    let base = base.symlink("usr/bin/tool", "real").symlink("bin", "usr/bin").dir("tmp", 0o1777);
    let mut merged = tree(&[base.dir("in", 0o777).symlink("dang", "/made/here").layer()]);
    let copies = [
        ("/s/top", "/bin/tool"),
        ("/s/flink", "/a/flink"),
        ("/s/ln", "/b/x"),
        ("/s", "/tmp"),
        ("/s/in", "/in"),
        ("/s/top", "/dang/sub/t"),
    ];
    for (from, to) in copies {
        let paths = [from.to_owned()];
        let to = Some(to);
        let spec = CopySpec { image: "src", paths: &paths, to, chmod: None, owner: None, parents_mode: None };
        let mut layer = builder();
        layer.copy(&tree(&source), opener(&source), &spec).unwrap();
        let (blob, stored) = finish(layer);
        let placement = place(&blob.index, &merged).unwrap();
        let mut out = Vec::new();
        let dir = std::env::temp_dir();
        let placed = write_placed(stored.as_slice(), &blob.index, &placement, &dir, &mut out, 1).unwrap();
        merged = merged.push(placed.index.into());
    }
    assert_eq!(
        list_tree(&merged),
        [
            "/a directory 755",
            "/a/flink file 3 4755 7:8",
            "/b directory 755",
            "/b/x directory 755",
            "/b/x/f file 3 640",
            "/b/x/g link /b/x/f 640",
            "/bin -> usr/bin 777",
            "/dang -> /made/here 777",
            "/in directory 777",
            "/in/f file 3 640",
            "/in/g link /in/f 640",
            "/made directory 755",
            "/made/here directory 755",
            "/made/here/sub directory 755",
            "/made/here/sub/t file 3 4755 7:8",
            "/tmp directory 1777",
            "/tmp/flink -> top 777",
            "/tmp/in directory 711",
            "/tmp/in/f file 3 640",
            "/tmp/in/g link /tmp/in/f 640",
            "/tmp/ln -> in 777",
            "/tmp/top file 3 4755 7:8",
            "/usr directory 755",
            "/usr/bin directory 2750",
            "/usr/bin/real file 3 4755 7:8",
            "/usr/bin/tool -> real 777"
        ]
    );
}
