//! Images of Dockerfiles against those that the engines make of the same files.

use crate::support::compare::Rules;
use crate::support::fixture::{Fixture, dir, file, shell, symlink};
use crate::support::lab::{Case, Lab};

const DOCKERFILE: &str = "FROM $base AS made\n\
    RUN mkdir -p /made/deep && echo one >/made/deep/file && ln /made/deep/file /made/hard && ln -s deep /made/link\n\
    FROM $base\n\
    ARG WHO=world\n\
    COPY --chown=12:34 tree /srv/tree/\n\
    COPY --from=made /made /opt/made\n\
    ADD packed.tar /unpacked/\n\
    RUN rm -r /gone && rm /lost && rm -r /again && mkdir /again && echo $WHO >/again/new && chmod 1777 /sticky\n\
    WORKDIR /work/place\n\
    ENV WHO=$WHO\n\
    USER 12:34\n\
    VOLUME /data\n\
    EXPOSE 80 53/udp\n\
    STOPSIGNAL SIGTERM\n\
    HEALTHCHECK --interval=5s CMD [\"true\"]\n\
    SHELL [\"/bin/sh\", \"-ec\"]\n\
    LABEL org.opencontainers.image.title=oracle own=label\n\
    ENTRYPOINT [\"/bin/sh\"]\n\
    CMD [\"-c\", \"true\"]\n";

fn packed() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(6);
    header.set_mode(0o640);
    header.set_uid(5);
    header.set_gid(6);
    builder.append_data(&mut header, "inside/file", &b"packed"[..]).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn files_and_configuration_are_those_of_the_engines() {
    let mut lab = Lab::new("dockerfile");
    let mut entries = shell();
    entries.extend([
        dir("gone"),
        file("gone/x", "x"),
        file("lost", "y"),
        dir("again"),
        file("again/old", "old"),
        dir("sticky"),
        dir("real"),
        symlink("data", "real"),
    ]);
    lab.push("base", &Fixture::new(entries));
    let found = lab.judge(&Case {
        image: "dockerfile = { context = \"context\", args = { WHO = \"world\" } }",
        dockerfile: DOCKERFILE,
        context: vec![
            ("tree/bin/tool", b"#!/bin/sh\n".to_vec(), 0o755),
            ("tree/private", b"secret".to_vec(), 0o600),
            ("packed.tar", packed(), 0o644),
        ],
        rules: Rules::any_time(),
        runs: true,
        ..Case::default()
    });
    assert!(found.tree.contains_key("again/new") && !found.tree.contains_key("again/old"));
}
