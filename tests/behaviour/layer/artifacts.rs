//! Artifacts: canonical bytes, kept files, archives.

use std::io::{Cursor, Write};
use std::process::Command;

use railyard::layer::{
    Archive, ExtractSpec, KeepSpec, LayerError, Meta, NORMALISED_MTIME, Times, TreePath, index_layer,
    uncompress,
};
use railyard::oci::MEDIA_LAYER_GZIP;

use super::support::{TIME, Tarball, builder, finish, list, path, tree};

fn meta(mode: u32) -> Meta {
    Meta::new(mode, 0, 0)
}

fn kept<'a>(rename: &'a dyn Fn(&[u8]) -> Option<TreePath>) -> KeepSpec<'a> {
    KeepSpec { rename, times: Times::Normalise(NORMALISED_MTIME), implied: &[] }
}

fn under(prefix: &str) -> impl Fn(&[u8]) -> Option<TreePath> {
    let prefix = path(prefix);
    move |name| TreePath::parse(name).ok().map(|name| prefix.join(name.as_bytes()))
}

#[test]
fn files_and_directories_get_implied_ancestors() {
    let mut layer = builder();
    layer.file("/opt/x/run.sh", &b"#!/bin/sh\n"[..], meta(0o755)).unwrap();
    layer.dir("/opt/y", Meta::new(0o777, 5, 6)).unwrap();
    let (blob, stored) = finish(layer);
    assert_eq!(
        list(&blob.index),
        [
            "/opt directory 755 (implied)",
            "/opt/x directory 755 (implied)",
            "/opt/x/run.sh file 10 755",
            "/opt/y directory 777 5:6"
        ]
    );
    assert!(blob.index.entries().iter().all(|e| e.mtime == NORMALISED_MTIME));
    // The gzip header has no name and no time, and names no system.
    assert_eq!(stored[..4], [0x1f, 0x8b, 8, 0]);
    assert_eq!((&stored[4..8], stored[9]), (&[0u8; 4][..], 255));
}

#[test]
fn later_parts_win_and_type_changes_are_refused() {
    let mut layer = builder();
    layer.part("files of layer one");
    layer.file("/a/b", &b"old"[..], meta(0o644)).unwrap();
    layer.file("/a/b", &b"newer"[..], meta(0o600)).unwrap();
    layer.part("files of layer two");
    let error = layer.dir("/a/b", meta(0o755)).unwrap_err().to_string();
    assert_eq!(
        error,
        "file `/a/b` (files of layer one) stands in the way of directory `/a/b` (files of layer two)"
    );
    assert!(matches!(layer.file("/a", &b""[..], meta(0o644)), Err(LayerError::Conflict { .. })));
    assert!(matches!(layer.file("/a/b/c", &b""[..], meta(0o644)), Err(LayerError::Conflict { .. })));
    assert!(matches!(layer.file("/a/.wh.b", &b""[..], meta(0o644)), Err(LayerError::Path { .. })));
    assert!(matches!(layer.file("/a/../b", &b""[..], meta(0o644)), Err(LayerError::Traversal { .. })));
    assert_eq!(list(&finish(layer).0.index)[1], "/a/b file 5 600");
}

#[test]
fn kept_files_are_normalised_and_links_stay_links() {
    let tar = Tarball::new().dir("app", 0o750).hard_link("app/early", "app/x").file("app/x", "123");
    let tar = tar.symlink("app/link", "x").hard_link("app/also", "app/x").file("other", "").bytes();
    let rename = |name: &[u8]| {
        name.starts_with(b"app").then(|| path("opt").join(TreePath::parse(name).unwrap().as_bytes()))
    };
    let mut layer = builder();
    layer.add_tar(tar.as_slice(), &kept(&rename)).unwrap();
    layer.check_kept(&[path("opt/app/link"), path("opt/app")], None).unwrap();
    assert!(matches!(layer.check_kept(&[path("opt/none")], None), Err(LayerError::NotFound { .. })));
    let (blob, _) = finish(layer);
    assert_eq!(
        list(&blob.index),
        [
            "/opt directory 755 (implied)",
            "/opt/app directory 750",
            "/opt/app/also file 3 644",
            "/opt/app/early link /opt/app/also 644",
            "/opt/app/link -> x 777",
            "/opt/app/x link /opt/app/also 644"
        ]
    );
    assert!(blob.index.entries().iter().all(|e| e.mtime == NORMALISED_MTIME));
}

#[test]
fn the_directory_that_is_kept_may_give_way() {
    let mut layer = builder();
    let rename = under("/opt");
    let implied = [path("opt/app")];
    let spec = KeepSpec { rename: &rename, times: Times::Keep, implied: &implied };
    layer.add_tar(Tarball::new().dir("app", 0o700).dir("app/in", 0o700).bytes().as_slice(), &spec).unwrap();
    let (blob, _) = finish(layer);
    assert_eq!(
        list(&blob.index)[1..],
        ["/opt/app directory 755 (implied)", "/opt/app/in directory 700"].map(String::from)[..]
    );
    assert_eq!(blob.index.entries()[2].mtime, TIME);
}

#[test]
fn a_kept_link_must_lead_somewhere() {
    let rename = under("/usr/bin");
    let mut layer = builder();
    let tar = Tarball::new().symlink("tool", "../lib/tool.js").symlink("loop", "loop").bytes();
    layer.add_tar(tar.as_slice(), &kept(&rename)).unwrap();
    let tool = [path("usr/bin/tool")];
    let error = layer.check_kept(&tool, None).unwrap_err();
    assert!(matches!(error, LayerError::Dangling { target, .. } if target == "../lib/tool.js"));
    assert!(layer.check_kept(&[path("usr/bin/loop")], None).is_err());
    let here = tree(&[Tarball::new().file("usr/lib/tool.js", "").layer()]);
    layer.check_kept(&tool, Some(&here)).unwrap();
    let elsewhere = tree(&[Tarball::new().symlink("usr/lib", "/lib").file("lib/tool.js", "").layer()]);
    layer.check_kept(&tool, Some(&elsewhere)).unwrap();
    layer.file("/usr/lib/tool.js", &b""[..], meta(0o644)).unwrap();
    layer.check_kept(&tool, None).unwrap();
}

#[test]
fn a_hard_link_out_of_what_is_kept_is_an_error() {
    let rename = |name: &[u8]| (name != b"out").then(|| TreePath::parse(name).unwrap());
    let tar = Tarball::new().file("out", "1").hard_link("in", "out").bytes();
    let error = builder().add_tar(tar.as_slice(), &kept(&rename)).unwrap_err();
    assert!(matches!(error, LayerError::HardLink { path, target } if path == "/in" && target == "/out"));
}

fn spec<'a>(format: Archive, members: &'a [String], strip: usize, path: &'a str) -> ExtractSpec<'a> {
    ExtractSpec { format, members, strip, path, mode: None, owner: (0, 0) }
}

fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let time = zip::DateTime::from_date_and_time(2020, 9, 13, 12, 26, 40).unwrap();
    let options = zip::write::SimpleFileOptions::default().last_modified_time(time);
    for (name, content) in files {
        zip.start_file(*name, options.unix_permissions(0o750)).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.add_symlink("tool/link", "bin/x", options).unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_are_extracted_below_a_path() {
    let tar = Tarball::new().dir_of("tool", 0o755, (9, 9)).file_of("tool/bin/x", "12", 0o750, (9, 9));
    let tar = tar.hard_link("tool/bin/y", "tool/bin/x").symlink("tool/link", "bin/x").bytes();
    let zip = zip_of(&[("tool/bin/x", "12"), ("tool/bin/y", "12")]);
    for (format, bytes) in
        [(Archive::Tar, super::support::gzip(&tar)), (Archive::Tar, tar), (Archive::Zip, zip)]
    {
        let mut layer = builder();
        layer.extract(Cursor::new(&bytes), &spec(format, &[], 1, "/opt/tool")).unwrap();
        let (blob, _) = finish(layer);
        let found = list(&blob.index);
        assert_eq!(found[2], "/opt/tool/bin directory 755 (implied)");
        assert_eq!(found[3], "/opt/tool/bin/x file 2 750");
        assert_eq!(found[5], "/opt/tool/link -> bin/x 777");
        assert!(blob.index.entries()[3..].iter().all(|e| e.mtime == TIME), "{:?}", blob.index);
    }
}

#[test]
fn members_are_chosen_and_must_exist() {
    let tar = Tarball::new().file("a/bin/x", "12").file("a/doc/y", "1").bytes();
    let one = ["a/bin/x".to_owned()];
    let extract = |members: &[String], strip, path: &str| {
        let mut layer = builder();
        layer.extract(Cursor::new(&tar), &spec(Archive::Tar, members, strip, path))?;
        Ok::<_, LayerError>(list(&finish(layer).0.index).pop().unwrap())
    };
    assert_eq!(extract(&one, 0, "/bin/tool").unwrap(), "/bin/tool file 2 644");
    assert_eq!(extract(&one, 2, "/bin/").unwrap(), "/bin/x file 2 644");
    assert_eq!(extract(&["./a/doc/".to_owned()], 0, "/opt").unwrap(), "/opt/a/doc/y file 1 644");
    assert!(
        matches!(extract(&["b".to_owned()], 0, "/opt"), Err(LayerError::NoMember { member }) if member == "b")
    );
    let up = Tarball::new().raw(|h| h.as_mut_bytes()[..7].copy_from_slice(b"../evil")).bytes();
    let error = builder().extract(Cursor::new(&up), &spec(Archive::Tar, &[], 0, "/opt")).unwrap_err();
    assert!(matches!(error, LayerError::Traversal { .. }));
    // Nothing is written through a link of the archive.
    let through = Tarball::new().symlink("d", "/etc").file("d/passwd", "").bytes();
    let error = builder().extract(Cursor::new(&through), &spec(Archive::Tar, &[], 0, "/opt")).unwrap_err();
    assert!(matches!(error, LayerError::Conflict { .. }));
}

#[test]
fn gnu_tar_and_python_read_what_is_written() {
    let long = format!("{}/{}", "d".repeat(160), "f".repeat(120));
    let mut layer = builder();
    layer.file(&format!("/opt/{long}"), &b"deep"[..], Meta::new(0o4755, 3_000_000, 1)).unwrap();
    let tar =
        Tarball::new().pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=")]).file("cap", "c");
    let tar = tar.hard_link("more/link", "cap").symlink("sym", &"t".repeat(150)).file("späti", "ü").bytes();
    let rename = under("/data");
    let spec = KeepSpec { rename: &rename, times: Times::Normalise(-5), implied: &[] };
    layer.add_tar(tar.as_slice(), &spec).unwrap();
    let (_, stored) = finish(layer);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &stored).unwrap();

    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).arg(file.path()).env("TZ", "UTC").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && errors.is_empty(), "{program}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run("tar", &["--numeric-owner", "--full-time", "--quoting-style=literal", "-tvzf"]);
    let listed: Vec<_> = listed.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(
        listed.contains(&format!("-rwsr-xr-x 3000000/1 4 1980-01-01 00:00:00 opt/{long}")),
        "{listed:#?}"
    );
    assert!(
        listed.contains(&"hrw-r--r-- 0/0 0 1969-12-31 23:59:55 data/more/link link to data/cap".to_owned())
    );
    let script = "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name, m.mtime, m.pax_headers.get('comment'))";
    let listed = run("python3", &["-c", script]);
    assert!(listed.contains("data/späti -5.0 None"), "{listed}");
    assert!(listed.contains("opt 315532800 implied"), "{listed}");

    // The `tar` crate reads it too, and finds the same content.
    let mut plain = tar::Archive::new(uncompress(stored.as_slice(), None).unwrap());
    let names: Vec<_> = plain.entries().unwrap().map(|e| e.unwrap().path_bytes().into_owned()).collect();
    let (index, _) = index_layer(stored.as_slice(), MEDIA_LAYER_GZIP).unwrap();
    assert_eq!(names.len(), index.entries().len());
}

#[test]
fn layers_of_gnu_tar_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}/{}", "x".repeat(80), "y".repeat(80));
    let deep = dir.path().join(&name);
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f"), "content").unwrap();
    std::fs::hard_link(deep.join("f"), dir.path().join("g")).unwrap();
    for format in ["gnu", "posix", "ustar"] {
        let mut tar = Command::new("tar");
        let output = tar.args(["-C".as_ref(), dir.path().as_os_str(), "-cf".as_ref(), "-".as_ref()]);
        let output = output.args([&format!("--format={format}"), "."]).output().unwrap();
        let found = super::support::index(&output.stdout);
        assert!(found.get(&path(&format!("{name}/f"))).is_some(), "{format}");
        assert_eq!(found.entries().iter().filter(|e| e.kind.word() == "file").count(), 2, "{format}");
    }
}
