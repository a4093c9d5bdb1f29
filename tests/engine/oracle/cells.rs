//! Images that share and build on each other, against Dockerfiles that know nothing of sharing.

use crate::support::compare::Rules;
use crate::support::fixture::{Fixture, dir, file, shell, symlink};
use crate::support::lab::{Case, Lab};
use serde_json::json;

fn source() -> Fixture {
    Fixture::new([
        dir("opt"),
        dir("opt/app"),
        dir("opt/app/bin").mode(0o750).owner(1, 2),
        file("opt/app/bin/tool", "tool").mode(0o755),
        dir("sbin"),
        file("sbin/daemon", "daemon").mode(0o755),
        dir("tmp"),
        file("tmp/seed", "seed"),
    ])
}

#[test]
fn one_layer_fits_each_base_that_lists_it() {
    let mut lab = Lab::new("fits");
    lab.push("source", &source());
    lab.push("plain", &Fixture::new([dir("opt"), dir("sbin"), dir("tmp")]));
    let strict = [dir("opt").mode(0o700).owner(5, 5), dir("opt/app").mode(0o711), dir("tmp").mode(0o1777)];
    lab.push("strict", &Fixture::new([&strict[..], &[dir("sbin").mode(0o555)]].concat()));
    let linked = [dir("opt"), dir("usr"), dir("usr/sbin").mode(0o751), symlink("sbin", "usr/sbin")];
    lab.push("linked", &Fixture::new([&linked[..], &[symlink("opt/app", "../srv"), dir("srv")]].concat()));
    lab.push("empty", &Fixture::new([dir("etc")]));
    for base in ["plain", "strict", "linked", "empty"] {
        let dockerfile = format!(
            "FROM ${base}\nCOPY --from=$source /opt/app /opt/app\n\
             COPY --from=$source /sbin/daemon /sbin/daemon\nCOPY --from=$source /tmp/seed /tmp/seed\n"
        );
        lab.judge(&Case {
            tables: r#"
[axes.system]
values = [
  { name = "plain", from = "$plain" },
  { name = "strict", from = "$strict" },
  { name = "linked", from = "$linked" },
  { name = "empty", from = "$empty" },
]
[layers.part]
copy = [{ from = "$source", paths = ["/opt/app", "/sbin/daemon", "/tmp/seed"] }]
"#,
            image: "axes = [\"system\"]\ntags = [\"{{ system }}\"]\nbase = \"{{ system.from }}\"\nlayers = [\"part\"]",
            tag: base,
            dockerfile: &dockerfile,
            ..Case::default()
        });
    }
}

#[test]
fn an_image_of_the_matrix_can_be_base_and_source() {
    let mut lab = Lab::new("stages");
    lab.push("base", &Fixture::new([dir("opt").mode(0o711), dir("tmp").mode(0o1777)]));
    lab.push("source", &source());
    lab.judge(&Case {
        tables: r#"
[layers.app]
copy = [{ from = "$source", paths = ["/opt/app"] }]
[images.lower]
base = "$base"
layers = ["app"]
env = { A = "lower", B = "lower" }
cmd = ["lower"]
push = false
[layers.taken]
copy = [{ image = "lower", paths = ["/opt/app/bin"], to = "/opt/app/sbin" }]
"#,
        image: "base = { image = \"lower\" }\nlayers = [\"taken\"]\nenv = { B = \"upper\" }",
        dockerfile: "FROM $base AS lower\nCOPY --from=$source /opt/app /opt/app\nENV A=lower B=lower\n\
            CMD [\"lower\"]\nFROM lower\nCOPY --from=lower /opt/app/bin /opt/app/sbin\nENV B=upper\n",
        ..Case::default()
    });
}

#[test]
fn commands_run_in_images_of_the_matrix() {
    let mut lab = Lab::new("run-stages");
    lab.push("base", &Fixture::new(shell()));
    lab.push("source", &source());
    lab.judge(&Case {
        tables: r#"
[layers.app]
copy = [{ from = "$source", paths = ["/opt/app"] }]
[images.lower]
base = "$base"
layers = ["app"]
env = { GREETING = "hello" }
push = false
[layers.made]
run = { image = { image = "lower" }, script = "echo $GREETING >/opt/data/made; cat /opt/app/bin/tool >>/opt/data/made; chmod 640 /opt/data/made", keep = ["/opt/data/made"] }
"#,
        image: "base = { image = \"lower\" }\nlayers = [\"made\"]\n\
            setup = [{ script = \"rm /opt/app/bin/tool; echo $GREETING >/opt/app/bin/said\" }]",
        dockerfile: "FROM $base AS lower\nCOPY --from=$source /opt/app /opt/app\nENV GREETING=hello\n\
            FROM lower\nRUN cat /opt/app/bin/tool >/tmp/tool; rm /opt/app/bin/tool; echo $GREETING >/opt/app/bin/said; \
            echo $GREETING >/opt/data/made; cat /tmp/tool >>/opt/data/made; chmod 640 /opt/data/made; rm /tmp/tool\n",
        rules: Rules::any_time(),
        runs: true,
        ..Case::default()
    });
}

#[test]
fn an_image_on_a_moved_base_is_that_of_a_new_build() {
    let mut lab = Lab::new("rebase");
    lab.push("source", &source());
    lab.push("base", &Fixture::new([dir("opt"), dir("opt/app"), dir("sbin"), dir("tmp"), file("old", "x")]));
    let case = Case {
        tables: "[layers.part]\ncopy = [{ from = \"$source\", paths = [\"/opt/app\", \"/sbin/daemon\", \"/tmp/seed\"] }]",
        image: "base = \"$base\"\nlayers = [\"part\"]\npath = [\"/opt/app/bin\"]\nentrypoint = [\"/sbin/daemon\"]",
        dockerfile: "FROM $base\nCOPY --from=$source /opt/app /opt/app\n\
            COPY --from=$source /sbin/daemon /sbin/daemon\nCOPY --from=$source /tmp/seed /tmp/seed\n\
            ENV PATH=/opt/app/bin:$PATH\nENTRYPOINT [\"/sbin/daemon\"]\n",
        ..Case::default()
    };
    let before = lab.found(&case);
    let moved = Fixture::new([
        dir("opt").mode(0o711),
        dir("opt/app").mode(0o700).owner(5, 5),
        dir("tmp").mode(0o1777),
        dir("usr"),
        dir("usr/sbin"),
        symlink("sbin", "usr/sbin"),
    ])
    .layer([file("new", "x")])
    .config(json!({"Env": ["NEW=1", "PATH=/new/bin"], "Cmd": ["gone"], "User": "5"}));
    lab.push("base", &moved);
    assert_eq!(lab.found(&case).digest, before.digest, "the lock holds the old base");
    let ended = lab.railyard(&["update"], None);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let after = lab.judge(&case);
    assert_ne!(after.digest, before.digest);
}
