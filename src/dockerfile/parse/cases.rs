//! Dockerfiles as BuildKit reads them: what each takes from outside, or why it is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Settings, parse, taken_by_trigger};

/// The names from outside, or the messages with their lines.
fn read(text: &str) -> String {
    let args = BTreeMap::from([("GIVEN".to_owned(), "given".to_owned())]);
    let settings = Settings { args: &args, target: None, platform: "linux/amd64" };
    match parse(text, settings, &BTreeSet::from(["context".to_owned()])) {
        Ok(found) => {
            // Renaming touches the names and nothing else.
            let marked = found.renamed(|name| Some(format!("\u{1}{}\u{2}", name.text)));
            let count = marked.matches('\u{1}').count();
            assert_eq!(count, found.names.len(), "{text}");
            let names: Vec<&str> = found.names.iter().map(|name| name.text.as_str()).collect();
            names.join(" ")
        }
        Err(errors) => {
            let line = |at: usize| text[..at].matches('\n').count() + 1;
            let shown = errors.iter().map(|error| format!("{}: {}", line(error.at.start), error.message));
            shown.collect::<Vec<_>>().join("; ")
        }
    }
}

#[track_caller]
fn all(cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(read(text), *wanted, "\n{text}");
    }
}

#[test]
fn lines_and_directives() {
    all(&[
        ("FROM \\\n# comment\n\n  a\\\n:1 \\ \n AS x\n", "a:1"),
        ("\u{feff}FROM a\n", "a"),
        ("\u{feff}# syntax=s/t:1\r\nFROM a\r\n", "s/t:1 a"),
        ("#!/usr/bin/env x\n# syntax=s\nFROM a\n", "s a"),
        ("# other=1\n# syntax=s\nFROM a\n", "s a"),
        ("# a comment\n# syntax=s\nFROM a\n", "a"),
        ("# escape=`\nFROM a\nCOPY `\n  --from=b c:\\ d\n", "a b"),
        ("  # comment\n \t FROM a\n  from b as c\nFrOm c\nCoPy --from=d / /\n", "b d"),
        ("FROM a\nRUN x \\\n  # FROM b\n  y \\\n", "a"),
        ("FROM a\nRUN x \\\\\nFROM b\n", "b"),
        ("FROM a\n\\\n FROM b\n", "b"),
    ]);
}

#[test]
fn here_documents() {
    all(&[
        ("FROM ruby AS a\nRUN echo \"use cat <<EOF to write\"\nFROM python\nRUN x\n", "python"),
        ("FROM a\nRUN echo 'x <<EOF'\nFROM b\n", "b"),
        ("FROM a\nRUN <<_EOF_\nFROM b\n_EOF_\nCOPY --from=c / /\n", "a c"),
        ("FROM a\nRUN <<-EOF-1\nFROM b\n\t\tEOF-1\nFROM c\n", "c"),
        ("FROM a\nRUN cat <<A <<\"B\" >x\nA is\nA\nFROM b\nB\nFROM c\n", "c"),
        ("FROM a\nCOPY <<A <<'B' /\n$x\nA\nB\nFROM c\n", "c"),
        ("FROM a\nADD --chown=0 <<A /x\r\nFROM b\r\nA\r\nFROM c\r\n", "c"),
        ("FROM a\nRUN [\"sh\", \"<<EOF\"]\nFROM b\n", "b"),
        ("FROM a\nRUN [ -f <<EOF ]\nFROM b\nEOF\nFROM c\n", "c"),
        ("FROM a\nCMD cat <<EOF\nFROM b\n", "b"),
        ("FROM a\nRUN cat <<<EOF 2<< x\nFROM b\n", "b"),
        ("FROM a\nRUN echo it's <<EOF\nFROM b\n", "b"),
        ("FROM a\nRUN x \\\n  <<EOF\n# no \\\nEOF\nFROM b\n", "b"),
        ("FROM a\nONBUILD RUN <<EOF\nFROM b\nEOF\nFROM c\n", "c"),
        ("FROM a\nRUN <<EOF\nFROM b\n", "2: the here-document does not end: no line is `EOF`"),
        ("FROM a\nRUN <<A <<B\nA\n B\n", "2: the here-document does not end: no line is `B`"),
    ]);
}

#[test]
fn arguments_and_names() {
    all(&[
        ("ARG TITLE=\"hello world\"\nFROM a\n", "a"),
        ("ARG A='b c' V=1 U\nFROM x:${V}\n", "x:1"),
        ("ARG A=\"b\\\" c\" V=1\nFROM \"x\":$V$U\n", "x:1"),
        ("ARG GIVEN=default\nFROM x:$GIVEN\n", "x:given"),
        ("ARG V\nFROM x:${V:-2}${V:+3}-$TARGETARCH\n", "x:2-amd64"),
        ("ARG V=v1.2.3 W=${V#v}\nFROM x:${V%.*}-${W//./_}\n", "x:v1.2-1_2_3"),
        ("ARG V=1\nFROM a\nARG V=2\nFROM x:$V\n", "x:1"),
        ("FROM --platform=$BUILDPLATFORM a AS Build-1.x\nFROM build-1.x\n", "a"),
        ("FROM --platform=\"linux/amd64\" a\n", "a"),
        ("FROM context\nCOPY --from=context / /\n", "context context"),
        ("FROM a b\n", "1: `FROM` has another form"),
        ("FROM a # comment\n", "1: `FROM` has another form"),
    ]);
}

#[test]
fn what_is_taken_from() {
    all(&[
        ("FROM a AS x\nFROM b\nCOPY --link --chown=1 --from=X / /\n", "a b"),
        ("FROM a\nFROM b\nCOPY --from=0 / /\nADD --checksum=sha256:0 http://h/f /\n", "a b"),
        ("FROM a\nCOPY --from=\"b:1\" --chmod=1 [\"/x y\", \"/\"]\n", "a b:1"),
        ("FROM a\nCOPY -- --from=b /\n", "a"),
        ("FROM a\nCOPY /x --from=b\n", "a"),
        ("FROM scratch\nCOPY --from=scratch / /\nCOPY --from= a b\nRUN --mount=from=scratch x\n", ""),
        ("FROM a AS x\nFROM b\nRUN --mount=from=x,target=/x --network=none y\n", "a b"),
        ("FROM a\nRUN --mount=\"type=cache,FROM=c,target=/a b\" --mount=type=tmpfs,target=/t x\n", "a c"),
        ("FROM a\nRUN --mount=type=bind,from='c',target=/c x --mount=from=d\n", "a c"),
        ("FROM a\nFROM b\nRUN --mount=from=0,target=/x y\n", "b 0"),
        ("FROM a\nRUN --mount=type=bind,\\\n  from=c x\n", "a"),
        ("FROM a\nRUN --mount=type=bind,\\\nfrom=c\\\nd x\n", "a cd"),
        ("FROM a\nCOPY --from=$X / /\n", "2: `$X`: variables cannot be used here"),
        ("FROM a\nRUN --mount=from=${X} y\n", "2: `${X}`: variables cannot be used here"),
        ("FROM a\nCOPY --from b / /\n", "2: `--from` has no value"),
        ("FROM a\nRUN --mount=\\\"from=b\\\" y\n", "2: the mount has a quote in it"),
        ("FROM a\nCOPY --from=x / /\nFROM b AS x\n", "2: the stage `x` stands behind this one"),
        ("FROM a AS x\nRUN --mount=from=x y\n", "2: the stage `x` takes from itself"),
    ]);
}

#[test]
fn triggers_that_take_from_others_are_refused_where_they_are_done() {
    let refused = "2: a trigger takes from `s`, and a stage begins with this one";
    all(&[
        ("FROM p AS b\nONBUILD COPY --from=s / /small/\nFROM b\n", refused),
        (
            "FROM q AS s\nFROM p AS b\nonbuild run --mount=from=s x\nFROM b AS c\nFROM b\n",
            &refused.replace('2', "3"),
        ),
        ("FROM p AS b\nONBUILD COPY --from=s / /small/\n", "p"),
        ("FROM p AS b\nONBUILD COPY --from=s / /\nFROM q\nCOPY --from=b / /\n", "p q"),
        ("FROM p AS b\nONBUILD COPY . /\nONBUILD RUN x --from=s\nFROM b\n", "p"),
        ("FROM p\nONBUILD FROM q\n", "2: `ONBUILD FROM` is no trigger"),
        (
            "FROM p\nONBUILD ONBUILD RUN x\nONBUILD\n",
            "2: `ONBUILD ONBUILD` is no trigger; 3: `ONBUILD ` is no trigger",
        ),
    ]);
    let declared = parse(
        "FROM a\nONBUILD ARG LATER=1\n",
        Settings { args: &BTreeMap::new(), target: None, platform: "linux/amd64" },
        &BTreeSet::new(),
    );
    assert!(declared.unwrap().takes("LATER"));
}

#[test]
fn triggers_of_images_are_known_by_what_they_take() {
    for (trigger, taken) in [
        ("COPY --chown=1 --from=s / /", Some("s")),
        ("run --mount=type=bind,from=s x", Some("s")),
        ("COPY . /app", None),
        ("COPY --from= . /", None),
        ("RUN --mount=type=cache,target=/c x", None),
        ("RUN --mount=\\\"From=s,target=/t\\\" x", Some("s")),
        ("ADD . /", None),
    ] {
        assert_eq!(taken_by_trigger(trigger).as_deref(), taken, "{trigger}");
    }
}
