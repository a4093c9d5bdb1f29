//! Several accounts on one host, in one run: for writing, and for reading bases.

use super::servers::{assert_secret, crane, project};
use super::tokens::{Guarded, User, guarded};
use crate::project::Project;

static USERS: &[User] = &[
    User { name: "ann", password: "hunter22-of-ann", may: &[("team-a/", "pull,push")] },
    User { name: "bob", password: "hunter23-of-bob", may: &[("team-b/", "pull,push")] },
    User { name: "reader", password: "hunter24-of-reader", may: &[("bases/", "pull")] },
    User { name: "owner", password: "hunter25-of-owner", may: &[("bases/", "pull,push")] },
];
const SECRETS: [&str; 4] = ["hunter22-of-ann", "hunter23-of-bob", "hunter24-of-reader", "hunter25-of-owner"];

const MANIFEST: &str = r#"
schema = 1
[project]
name = "p"
repository = "$HOST"
[registries."$HOST/team-a"]
credentials = { username = "ann", password = { env = "ANN" } }
[registries."$HOST/team-b"]
credentials = { identity_token = { file = "secret-bob" } }
[registries."$HOST/bases"]
pull = { username = "reader", password = { env = "READER" } }
[layers.text]
files = [{ path = "/text", content = "for both teams" }]
[images.a]
name = "team-a/app"
base = "$BASE"
tags = ["1"]
layers = ["text"]
[images.b]
extends = "a"
name = "team-b/app"
"#;

/// Pushes the base as its owner, by Docker's own configuration of the whole host.
fn base(guarded: &Guarded) -> String {
    let host = &guarded.registry.host;
    let mut owner = project(&format!(
        "schema = 1\n[project]\nname = \"bases\"\nrepository = \"{host}/bases\"\n\
         [layers.root]\nfiles = [{{ path = \"/etc/base\", content = \"base\" }}]\n\
         [images.base]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"root\"]\n\
         [registries.\"{host}\"]\ncredentials = {{ username = \"owner\", password = {{ env = \"OWNER\" }} }}\n"
    ));
    owner.set("OWNER", "hunter25-of-owner");
    owner.push(&[]);
    format!("{host}/bases/base:1")
}

fn both_teams(guarded: &Guarded) -> Project {
    let base = base(guarded);
    let mut project = project(&MANIFEST.replace("$HOST", &guarded.registry.host).replace("$BASE", &base));
    project.set("ANN", "hunter22-of-ann");
    project.set("READER", "hunter24-of-reader");
    project.write("secret-bob", "refresh-hunter23-of-bob\n");
    project
}

#[test]
fn two_accounts_of_one_host_serve_two_repositories_in_one_run() {
    let guarded = guarded(USERS);
    let host = &guarded.registry.host;
    let project = both_teams(&guarded);
    guarded.asked.lock().unwrap().clear();
    let (ended, report) = project.build(&["--push"], 0);
    let asked = std::mem::take(&mut *guarded.asked.lock().unwrap());
    let digest =
        |user, password, name: &str| crane(host, user, password, &["digest", &format!("{host}/{name}:1")]);
    let a = digest("ann", "hunter22-of-ann", "team-a/app").unwrap();
    let b = digest("bob", "hunter23-of-bob", "team-b/app").unwrap();
    assert_eq!(a, b);
    assert_eq!(digest("ann", "hunter22-of-ann", "team-b/app"), None);
    let exported =
        crane(host, "bob", "hunter23-of-bob", &["manifest", &format!("{host}/team-b/app@{b}")]).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&exported).unwrap()["layers"].as_array().unwrap().len(),
        2
    );
    // Nothing is mounted from one account's repository into the other's.
    assert_eq!(report.0["blobs"]["mounted"], 0, "{}", report.0);
    for (user, scopes) in &asked {
        let own = match user.as_str() {
            "ann" => "repository:team-a/",
            "bob" => "repository:team-b/",
            "reader" => "repository:bases/",
            other => panic!("`{other}` has no business here"),
        };
        assert!(scopes.iter().all(|scope| scope.starts_with(own)), "{user}: {scopes:?}");
        assert!(user != "reader" || scopes.iter().all(|scope| scope.ends_with(":pull")), "{scopes:?}");
    }
    let users: std::collections::BTreeSet<&String> = asked.iter().map(|(user, _)| user).collect();
    assert_eq!(users.len(), 3, "{users:?}");

    let again = project.run(&["status", "--exit-code"]).code(0);
    let plan = project.run(&["plan", "--format", "json"]).code(0);
    assert_secret(
        &project,
        &[&ended.out, &ended.err, &again.out, &again.err, &plan.out, &plan.err],
        &SECRETS,
    );
}

#[test]
fn an_account_without_the_right_is_refused_and_the_other_one_goes_on() {
    let guarded = guarded(USERS);
    let host = &guarded.registry.host;
    let project = both_teams(&guarded);
    // Bob's token is Ann's now: she may not write there.
    project.write("secret-bob", "refresh-hunter22-of-ann\n");
    let ended = project.run(&["build", "--push"]).code(3).says(&["team-b/app", "access denied"]);
    assert!(crane(host, "ann", "hunter22-of-ann", &["digest", &format!("{host}/team-a/app:1")]).is_some());
    assert!(crane(host, "bob", "hunter23-of-bob", &["digest", &format!("{host}/team-b/app:1")]).is_none());
    project.write("secret-bob", "refresh-nobody\n");
    let unknown = project.run(&["build", "--push"]).code(3).says(&["the token service answered 401"]);
    assert_secret(
        &project,
        &[&ended.out, &ended.err, &unknown.err],
        &[&SECRETS[..], &["refresh-nobody"]].concat(),
    );
}
