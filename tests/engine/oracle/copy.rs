//! `copy` against `COPY --from`: what is taken out of the source, judged by real engines.

use crate::support::compare::{Rules, differences};
use crate::support::copying::{base, copy, lab, same_place, to_change};
use crate::support::fixture::{CAPABILITY, Fixture, TIME, dir, file, hard_link, opaque, symlink, whiteout};
use crate::support::lab::{Case, Lab};
use serde_json::json;

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
