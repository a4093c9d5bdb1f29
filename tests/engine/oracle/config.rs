//! Configurations against those that a Dockerfile's instructions make.

use crate::support::compare::{Rules, assert_equal};
use crate::support::fixture::{Fixture, dir, file};
use crate::support::lab::{Case, Lab};
use serde_json::json;

fn with_config() -> Fixture {
    Fixture::new([dir("etc"), dir("srv"), dir("srv/work"), file("etc/x", "x")]).config(json!({
        "Env": ["FIRST=1", "PATH=/base/bin:/bin", "CHANGED=old", "KEPT=a=b c"],
        "Entrypoint": ["/base-entry", "arg"],
        "Cmd": ["base", "cmd"],
        "User": "daemon",
        "WorkingDir": "/srv",
        "Labels": {"kept": "label", "changed": "old"},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
        "Shell": ["/bin/bash", "-c"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000u64, "Retries": 3},
    }))
}

fn configured(test: &str, base: &Fixture, image: &str, dockerfile: &str) {
    let mut lab = Lab::new(test);
    lab.push("base", base);
    let image = format!("base = \"$base\"\n{image}");
    let dockerfile = format!("FROM $base\n{dockerfile}");
    lab.judge(&Case { image: &image, dockerfile: &dockerfile, ..Case::default() });
}

#[test]
fn what_is_not_written_is_the_bases() {
    configured("config-inherited", &with_config(), "", "LABEL kept=label\n");
}

#[test]
fn an_entrypoint_clears_the_command_and_path_is_put_before_the_bases() {
    configured(
        "config-entrypoint",
        &with_config(),
        "entrypoint = [\"/run.sh\", \"--flag\"]\npath = [\"/var/lang/bin\", \"/opt/bin\"]\n\
         env = { CHANGED = \"new\", NEW = \"$ {} \\\"q\\\" 'x' = \", LAST = \"\" }\n\
         user = \"1001:0\"\nworkdir = \"/srv/work\"\nlabels = { changed = \"new\", added = \"Größe\" }",
        "ENV PATH=/var/lang/bin:/opt/bin:$PATH\nENV CHANGED=new NEW=\"\\$ {} \\\"q\\\" 'x' = \" LAST=\n\
         USER 1001:0\nWORKDIR /srv/work\nLABEL changed=new added=Größe\nENTRYPOINT [\"/run.sh\", \"--flag\"]\n",
    );
}

#[test]
fn a_command_leaves_the_entrypoint() {
    configured("config-cmd", &with_config(), "cmd = [\"new\"]", "CMD [\"new\"]\n");
}

#[test]
fn entrypoint_and_command_are_both_set() {
    configured(
        "config-both",
        &with_config(),
        "entrypoint = [\"/e\"]\ncmd = [\"a\", \"b\"]\nuser = \"root\"",
        "USER root\nENTRYPOINT [\"/e\"]\nCMD [\"a\", \"b\"]\n",
    );
}

#[test]
fn an_empty_entrypoint_clears_both() {
    configured("config-empty", &with_config(), "entrypoint = []", "ENTRYPOINT []\n");
}

#[test]
fn an_empty_command_clears_the_command() {
    configured("config-empty-cmd", &with_config(), "cmd = []", "CMD []\n");
}

#[test]
fn a_base_without_path_gets_dockers() {
    let bare = Fixture::new([dir("etc")]).config(json!({"Cmd": ["sh"]}));
    configured("config-no-path", &bare, "env = { A = \"1\" }", "ENV A=1\n");
    configured("config-path", &bare, "path = [\"/opt/bin\"]", "ENV PATH=/opt/bin:$PATH\n");
}

#[test]
fn env_refers_to_the_bases() {
    configured(
        "config-base-env",
        &with_config(),
        "env = { KEPT = \"{{ base.env.KEPT }} and more\", COPY = \"{{ base.env.FIRST }}\" }",
        "ENV KEPT=\"$KEPT and more\" COPY=$FIRST\n",
    );
}

#[test]
fn declared_a_workdir_that_is_not_there_is_left_to_the_container() {
    // BuildKit makes the directory when it builds; engines make it for each container.
    let mut lab = Lab::new("config-workdir");
    lab.push("base", &Fixture::new([dir("etc")]));
    let case = Case {
        image: "base = \"$base\"\nworkdir = \"/made/late\"",
        dockerfile: "FROM $base\nWORKDIR /made/late\n",
        ..Case::default()
    };
    let found = lab.found(&case);
    assert!(!found.tree.contains_key("made"));
    let rules = Rules { paths: vec!["/made".into()], ..Rules::default() };
    for engine in &lab.engines {
        assert_equal(&lab.expected(&case, engine), &found, &rules, &engine.version);
        let reference = format!("{}/{}/found@{}", lab.registry.host, lab.path, found.digest);
        assert!(engine.export(&reference).tree.contains_key("made/late"));
    }
}

#[test]
fn labels_about_the_base_image_are_not_inherited() {
    // Declared: an engine inherits these, which then describe another image.
    let mut lab = Lab::new("config-labels");
    let base = Fixture::new([dir("etc")])
        .config(json!({"Labels": {"org.opencontainers.image.title": "the base", "other": "x"}}));
    lab.push("base", &base);
    let found = lab.found(&Case { image: "base = \"$base\"", ..Case::default() });
    assert_eq!(found.config["Labels"], json!({"other": "x"}));
}

#[test]
fn a_base_with_triggers_is_refused() {
    let mut lab = Lab::new("config-onbuild");
    lab.push("base", &Fixture::new([dir("etc")]).config(json!({"OnBuild": ["RUN true"]})));
    let ended = lab.attempt(&Case { image: "base = \"$base\"", ..Case::default() });
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("ONBUILD") && ended.said.contains("RUN true"), "{}", ended.said);
}
