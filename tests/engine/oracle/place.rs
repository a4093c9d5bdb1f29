//! `copy` against `COPY --from`: how it meets what is there, judged by real engines.

use crate::support::copying::{base, copy, lab, same_place, to_change};
use crate::support::fixture::{CAPABILITY, Fixture, dir, file, symlink, whiteout};
use crate::support::lab::{Case, Ended};

#[test]
fn files_of_a_base_keep_their_capabilities_when_a_directory_comes_over_them() {
    let base = Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o750),
        file("opt/app/ping", "ping").mode(0o755).xattr("security.capability", &CAPABILITY),
        file("opt/app/replaced", "old").mode(0o4711).xattr("security.capability", &CAPABILITY),
    ]);
    let source = Fixture::new([dir("opt"), dir("opt/app"), file("opt/app/replaced", "new").mode(0o644)]);
    same_place("capability", &base, &source, "/opt/app");
}

#[test]
fn links_in_the_way_are_followed_in_the_base() {
    let base = Fixture::new([
        symlink("bin", "usr/bin"),
        symlink("lib", "/usr/lib"),
        dir("usr"),
        dir("usr/bin").mode(0o751).owner(3, 4),
        dir("usr/lib"),
        symlink("usr/lib/chain", "../share/./real/../other"),
        dir("usr/share"),
        dir("usr/share/other").mode(0o711),
        dir("usr/share/real"),
        symlink("up", "../../usr/share"),
    ]);
    let source = Fixture::new([
        dir("bin"),
        file("bin/x", "x").mode(0o755),
        dir("lib"),
        dir("lib/chain"),
        file("lib/chain/y", "y"),
        dir("up"),
        file("up/z", "z"),
    ]);
    let lab = lab("links-base", &base, &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/bin/x\", \"/lib/chain/y\", \"/up/z\"] }]",
        "FROM $base\nCOPY --from=$source /bin/x /bin/x\nCOPY --from=$source /lib/chain/y /lib/chain/y\n\
         COPY --from=$source /up/z /up/z\n",
    ));
}

#[test]
fn a_sticky_directory_stays_sticky_when_a_file_is_put_into_it() {
    let source = Fixture::new([
        dir("tmp"),
        file("tmp/file", "file"),
        dir("tmp/sub").mode(0o700),
        file("tmp/sub/file", "file"),
    ]);
    let lab = lab("sticky", &base(), &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/tmp/file\", \"/tmp/sub/file\"] }]",
        "FROM $base\nCOPY --from=$source /tmp/file /tmp/file\nCOPY --from=$source /tmp/sub/file /tmp/sub/file\n",
    ));
}

#[test]
fn metadata_of_directories_that_are_there_is_as_the_engine_leaves_it() {
    let base = Fixture::new([
        dir("opt").mode(0o711),
        dir("opt/app").mode(0o700).owner(1000, 1001),
        file("opt/app/of-base", "base"),
        dir("opt/app/nested").mode(0o1770).owner(1002, 1003),
        file("opt/app/nested/of-base", "base"),
        file("opt/app/both", "base").mode(0o600),
    ]);
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o755).owner(1, 2),
        dir("opt/app/nested").mode(0o775).owner(3, 4),
        file("opt/app/nested/of-source", "source").owner(5, 6),
        file("opt/app/both", "source").mode(0o640),
        dir("opt/app/new").mode(0o2700).owner(7, 8),
        file("opt/app/new/file", "source"),
    ]);
    for (test, from, to) in [
        ("existing", "/opt/app", "/opt/app"),
        ("existing-slash", "/opt/app/", "/opt/app/"),
        ("existing-parent", "/opt", "/opt"),
        ("existing-elsewhere", "/opt/app/nested", "/opt/app"),
    ] {
        let tables =
            format!("[layers.part]\ncopy = [{{ from = \"$source\", paths = [\"{from}\"], to = \"{to}\" }}]");
        let dockerfile = format!("FROM $base\nCOPY --from=$source {from} {to}\n");
        lab(test, &base, &source).judge(&copy(&tables, &dockerfile));
    }
}

#[test]
fn missing_directories_are_made_as_the_engine_makes_them() {
    let source = Fixture::new([
        dir("srv").mode(0o700).owner(1, 1),
        dir("srv/deep").mode(0o711).owner(2, 2),
        file("srv/deep/file", "file").mode(0o600).owner(3, 3),
        dir("srv/tree").mode(0o750).owner(4, 4),
        file("srv/tree/leaf", "leaf"),
    ]);
    let lab = lab("missing", &base(), &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [\n{ from = \"$source\", paths = [\"/srv/deep/file\"] },\n\
         { from = \"$source\", paths = [\"/srv/tree\"], to = \"/new/place/for/tree\" },\n\
         { from = \"$source\", paths = [\"/srv/deep/file\", \"/srv/tree/leaf\"], to = \"/several/here/\" },\n\
         { from = \"$source\", paths = [\"/srv/deep/file\"], to = \"/opt/renamed\" },\n]",
        "FROM $base\nCOPY --from=$source /srv/deep/file /srv/deep/file\n\
         COPY --from=$source /srv/tree /new/place/for/tree\n\
         COPY --from=$source /srv/deep/file /srv/tree/leaf /several/here/\n\
         COPY --from=$source /srv/deep/file /opt/renamed\n",
    ));
}

#[test]
fn an_owner_and_a_mode_leave_directories_that_are_there_alone() {
    let base = Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o711).owner(3, 3),
        dir("opt/app/sub").mode(0o1777).owner(4, 4),
        file("opt/app/plain", "base").mode(0o4755).owner(5, 5),
    ]);
    let lab = lab("owner-existing", &base, &to_change());
    lab.judge(&Case {
        since: 28,
        ..copy(
            "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/app\"], owner = \"1001:7\", chmod = \"0750\" }]",
            "FROM $base\nCOPY --from=$source --chown=1001:7 --chmod=0750 /opt/app /opt/app\n",
        )
    });
}

#[test]
fn a_file_goes_over_a_file_and_into_a_linked_file() {
    let base = Fixture::new([
        dir("opt"),
        file("opt/plain", "base").mode(0o600).owner(1, 2),
        file("opt/target", "base").mode(0o640).owner(3, 4),
        symlink("opt/link", "target"),
        symlink("opt/dangling", "made-by-copy"),
    ]);
    let source = Fixture::new([
        dir("opt"),
        file("opt/plain", "source").mode(0o755),
        file("opt/link", "source link").mode(0o711),
        file("opt/dangling", "source dangling"),
    ]);
    let lab = lab("over", &base, &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/plain\", \"/opt/link\", \"/opt/dangling\"] }]",
        "FROM $base\nCOPY --from=$source /opt/plain /opt/plain\nCOPY --from=$source /opt/link /opt/link\n\
         COPY --from=$source /opt/dangling /opt/dangling\n",
    ));
}

#[test]
fn a_directory_goes_through_a_link_to_a_directory() {
    let base = Fixture::new([
        dir("opt"),
        symlink("opt/app", "../srv/app"),
        dir("srv"),
        dir("srv/app").mode(0o700).owner(5, 5),
        file("srv/app/of-base", "base"),
    ]);
    let source = Fixture::new([dir("opt"), dir("opt/app").mode(0o750), file("opt/app/file", "source")]);
    same_place("dir-link", &base, &source, "/opt/app");
}

#[test]
fn a_link_goes_over_a_file_a_link_and_inside_a_directory() {
    let base = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        file("opt/app/was-file", "base"),
        symlink("opt/app/was-link", "elsewhere"),
        symlink("opt/app/to-dir", "real"),
        dir("opt/app/real"),
    ]);
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        symlink("opt/app/was-file", "a"),
        symlink("opt/app/was-link", "b"),
        symlink("opt/app/to-dir", "c"),
        symlink("opt/app/new", "d"),
    ]);
    same_place("link-over", &base, &source, "/opt/app");
}

#[test]
fn a_file_goes_over_a_link_inside_a_directory() {
    let base = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        file("opt/app/target", "base"),
        symlink("opt/app/link", "target"),
        symlink("opt/app/dangling", "nowhere"),
    ]);
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        file("opt/app/link", "source").mode(0o755),
        file("opt/app/dangling", "source"),
    ]);
    same_place("file-over-link", &base, &source, "/opt/app");
}

#[test]
fn layers_go_on_top_of_each_other() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o700).owner(4, 4),
        file("opt/app/one", "one"),
        dir("opt/more"),
        file("opt/more/two", "two"),
    ]);
    let lab = lab("stacked", &base(), &source);
    lab.judge(&Case {
        image: "base = \"$base\"\nlayers = [\"first\", \"second\", \"third\"]",
        ..copy(
            "[layers.first]\ncopy = [{ from = \"$source\", paths = [\"/opt/app\"], to = \"/srv/app\" }]\n\
             [layers.second]\ncopy = [{ from = \"$source\", paths = [\"/opt/more\"], to = \"/srv/app/more\" }]\n\
             [layers.third]\ncopy = [{ from = \"$source\", paths = [\"/opt/more/two\"], to = \"/srv/app/one\" }]",
            "FROM $base\nCOPY --from=$source /opt/app /srv/app\nCOPY --from=$source /opt/more /srv/app/more\n\
             COPY --from=$source /opt/more/two /srv/app/one\n",
        )
    });
}

/// Both refuse; railyard names both sides.
fn conflict(test: &str, base: &Fixture, source: &Fixture, path: &str, words: &[&str]) {
    let lab = lab(test, base, source);
    let tables = format!("[layers.part]\ncopy = [{{ from = \"$source\", paths = [\"{path}\"] }}]");
    let dockerfile = format!("FROM $base\nCOPY --from=$source {path} {path}\n");
    let case = copy(&tables, &dockerfile);
    for engine in &lab.engines {
        lab.refusal(&case, engine);
    }
    refused(&lab.attempt(&case), words);
}

fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for word in words {
        assert!(ended.said.contains(word), "`{word}` is not in: {}", ended.said);
    }
}

#[test]
fn a_directory_where_a_file_is_is_refused() {
    let base = Fixture::new([dir("opt"), file("opt/app", "a file")]);
    let source = Fixture::new([dir("opt"), dir("opt/app"), file("opt/app/x", "x")]);
    conflict("dir-over-file", &base, &source, "/opt/app", &["file `/opt/app`", "directory `/opt/app`"]);
}

#[test]
fn a_file_where_a_directory_is_is_refused() {
    let base = Fixture::new([dir("opt"), dir("opt/app"), dir("opt/app/x"), file("opt/app/x/inside", "x")]);
    let source = Fixture::new([dir("opt"), dir("opt/app"), file("opt/app/x", "a file")]);
    conflict("file-over-dir", &base, &source, "/opt/app", &["file `/opt/app/x`", "directory `/opt/app/x`"]);
}

#[test]
fn a_file_in_the_way_is_refused() {
    let base = Fixture::new([dir("opt"), file("opt/app", "a file")]);
    let source = Fixture::new([dir("opt"), dir("opt/app"), file("opt/app/x", "x")]);
    conflict("file-in-the-way", &base, &source, "/opt/app/x", &["file `/opt/app`"]);
}

#[test]
fn declared_a_file_named_as_a_directory_of_the_base_is_refused() {
    // An engine makes `/opt/app/app` of it, which is hardly what anybody means.
    let base = Fixture::new([dir("opt"), dir("opt/app")]);
    let source = Fixture::new([dir("opt"), file("opt/app", "source")]);
    let lab = lab("file-into-dir", &base, &source);
    let case = copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/app\"] }]",
        "FROM $base\nCOPY --from=$source /opt/app /opt/app\n",
    );
    for engine in &lab.engines {
        assert!(lab.expected(&case, engine).tree.contains_key("opt/app/app"));
    }
    refused(&lab.attempt(&case), &["directory `/opt/app`", "file `/opt/app`"]);
}

#[test]
fn declared_a_directory_inside_a_directory_goes_through_a_link_to_a_directory() {
    // An engine refuses it, though it goes through such a link where the directory itself is named.
    let base = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        symlink("opt/app/sub", "../other"),
        dir("opt/other").mode(0o700),
        file("opt/other/of-base", "base"),
    ]);
    let source =
        Fixture::new([dir("opt"), dir("opt/app"), dir("opt/app/sub"), file("opt/app/sub/file", "x")]);
    let lab = lab("dir-over-link", &base, &source);
    let case = copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/app\"] }]",
        "FROM $base\nCOPY --from=$source /opt/app /opt/app\n",
    );
    for engine in &lab.engines {
        assert!(lab.refusal(&case, engine).contains("non-directory"));
    }
    let tree = lab.found(&case).tree;
    assert_eq!(tree["opt/app/sub"].target, "../other");
    assert!(tree.contains_key("opt/other/of-base") && tree.contains_key("opt/other/file"));
}

#[test]
fn what_the_source_lacks_is_refused() {
    let source = Fixture::new([dir("opt"), file("opt/gone", "x")]).layer([dir("opt"), whiteout("opt/gone")]);
    conflict("lacking", &base(), &source, "/opt/gone", &["/opt/gone"]);
}
