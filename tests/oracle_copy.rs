//! `copy` against `COPY --from`: the hard cases of images' file systems, judged by real engines.

mod support;

use serde_json::json;
use support::compare::{Rules, differences};
use support::fixture::{CAPABILITY, Fixture, TIME, dir, file, hard_link, opaque, symlink, whiteout};
use support::lab::{Case, Ended, Lab};

/// A base with the usual directories, some of them with metadata worth keeping.
fn base() -> Fixture {
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

fn copy<'a>(tables: &'a str, dockerfile: &'a str) -> Case<'a> {
    Case { tables, image: "base = \"$base\"\nlayers = [\"part\"]", dockerfile, ..Case::default() }
}

fn lab(test: &str, base: &Fixture, source: &Fixture) -> Lab {
    let mut lab = Lab::new(test);
    lab.push("base", base);
    lab.push("source", source);
    lab
}

/// The plain case: one path to the same place.
fn same_place(test: &str, base: &Fixture, source: &Fixture, path: &str) {
    let tables = format!("[layers.part]\ncopy = [{{ from = \"$source\", paths = [\"{path}\"] }}]");
    let dockerfile = format!("FROM $base\nCOPY --from=$source {path} {path}\n");
    lab(test, base, source).judge(&copy(&tables, &dockerfile));
}

#[test]
fn the_judge_sees_every_kind_of_difference() {
    let same = [dir("d"), file("d/same", "same").mode(0o4755)];
    let left = [
        file("content", "one"),
        file("mode", ""),
        file("owner", ""),
        file("time", ""),
        file("capability", "").xattr("security.capability", &CAPABILITY),
        file("kind", ""),
        symlink("target", "a"),
        file("name", "x"),
        hard_link("other-name", "name"),
        file("gone", ""),
    ];
    let right = [
        file("content", "two"),
        file("mode", "").mode(0o755),
        file("owner", "").owner(0, 1),
        file("time", "").time(TIME + 1),
        file("capability", ""),
        dir("kind"),
        symlink("target", "b"),
        file("name", "x"),
        file("other-name", "x"),
    ];
    let mut lab = Lab::new("judge");
    lab.push("left", &Fixture::new([&same[..], &left].concat()));
    lab.push("right", &Fixture::new([&same[..], &right].concat()).config(json!({"Env": ["PATH=/x"]})));
    let [left, right] = ["left", "right"].map(|name| lab.pull(&format!("{}/{name}", lab.path), "1"));
    let seen = differences(&left, &right, &Rules::default());
    let seen: Vec<&str> = seen.iter().filter_map(|line| line.split_once(':')).map(|(at, _)| at).collect();
    let all = "config Env,/capability,/content,/gone,/kind,/mode,/name,/other-name,/owner,/target,/time";
    assert_eq!(seen.join(","), all);
    assert_eq!(differences(&left, &left, &Rules::default()), Vec::<String>::new());
}

#[test]
fn deleted_files_of_the_source_stay_deleted() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        file("opt/app/kept", "kept").mode(0o755),
        file("opt/app/gone", "gone"),
        dir("opt/app/sub"),
        file("opt/app/sub/gone", "gone"),
        file("opt/app/sub/changed", "old"),
        dir("opt/app/gone-dir"),
        file("opt/app/gone-dir/file", "gone"),
    ])
    .layer([
        dir("opt"),
        dir("opt/app"),
        whiteout("opt/app/gone"),
        whiteout("opt/app/gone-dir"),
        dir("opt/app/sub").mode(0o750),
        whiteout("opt/app/sub/gone"),
        file("opt/app/sub/changed", "new"),
    ])
    .layer([dir("opt"), dir("opt/app"), file("opt/app/gone-dir", "a file now")]);
    same_place("whiteout", &base(), &source, "/opt/app");
}

#[test]
fn opaque_directories_of_the_source_hide_what_is_beneath() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        file("opt/app/kept", "kept"),
        dir("opt/app/sub"),
        file("opt/app/sub/old", "old"),
        dir("opt/app/sub/deep"),
        file("opt/app/sub/deep/old", "old"),
    ])
    .layer([
        dir("opt"),
        dir("opt/app"),
        dir("opt/app/sub").mode(0o700),
        opaque("opt/app/sub"),
        file("opt/app/sub/new", "new"),
    ]);
    same_place("opaque", &base(), &source, "/opt/app");
}

#[test]
fn hard_links_hold_inside_the_selection_and_become_files_at_its_edge() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/aside"),
        file("opt/aside/outer", "shared with outside").mode(0o755).owner(7, 8),
        dir("opt/app"),
        hard_link("opt/app/edge", "opt/aside/outer").mode(0o755).owner(7, 8),
        // What a later name says of mode and owner holds for the file.
        hard_link("opt/app/edge-2", "opt/aside/outer").mode(0o711).owner(9, 8),
        file("opt/app/one", "shared inside").mode(0o640),
        dir("opt/app/sub"),
        hard_link("opt/app/sub/two", "opt/app/one").mode(0o640),
        file("opt/app/broken", "first").mode(0o600),
        hard_link("opt/app/broken-2", "opt/app/broken").mode(0o600),
    ])
    .layer([dir("opt"), dir("opt/app"), file("opt/app/broken", "written anew")]);
    same_place("hard-link", &base(), &source, "/opt/app");
}

#[test]
fn two_copies_do_not_share_hard_links() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/a"),
        file("opt/a/one", "shared"),
        dir("opt/b"),
        hard_link("opt/b/two", "opt/a/one"),
    ]);
    let lab = lab("hard-links", &base(), &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/a\", \"/opt/b\"] }]",
        "FROM $base\nCOPY --from=$source /opt/a /opt/a\nCOPY --from=$source /opt/b /opt/b\n",
    ));
}

#[test]
fn file_capabilities_and_special_bits_are_kept() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app").mode(0o2775).owner(100, 200),
        file("opt/app/ping", "ping").mode(0o755).xattr("security.capability", &CAPABILITY),
        file("opt/app/su", "su").mode(0o4755),
        file("opt/app/wall", "wall").mode(0o2755).owner(0, 5),
        dir("opt/app/spool").mode(0o1777),
        file("opt/app/secret", "secret").mode(0).owner(1000, 1000),
        file("opt/app/late", "late").time(TIME + 86_399),
    ]);
    same_place("special", &base(), &source, "/opt/app");
}

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
fn links_in_the_way_are_followed_in_the_source() {
    let source = Fixture::new([
        symlink("bin", "usr/bin"),
        dir("opt"),
        symlink("opt/current", "/opt/versions/2"),
        dir("opt/versions"),
        symlink("opt/versions/2", "2.1"),
        dir("opt/versions/2.1"),
        file("opt/versions/2.1/tool", "tool").mode(0o755),
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/x", "x").mode(0o755),
    ]);
    let lab = lab("links-source", &base(), &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/bin/x\", \"/opt/current/tool\"] }]",
        "FROM $base\nCOPY --from=$source /bin/x /bin/x\nCOPY --from=$source /opt/current/tool /opt/current/tool\n",
    ));
}

#[test]
fn a_named_link_is_followed_and_links_inside_a_directory_are_copied_as_links() {
    let source = Fixture::new([
        dir("opt"),
        dir("opt/app"),
        file("opt/app/real", "real").mode(0o755),
        symlink("opt/app/relative", "real").owner(5, 6),
        symlink("opt/app/absolute", "/opt/app/real"),
        symlink("opt/app/dangling", "nowhere"),
        symlink("opt/app/dir-link", "../other"),
        dir("opt/other").mode(0o700),
        file("opt/other/inside", "inside"),
        symlink("opt/named", "app/real"),
        symlink("opt/named-dir", "other"),
    ]);
    let lab = lab("links-copied", &base(), &source);
    lab.judge(&copy(
        "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/app\", \"/opt/named\", \"/opt/named-dir\"] }]",
        "FROM $base\nCOPY --from=$source /opt/app /opt/app\nCOPY --from=$source /opt/named /opt/named\n\
         COPY --from=$source /opt/named-dir /opt/named-dir\n",
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

fn to_change() -> Fixture {
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

#[test]
fn a_new_owner_is_given_to_all_that_is_copied() {
    let lab = lab("owner", &base(), &to_change());
    lab.judge(&copy(
        "[layers.part]\ncopy = [\n{ from = \"$source\", paths = [\"/opt/app\"], owner = \"1001:0\" },\n\
         { from = \"$source\", paths = [\"/opt/app/tool\"], to = \"/new/place/tool\", owner = \"12:34\" },\n]",
        "FROM $base\nCOPY --from=$source --chown=1001:0 /opt/app /opt/app\n\
         COPY --from=$source --chown=12:34 /opt/app/tool /new/place/tool\n",
    ));
}

#[test]
fn an_octal_mode_is_given_to_all_that_is_copied() {
    // Docker 20.10 leaves set-user-ID bits standing that the mode does not have. Docker 28 gives an
    // octal mode to the directories that it makes on the way, too, even 0644: declared, these stay
    // 0755 in railyard, as in 20.10 and as with symbolic modes.
    let base = Fixture::new([dir("opt"), dir("opt/app"), dir("srv")]);
    let lab = lab("chmod", &base, &to_change());
    lab.judge(&Case {
        since: 28,
        ..copy(
            "[layers.part]\ncopy = [\n{ from = \"$source\", paths = [\"/opt/app\"], chmod = \"0750\" },\n\
             { from = \"$source\", paths = [\"/opt/app/tool\"], to = \"/srv/tool\", chmod = \"4750\" },\n]",
            "FROM $base\nCOPY --from=$source --chmod=0750 /opt/app /opt/app\n\
             COPY --from=$source --chmod=4750 /opt/app/tool /srv/tool\n",
        )
    });
}

#[test]
fn a_symbolic_mode_is_applied_to_all_that_is_copied() {
    let lab = lab("chmod-symbolic", &base(), &to_change());
    lab.judge(&Case {
        since: 28,
        ..copy(
            "[layers.part]\ncopy = [\n{ from = \"$source\", paths = [\"/opt/app\"], chmod = \"u+x,go=rX\" },\n\
             { from = \"$source\", paths = [\"/opt/app\"], to = \"/exact\", chmod = \"u=rwX,go=r\" },\n\
             { from = \"$source\", paths = [\"/opt/app\"], to = \"/less\", chmod = \"a-x\" },\n\
             { from = \"$source\", paths = [\"/opt/app/tool\"], to = \"/new/place/tool\", chmod = \"a+x,g+w\" },\n]",
            "FROM $base\nCOPY --from=$source --chmod=u+x,go=rX /opt/app /opt/app\n\
             COPY --from=$source --chmod=u=rwX,go=r /opt/app /exact\n\
             COPY --from=$source --chmod=a-x /opt/app /less\n\
             COPY --from=$source --chmod=a+x,g+w /opt/app/tool /new/place/tool\n",
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
fn names_and_numbers_of_every_kind_are_kept() {
    let long = format!("opt/app/{}", "long-name-".repeat(20));
    let deep = format!("opt/app/{}", ["deep-directory-name"; 12].join("/"));
    let mut entries = vec![dir("opt"), dir("opt/app")];
    entries.extend(deep.match_indices('/').skip(2).map(|(at, _)| dir(&deep[..at])));
    entries.extend([
        dir(&deep),
        file(&format!("{deep}/file"), "deep"),
        file(&long, "long"),
        symlink("opt/app/far", &"../".repeat(60)),
        file("opt/app/with space", "space"),
        file("opt/app/with\nnewline \\ and \"quotes\"", "newline"),
        file("opt/app/größe-漢字", "unicode"),
        file("opt/app/-", "dash"),
        file("opt/app/empty", ""),
        dir("opt/app/empty-dir"),
        file("opt/app/big-owner", "owner").owner(1_500_000_000, 2_000_001),
        file("opt/app/epoch", "epoch").time(0),
        file("opt/app/late", "late").time(4_000_000_000),
        file("opt/app/large", vec![7u8; 300_000]),
    ]);
    same_place("names", &base(), &Fixture::new(entries), "/opt/app");
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

#[test]
fn scratch_gets_what_is_copied_and_the_directories_it_needs() {
    let source = Fixture::new([
        dir("opt").mode(0o700),
        dir("opt/app").mode(0o711),
        file("opt/app/tool", "tool").mode(0o755),
        dir("opt/scripts").mode(0o775),
        file("opt/scripts/run.sh", "#!/bin/sh\n").mode(0o755),
    ]);
    let lab = lab("scratch", &base(), &source);
    lab.judge(&Case {
        image: "base = \"scratch\"\nlayers = [\"part\"]",
        ..copy(
            "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/app/tool\", \"/opt/scripts/\"] }]",
            "FROM scratch\nCOPY --from=$source /opt/app/tool /opt/app/tool\n\
             COPY --from=$source /opt/scripts/ /opt/scripts/\n",
        )
    });
}

#[test]
fn the_whole_tree_can_be_copied() {
    let source = Fixture::new([
        dir("bin"),
        file("bin/x", "x").mode(0o755),
        dir("tmp").mode(0o1777),
        symlink("lib", "bin"),
    ])
    .layer([dir("bin"), whiteout("bin/x"), file("bin/y", "y")]);
    same_place("root", &base(), &source, "/");
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

#[test]
fn extended_attributes_of_users_are_at_least_those_that_the_engine_keeps() {
    // Engines with a graph driver keep `security.capability` alone; railyard keeps all.
    let source = Fixture::new([
        dir("opt"),
        file("opt/tagged", "x").xattr("user.note", b"kept").xattr("security.capability", &CAPABILITY),
    ]);
    let lab = lab("xattrs", &base(), &source);
    let tables = "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/tagged\"] }]";
    let dockerfile = "FROM $base\nCOPY --from=$source /opt/tagged /opt/tagged\n";
    let rules = Rules { xattrs: true, ..Rules::default() };
    let found = lab.judge(&Case { rules, ..copy(tables, dockerfile) });
    let xattrs = &found.tree["opt/tagged"].xattrs;
    assert_eq!(xattrs.get("security.capability").map(Vec::as_slice), Some(&CAPABILITY[..]));
    assert_eq!(xattrs.get("user.note").map(Vec::as_slice), Some(&b"kept"[..]));
}
