//! What a build needs of its environment is said before its first step.

use crate::project::Project;
use crate::server::Server;

const IMAGE: &str = "[layers.made]\nfiles = [{ path = \"/made\", content = \"x\" }]\n[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"made\"]\n";

fn project(host: &str, more: &str) -> Project {
    let head = format!("schema = 1\n[project]\nname = \"p\"\nrepository = \"{host}/acme\"\n");
    Project::new(&format!("{head}{IMAGE}{more}"))
}

/// A table of `[registries]` with an account for reading that has no password.
fn unreadable(prefix: &str, variable: &str) -> String {
    format!(
        "[registries.\"{prefix}\"]\ncredentials = {{ anonymous = true }}\npull = {{ username = \"r\", password = {{ env = \"{variable}\" }} }}\n"
    )
}

#[test]
fn a_push_reads_before_it_writes() {
    let project = project("127.0.0.1:1", &unreadable("127.0.0.1:1", "RAILYARD_TEST_PULL"));
    project.run(&["build", "--push", "--progress", "plain"]).code(3).says(&[
        "the password for `127.0.0.1:1`: the environment variable `RAILYARD_TEST_PULL` is not set",
        "for app",
        "set `RAILYARD_TEST_PULL`, or log in otherwise",
        "1 secret or credential is missing; no step was begun",
    ]);
}

#[test]
fn mirrored_images_are_looked_up_at_their_targets_and_fetched_at_their_sources() {
    let server = Server::start(|_| None);
    let digest = format!("sha256:{}", "1".repeat(64));
    let host = &server.address;
    let mirror = format!("[mirrors.ci]\nto = \"{host}/to\"\nimages = [\"127.0.0.1:1/from/a@{digest}\"]\n");
    let accounts = [("127.0.0.1:1/from", "FROM"), (&format!("{host}/to"), "TO")];
    let accounts = accounts.map(|(prefix, name)| unreadable(prefix, &format!("RAILYARD_TEST_{name}")));
    let project = project(host, &format!("push = false\n{mirror}{}", accounts.concat()));
    project.run(&["build", "--push", "--progress", "plain"]).code(3).says(&[
        "`RAILYARD_TEST_FROM` is not set",
        "`RAILYARD_TEST_TO` is not set",
        "for the cache or mirrored images",
        "2 secrets or credentials are missing; no step was begun",
    ]);
}
