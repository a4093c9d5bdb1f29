//! The setup step of the shipped delegates on each package manager; the managers only say what they are asked.

use super::build::shipped;
use crate::project::registry::{file, small_base, tool};

/// A base with a package manager and curl that write down their arguments.
fn base(project: &crate::project::Project, manager: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        cd "$1"
        mkdir -p bin opt/harness-delegate etc/yum.repos.d
        chmod 775 opt/harness-delegate
        printf '#!/bin/sh\necho "%s $*" >>/opt/asked\n' "$2" >"bin/$2"
        printf '#!/bin/sh\necho "curl $*" >>/opt/asked\necho "from $4" >"$3"\n' >bin/curl
        chmod 755 bin/*
        tar --numeric-owner --owner=0 --group=0 -cf layer.tar bin opt etc
    "#;
    tool("sh", &["-c", script, "sh", place.path().to_str().unwrap(), manager]);
    let own = project.fill(&format!("$REPO/harness/delegate:24.04.82804-{manager}"));
    let tar = place.path().join("layer.tar");
    tool("crane", &["append", "-b", small_base(), "-f", tar.to_str().unwrap(), "-t", &own]);
    own
}

#[test]
fn each_package_manager_is_asked_in_its_own_words() {
    let managers = ["microdnf", "dnf", "yum", "apk"];
    let names: Vec<String> = managers.iter().map(|manager| format!("\"24.04.82804-{manager}\"")).collect();
    let project = shipped(|text| {
        let axis = format!("[axes.delegate]\nvalues = [{}]", names.join(", "));
        let text =
            text.replace("[axes.delegate]\nvalues = [\"24.04.82804.minimal\", \"24.04.82804\"]", &axis);
        text.replace("exclude = [{ delegate = \"24.04.82804\", bundle = \"full*\" }]", "")
    });
    let from = project.fill("$HARNESS");
    let text = project.read("builds.toml").replace(&from, &project.fill("$REPO/harness"));
    project.write("builds.toml", &text);
    managers.iter().for_each(|manager| {
        base(&project, manager);
    });
    let rpm = ["--only", "bundle=small,delegate=*m", "--only", "bundle=small,delegate=*dnf"];
    let apk = ["--only", "bundle=full,delegate=*apk"];
    project.push(&[&["--no-checks"], &rpm[..], &apk[..]].concat()).all("built");
    let asked = |manager: &str, bundle: &str| {
        file(&project.fill(&format!("$REPO/delegate:24.04.82804-{manager}-{bundle}")), "opt/asked")
    };
    let url = "https://rpm.releases.hashicorp.com/RHEL/hashicorp.repo";
    let curl = format!("curl -fsSL -o /etc/yum.repos.d/hashicorp.repo {url}");
    for (manager, words) in [
        ("microdnf", "install -y --nodocs"),
        ("dnf", "install -y --setopt=tsflags=nodocs"),
        ("yum", "install -y --setopt=tsflags=nodocs"),
    ] {
        let wanted = format!(
            "{manager} {words} unzip yum-utils\n{curl}\n{manager} {words} terraform\n{manager} clean all"
        );
        assert_eq!(asked(manager, "small"), wanted);
        let repository = project.fill(&format!("$REPO/delegate:24.04.82804-{manager}-small"));
        assert_eq!(file(&repository, "etc/yum.repos.d/hashicorp.repo"), format!("from {url}"));
    }
    assert_eq!(asked("apk", "full"), "apk add --no-cache git");

    let (ended, _) = project.build(&["--push", "--no-checks", "--only", "bundle=small,delegate=*apk"], 1);
    ended.says(&["there is no repository hashicorp for apk"]);
}
