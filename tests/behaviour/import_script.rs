//! What an import makes of the shell around a Dockerfile, and that it says what it leaves out.

use std::collections::BTreeMap;

use railyard::import::{Imported, RemarkKind, harness_pipeline};

/// Imports a pipeline with the variables R, V and S and this script.
fn imported(script: &str) -> Imported {
    let script = script.replace('\n', "\n            ");
    let text = format!(
        "pipeline:\n  identifier: p\n  stages:\n    - step:\n        name: s\n        spec:\n          command: |-\n            {script}\n  \
         variables:\n    - name: R\n      value: debian:12\n    - name: V\n      value: <+input>\n      description: e.g. 1.2.3\n\
         \x20   - name: S\n      value: <+input>\n"
    );
    harness_pipeline(&text, &BTreeMap::new()).unwrap()
}

/// Imports a Dockerfile on R behind these lines of shell.
fn dockerfile(before: &str, instructions: &str, tag: &str) -> Imported {
    imported(&format!(
        "{before}\ncat > Dockerfile <<EOF\nFROM $R\n{instructions}\nEOF\ndocker build -t acme/x:{tag} ."
    ))
}

#[track_caller]
fn has(imported: &Imported, part: &str) {
    let manifest = &imported.files[0].1;
    assert!(manifest.contains(part), "no `{part}` in\n{manifest}\n{:?}", imported.remarks);
}

#[track_caller]
fn lacks(imported: &Imported, part: &str) {
    let manifest = &imported.files[0].1;
    assert!(!manifest.contains(part), "`{part}` in\n{manifest}");
}

/// Something of this kind is said of the line that holds `at`, the script beginning in line 8.
#[track_caller]
fn said(imported: &Imported, line: usize, kind: RemarkKind, words: &str) {
    let is_said =
        |r: &railyard::import::Remark| r.line == line + 7 && r.kind == kind && r.text.contains(words);
    assert!(imported.remarks.iter().any(is_said), "no {kind:?} `{words}` in {:?}", imported.remarks);
}

#[test]
fn a_file_that_is_the_only_one_copied_becomes_executable() {
    let found =
        dockerfile("", "COPY --from=a.test/tool:1 /opt/run.sh /opt/run.sh\nRUN chmod +x /opt/run.sh", "1");
    has(&found, "paths = [\"/opt/run.sh\"], chmod = \"a+x\"");
    assert!(!found.remarks.iter().any(|remark| remark.text.contains("becomes executable")));
}

#[test]
fn a_mode_under_a_condition_is_said_to_be_in_both_images() {
    let found = imported(
        "cat > Dockerfile <<EOF\nFROM $R\nCOPY --from=a.test/a:1 /a /a\nEOF\nif [ -n \"$S\" ]; then\n\
         \x20 echo 'RUN chmod +x /a' >> Dockerfile\n  P=-$S\nfi\ndocker build -t acme/x:1$P .",
    );
    said(&found, 6, RemarkKind::Note, "holds in both images");
}

#[test]
fn a_copy_does_not_move_before_another_one_over_the_same_path() {
    let copies = "COPY --from=a.test/a:1 /opt /opt\nCOPY --from=a.test/b:1 /opt/b /opt/b\nCOPY --from=a.test/a:1 /opt/b /opt/b\nCOPY --from=a.test/a:1 /etc/c /etc/c";
    let found = dockerfile("", copies, "1");
    has(&found, "layers = [\"a\", \"b\", \"a-2\"]");
    has(&found, "paths = [\"/opt/b\", \"/etc/c\"]");
    let apart = "COPY --from=a.test/a:1 /opt /opt\nCOPY --from=a.test/b:1 /usr/b /usr/b\nCOPY --from=a.test/a:1 /etc/c /etc/c";
    has(&dockerfile("", apart, "1"), "paths = [\"/opt\", \"/etc/c\"]");
}

#[test]
fn a_branch_on_one_line_is_read() {
    let found = dockerfile("if [ -z \"$V\" ]; then V=1.0; fi", "ENV VERSION=$V", "$V");
    // The pipeline says nothing of V but an example.
    has(&found, "VERSION = \"{{ v }}\"");
    has(&found, "values = [\"1.0\"]");
    said(&found, 1, RemarkKind::Note, "`V` is `1.0` only where");
    let found = imported(
        "cat > Dockerfile <<EOF\nFROM $R\nEOF\nif [ -n \"$S\" ]; then echo \"ENV S=$S\" >> Dockerfile; fi\n\
         docker build -t acme/x:1 .",
    );
    has(&found, "S = \"{{ s }}\"");
    said(&found, 4, RemarkKind::Note, "this has a condition");
    let found = dockerfile("[ -z \"$V\" ] && V=1.0", "ENV VERSION=$V", "1");
    said(&found, 1, RemarkKind::Left, "V=1.0");
}

#[test]
fn a_value_under_a_condition_does_not_replace_the_pipelines() {
    let found = dockerfile("if [ \"$S\" = x ]; then\n  V=other\nfi", "ENV VERSION=$V\nRUN make $V", "$V");
    has(&found, "VERSION = \"{{ v }}\"");
    has(&found, "make {{ v }}");
    lacks(&found, "other");
    said(&found, 2, RemarkKind::Left, "`V=other`");
    let found = imported(
        "cat > Dockerfile <<EOF\nFROM $R\nEOF\nif [ \"$S\" = x ]; then\n  W=2\n  echo \"ENV W=$W\" >> Dockerfile\nfi\n\
         docker build -t acme/x:1 .",
    );
    has(&found, "W = \"2\"");
}

#[test]
fn a_tag_under_a_condition_is_said_or_that_of_its_image() {
    let found = dockerfile("T=$V\nif [ -n \"$S\" ]; then\n  T=$V-$S\nfi", "ENV A=1", "$T");
    has(&found, "tags = [\"{{ v }}\"]");
    said(&found, 3, RemarkKind::Left, "`T=$V-$S`");
    let found = dockerfile("if [ -n \"$S\" ]; then\n  T=$S\nfi", "ENV A=1", "$T");
    has(&found, "tags = [\"{{ s }}\"]");
    said(&found, 2, RemarkKind::Note, "`T=$S` is only where");
    let found = imported(
        "cat > Dockerfile <<EOF\nFROM $R\nEOF\nif [ -n \"$S\" ]; then\n  T=$V-$S\n  echo \"ENV S=$S\" >> Dockerfile\nelse\n\
         \x20 T=$V\nfi\ndocker build -t acme/x:$T .",
    );
    has(&found, "tags = [\"{{ v }}\"]");
    has(&found, "tags = [\"{{ v }}-{{ s }}\"]");
    said(&found, 8, RemarkKind::Note, "of an `else`");
}

#[test]
fn operators_of_variables_are_read_or_said() {
    let found = dockerfile(
        "T=${T:-<+pipeline.variables.V>}\nL=v${S:-2.0}",
        "ENV A=${X:-a} B=${V:0:3} C=${S:+-$S} D=$T E=$L",
        "${TAG-latest}",
    );
    has(&found, "A = \"a\"");
    has(&found, "B = \"{{ v }}\"");
    has(&found, "D = \"{{ v }}\"");
    has(&found, "E = \"v{{ s }}\"");
    has(&found, "[axes.s]\nvalues = [\"2.0\"]");
    has(&found, "tags = [\"latest\"]");
    said(&found, 5, RemarkKind::Left, "`${V:0:3}`");
    said(&found, 5, RemarkKind::Left, "`${S:+-$S}`");
}

#[test]
fn single_quotes_leave_variables_to_the_dockerfile() {
    let found = imported(
        "echo \"FROM $R\" > Dockerfile\necho 'ENV NAME=app' >> Dockerfile\necho 'ENV H=/opt/${NAME}' >> Dockerfile\n\
         echo 'ENV I=\"${HOME}\"' >> Dockerfile\ndocker build -t acme/x:1 .",
    );
    has(&found, "H = \"/opt/app\"");
    said(&found, 4, RemarkKind::Left, "`ENV I=${HOME}`");
    assert!(found.remarks.iter().all(|remark| !remark.text.contains("nothing sets")), "{:?}", found.remarks);
    let found = dockerfile("A='$V'", "ENV A='\\$V' B=\"$A\"", "1");
    has(&found, "A = \"$V\"");
    lacks(&found, "{{ v }}");
}

#[test]
fn arguments_are_read_as_env_is() {
    let found = imported(
        "cat > Dockerfile <<'EOF'\nARG V=9\nFROM debian:12\nEOF\ncat > Dockerfile <<'EOF'\nARG R\nARG G=3\nFROM ${R}\nARG A=1 B='1.2'\n\
         ARG W=v${B}-$A G\nARG U=${UNSET}\nENV A=${A} B=${B} W=${W} G=$G\nEOF\ndocker build --build-arg R=$R -t acme/x:1 .",
    );
    has(&found, "A = \"1\"\nB = \"1.2\"\nW = \"v1.2-1\"\nG = \"3\"");
    said(&found, 11, RemarkKind::Left, "`ARG U=${UNSET}`");
}

#[test]
fn a_variable_that_is_cut_out_of_itself_ends() {
    let found = dockerfile("V=$(echo \"$V\" | sed 's|.*build-||')", "ENV A=$V", "1");
    has(&found, "A = \"{{ runtime }}\"");
}
