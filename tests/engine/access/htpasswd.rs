//! A registry with passwords: who railyard is, by environment, file, helper and configuration.

use super::servers::{assert_secret, crane, htpasswd, project};
use crate::project::engine::engines;
use crate::project::registry::small_base;

const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "$HOST/acme"
[registries."$HOST"]
credentials = $CREDENTIALS
[layers.text]
files = [{ path = "/text", content = "hello" }]
[images.app]
base = "scratch"
tags = ["1"]
layers = ["text"]
"#;
const PASSWORD: &str = "hunter22-of-ann";

fn manifest(host: &str, credentials: &str) -> String {
    MANIFEST.replace("$HOST", host).replace("$CREDENTIALS", credentials)
}

#[test]
fn a_password_comes_from_the_environment_a_file_a_helper_or_a_configuration() {
    let server = htpasswd(&[("ann", PASSWORD)]);
    let host = &server.host;
    for (kind, credentials) in [
        ("env", r#"{ username = { env = "REGISTRY_USER" }, password = { env = "REGISTRY_PASSWORD" } }"#),
        ("file", r#"{ username = "ann", password = { file = "secret-password" } }"#),
        ("helper", r#"{ helper = "of-test" }"#),
        ("config", r#"{ docker_config = "secret-config.json" }"#),
    ] {
        let mut project = project(&manifest(host, credentials).replace("/acme", &format!("/{kind}")));
        match kind {
            "env" => {
                project.set("REGISTRY_USER", "ann");
                project.set("REGISTRY_PASSWORD", PASSWORD);
            }
            "file" => project.write("secret-password", &format!("{PASSWORD}\n")),
            "helper" => {
                let script = format!(
                    "#!/bin/sh\nread host\n[ \"$host\" = {host} ] && echo '{{\"Username\":\"ann\",\"Secret\":\"{PASSWORD}\"}}'\n"
                );
                let path = project.path("secret-helper");
                std::fs::create_dir(&path).unwrap();
                project.write("secret-helper/secret", &script);
                let program = path.join("docker-credential-of-test");
                std::fs::rename(path.join("secret"), &program).unwrap();
                super::servers::tool("chmod", &path, &["+x", program.to_str().unwrap()]);
                let own = std::env::var("PATH").unwrap();
                project.set("PATH", &format!("{}:{own}", path.display()));
            }
            _ => {
                let auth = base64::Engine::encode(
                    &base64::engine::general_purpose::STANDARD,
                    format!("ann:{PASSWORD}"),
                );
                project
                    .write("secret-config.json", &format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#));
            }
        }
        let (ended, report) = project.build(&["--push"], 0);
        let digest = crane(host, "ann", PASSWORD, &["digest", &format!("{host}/{kind}/app:1")]);
        assert!(digest.is_some_and(|digest| report.0.to_string().contains(&digest)), "{kind}");
        let plan = project.run(&["plan", "--format", "json"]).code(0);
        let status = project.run(&["status"]).code(0);
        if kind == "helper" {
            std::fs::remove_dir_all(project.path("secret-helper")).unwrap();
        }
        assert_secret(&project, &[&ended.out, &ended.err, &plan.out, &plan.err, &status.out], &[PASSWORD]);
    }
}

#[test]
fn what_is_missing_or_refused_is_said_without_the_secret() {
    let server = htpasswd(&[("ann", PASSWORD)]);
    let credentials = r#"{ username = "ann", password = { env = "REGISTRY_PASSWORD" } }"#;
    let mut project = project(&manifest(&server.host, credentials));
    let missing = project.run(&["build", "--push"]).code(3);
    missing.says(&["the environment variable `REGISTRY_PASSWORD` is not set", &server.host]);
    project.set("REGISTRY_PASSWORD", "a-wrong-password");
    let refused = project.run(&["build", "--push"]).code(3).says(&["access denied", "401"]);
    assert_secret(&project, &[&refused.out, &refused.err], &["a-wrong-password"]);
    assert_eq!(
        crane(&server.host, "ann", PASSWORD, &["digest", &format!("{}/acme/app:1", server.host)]),
        None
    );
}

#[test]
fn an_account_of_one_repository_is_not_that_of_another() {
    let server = htpasswd(&[("ann", PASSWORD), ("bob", "hunter23-of-bob")]);
    let host = &server.host;
    let mut project = project(
        &manifest(host, r#"{ username = "ann", password = { env = "ANN" } }"#).replace(
            "[layers.text]",
            &format!(
                "[registries.\"{host}/acme/app\"]\ncredentials = {{ username = \"bob\", password = {{ env = \"BOB\" }} }}\n[layers.text]"
            ),
        ),
    );
    project.set("ANN", "wrong-password-of-ann");
    project.set("BOB", "hunter23-of-bob");
    project.push(&[]);
    assert!(crane(host, "bob", "hunter23-of-bob", &["digest", &format!("{host}/acme/app:1")]).is_some());
}

#[test]
fn engines_pull_with_the_account_of_the_repository() {
    let server = htpasswd(&[("ann", PASSWORD)]);
    for (n, engine) in engines().into_iter().enumerate() {
        let credentials = r#"{ username = "ann", password = { env = "ANN" } }"#;
        let checked = manifest(&server.host, credentials)
            .replace("/acme", &format!("/acme{n}"))
            .replace("\"scratch\"", &format!("\"{}\"\nchecks = [\"smoke\"]", small_base()))
            + "[checks.smoke]\nscript = \"cat /text\"\nexpect = \"hello\"\n";
        let mut project = project(&checked);
        project.engine = engine;
        project.set("ANN", PASSWORD);
        let (ended, report) = project.build(&["--push"], 0);
        assert_eq!(report.0["cells"][0]["outcome"], "built", "{}", ended.err);
        assert_secret(&project, &[&ended.out, &ended.err], &[PASSWORD]);
    }
}
