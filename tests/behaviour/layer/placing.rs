//! Placing artifacts on trees.

use std::sync::Arc;

use railyard::layer::{
    ArtifactBuilder, KeepSpec, LayerBlob, LayerError, Meta, Restoration, Times, Tree, TreePath, place,
    write_placed, write_restored,
};

use super::support::{Layer, Tarball, builder, check, finish, list, list_tree, tree};

/// A merged-usr base with a sticky /tmp and a guarded /opt.
fn base() -> Layer {
    let tar = Tarball::new().dir("usr", 0o755).dir("usr/bin", 0o755).file("usr/bin/sh", "sh");
    let tar = tar.symlink("bin", "usr/bin").dir("tmp", 0o1777).dir_of("opt", 0o2750, (10, 20));
    tar.symlink("opt/current", "/srv/v1").dir("srv/v1", 0o700).file("etc/conf", "1").layer()
}

fn artifact(tarball: Tarball) -> (LayerBlob, Vec<u8>) {
    let mut layer = builder();
    let rename = |name: &[u8]| TreePath::parse(name).ok();
    let spec = KeepSpec { rename: &rename, times: Times::Keep, implied: &[] };
    layer.add_tar(tarball.bytes().as_slice(), &spec).unwrap();
    finish(layer)
}

/// Places, writes, and returns the layer's listing and the tree's.
fn placed(layer: &(LayerBlob, Vec<u8>), beneath: &Tree) -> Result<(Vec<String>, Vec<String>), LayerError> {
    let (blob, stored) = layer;
    let placement = place(&blob.index, beneath)?;
    let mut out = Vec::new();
    let dir = std::env::temp_dir();
    let written = write_placed(stored.as_slice(), &blob.index, &placement, &dir, &mut out, 4)?;
    check(&written, &out);
    if let Some(restoration) = Restoration::of(&blob.index, &placement) {
        let mut restored = Vec::new();
        let again = write_restored(out.as_slice(), &written.index, &restoration, &mut restored, 4)?;
        assert_eq!((&again, &restored), (blob, stored), "restored from {:?}", list(&written.index));
    }
    let merged = beneath.push(Arc::new(written.index.clone()));
    Ok((list(&written.index), list_tree(&merged)))
}

#[test]
fn where_nothing_differs_the_artifact_is_the_layer() {
    let (blob, _) = artifact(Tarball::new().file("usr/bin/tool", "t").dir("new", 0o700).file("new/x", "1"));
    let here = place(&blob.index, &tree(&[base()])).unwrap();
    assert!(here.is_identity());
    assert!(here.explain().is_empty());
    assert!(place(&blob.index, &Tree::default()).unwrap().is_identity());
}

#[test]
fn existing_directories_keep_their_metadata_sticky_bits_too() {
    let layer = artifact(Tarball::new().file("tmp/x", "1").file("opt/a/b", "22"));
    let (written, merged) = placed(&layer, &tree(&[base()])).unwrap();
    assert_eq!(
        written,
        [
            "/opt directory 2750 10:20",
            "/opt/a directory 755",
            "/opt/a/b file 2 644",
            "/tmp directory 1777",
            "/tmp/x file 1 644"
        ]
    );
    assert!(merged.contains(&"/opt directory 2750 10:20".to_owned()));
}

#[test]
fn equal_differences_have_one_key() {
    let (blob, _) = artifact(Tarball::new().file("tmp/x", "1"));
    let digest = blob.descriptor.digest;
    let key = |layers: &[Layer]| place(&blob.index, &tree(layers)).unwrap().key(digest);
    let more = Tarball::new().file("elsewhere", "1").layer();
    let other = Tarball::new().dir("tmp", 0o777).layer();
    assert_eq!(key(&[base()]), key(&[base(), more]));
    assert_ne!(key(&[base()]), key(&[base(), other]));
    assert_ne!(key(&[base()]), key(&[]));
}

#[test]
fn an_artifact_is_restored_from_where_it_was_placed() {
    let mut layer = builder();
    layer.file("/tmp/tool", "t".as_bytes(), Meta::new(0o755, 1, 2)).unwrap();
    layer.dir("/opt/own", Meta::new(0o700, 0, 0)).unwrap();
    let (blob, stored) = finish(layer);
    let placement = place(&blob.index, &tree(&[base()])).unwrap();
    assert!(!placement.is_identity());
    let mut out = Vec::new();
    let written =
        write_placed(stored.as_slice(), &blob.index, &placement, &std::env::temp_dir(), &mut out, 4).unwrap();
    assert_ne!(written.descriptor, blob.descriptor);
    let restoration = Restoration::of(&blob.index, &placement).unwrap();
    // It comes back from a registry as text.
    let restoration = serde_json::from_str(&serde_json::to_string(&restoration).unwrap()).unwrap();
    let mut restored = Vec::new();
    let again = write_restored(out.as_slice(), &written.index, &restoration, &mut restored, 4).unwrap();
    assert_eq!((again, restored), (blob, stored));
}

#[test]
fn an_artifact_that_links_led_elsewhere_is_not_restored() {
    let (blob, _) = artifact(Tarball::new().file("bin/tool", "t"));
    let placement = place(&blob.index, &tree(&[base()])).unwrap();
    assert_eq!(Restoration::of(&blob.index, &placement), None);
}

#[test]
fn links_in_the_way_are_followed_and_stay() {
    let layer =
        artifact(Tarball::new().file("bin/tool", "t").dir("opt/current", 0o711).file("opt/current/x/y", "1"));
    let (written, merged) = placed(&layer, &tree(&[base()])).unwrap();
    assert_eq!(
        written,
        [
            "/opt directory 2750 10:20",
            "/srv directory 755",
            "/srv/v1 directory 711",
            "/srv/v1/x directory 755",
            "/srv/v1/x/y file 1 644",
            "/usr directory 755",
            "/usr/bin directory 755",
            "/usr/bin/tool file 1 644"
        ]
    );
    assert!(merged.contains(&"/bin -> usr/bin 777".to_owned()));
    assert!(merged.contains(&"/usr/bin/sh file 2 644".to_owned()));
}

#[test]
fn a_link_that_leads_nowhere_makes_what_it_leads_to() {
    let beneath = tree(&[Tarball::new().symlink("var/run", "/run/x").layer()]);
    let (_, merged) = placed(&artifact(Tarball::new().file("var/run/pid", "1")), &beneath).unwrap();
    assert_eq!(
        merged[..3],
        ["/run directory 755", "/run/x directory 755", "/run/x/pid file 1 644"].map(String::from)[..]
    );
}

#[test]
fn two_directories_may_become_one() {
    let layer = artifact(Tarball::new().file("bin/a", "1").dir("usr/bin", 0o750).file("usr/bin/b", "2"));
    let (_, merged) = placed(&layer, &tree(&[base()])).unwrap();
    for expected in
        ["/usr/bin directory 750", "/usr/bin/a file 1 644", "/usr/bin/b file 1 644", "/usr/bin/sh file 2 644"]
    {
        assert!(merged.contains(&expected.to_owned()), "{expected}: {merged:#?}");
    }
    let twice = artifact(Tarball::new().file("bin/a", "1").file("usr/bin/a", "2"));
    let error = placed(&twice, &tree(&[base()])).unwrap_err();
    assert!(error.to_string().contains("`/bin/a`") && error.to_string().contains("`/usr/bin/a`"), "{error}");
}

#[test]
fn hard_links_and_order_survive_a_redirect() {
    // `/a` becomes `/z`: what came first in the artifact now comes last.
    let beneath = tree(&[Tarball::new().symlink("a", "z").dir("z", 0o755).layer()]);
    let layer = artifact(Tarball::new().file("a/one", "11").hard_link("m/two", "a/one").file("m/x", "333"));
    let (written, _) = placed(&layer, &beneath).unwrap();
    assert_eq!(
        written,
        [
            "/m directory 755",
            "/m/two file 2 644",
            "/m/x file 3 644",
            "/z directory 755",
            "/z/one link /m/two 644"
        ]
    );
}

#[test]
fn files_and_directories_do_not_replace_each_other() {
    let beneath = tree(&[base()]);
    let error = placed(&artifact(Tarball::new().file("usr/bin", "1")), &beneath).unwrap_err();
    assert_eq!(
        error.to_string(),
        "directory `/usr/bin` (in the image beneath) stands in the way of file `/usr/bin` (of the layer)"
    );
    for tarball in [
        Tarball::new().file("etc/conf/x", "1"),
        Tarball::new().dir("usr/bin/sh", 0o755),
        Tarball::new().symlink("usr", "x"),
    ] {
        assert!(matches!(placed(&artifact(tarball), &beneath), Err(LayerError::Conflict { .. })));
    }
    // Files and links replace each other; a link to a directory too.
    placed(&artifact(Tarball::new().file("bin", "1").symlink("etc/conf", "x")), &beneath).unwrap();
}

#[test]
fn a_single_file_is_written_through_a_link() {
    let beneath =
        tree(&[Tarball::new().symlink("usr/bin/node", "/opt/node").file("opt/node", "old").layer()]);
    let single = |path: &str| {
        let mut layer: ArtifactBuilder = builder();
        layer.file(path, &b"new!"[..], Meta::new(0o755, 0, 0)).unwrap();
        finish(layer)
    };
    let (_, merged) = placed(&single("/usr/bin/node"), &beneath).unwrap();
    assert!(merged.contains(&"/opt/node file 4 755".to_owned()));
    assert!(merged.contains(&"/usr/bin/node -> /opt/node 777".to_owned()));
    let linked = tree(&[base()]);
    assert!(matches!(placed(&single("/bin"), &linked), Err(LayerError::Conflict { .. })));
}
