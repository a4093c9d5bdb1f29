//! A registry with a certificate of an authority that this machine does not know.

use super::servers::{Running, project, registry, tool};

fn with_certificate() -> Running {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    let own = ["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
    tool("openssl", path, &[&new[..], &own].concat());
    let leaf = [
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-subj",
        "/CN=registry",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    tool("openssl", path, &[&new[..], &leaf].concat());
    registry(directory, "  tls: {certificate: $DIR/cert.pem, key: $DIR/key.pem}\n")
}

#[test]
fn an_authority_of_ones_own_is_named_or_certificates_are_not_judged() {
    let server = with_certificate();
    let manifest = |settings: &str| {
        format!(
            "schema = 1\n[project]\nname = \"p\"\nrepository = \"{host}/acme\"\n[registries.\"{host}\"]\n{settings}\n\
             [layers.text]\nfiles = [{{ path = \"/text\", content = \"x\" }}]\n\
             [images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"text\"]\n",
            host = server.host
        )
    };
    std::fs::copy(server.directory.path().join("ca.pem"), server.directory.path().join("own.pem")).unwrap();
    let ca = server.directory.path().join("own.pem");
    let named = project(&manifest(&format!("ca = \"{}\"", ca.display())));
    named.push(&[]);
    named.run(&["status", "--exit-code"]).code(0);
    let unjudged = project(&manifest("skip_tls_verify = true"));
    unjudged.run(&["status"]).code(0).prints(&["1"]);
    // Another authority than the registry's: this machine's own certificates do not do.
    let other = project(&manifest("ca = \"other.pem\""));
    let directory = other.path("keys");
    std::fs::create_dir(&directory).unwrap();
    let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"];
    tool("openssl", &directory, &[&new[..], &["-keyout", "key.pem", "-out", "../other.pem"]].concat());
    other.run(&["build", "--push"]).code(3).says(&["certificate"]);
    let missing = project(&manifest("ca = \"missing.pem\""));
    let begun = std::time::Instant::now();
    let ended = missing.run(&["build", "--push"]).code(3);
    ended.says(&["missing.pem", "help: correct `ca` of the registry"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "it was tried again");
}
