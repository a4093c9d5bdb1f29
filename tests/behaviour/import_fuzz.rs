//! No pipeline makes the import panic, and what it writes is a manifest.

use std::collections::BTreeMap;

use proptest::prelude::*;
use railyard::import::{RemarkKind, harness_pipeline};
use railyard::manifest::{self, Sources};
use railyard::matrix::{Overrides, expand};

const SERVERLESS: &str = include_str!("../pipelines/serverless.yaml");
const SAM: &str = include_str!("../pipelines/sam.yaml");

/// Imports; whatever is written must be TOML, and a manifest or one whose mistakes are shown.
fn survive(text: &str) -> bool {
    let Ok(imported) = harness_pipeline(text, &BTreeMap::new()) else { return false };
    let Some((_, written)) = imported.files.first() else {
        assert!(!imported.remarks.is_empty(), "nothing is said of\n{text}");
        return false;
    };
    if let Err(error) = written.parse::<toml::Table>() {
        panic!("{error}\n{written}\nof\n{text}");
    }
    let mut sources = Sources::default();
    sources.add("builds.toml", written);
    let problems = match manifest::parse(sources) {
        Ok(read) => match expand(&read, &Overrides::default()) {
            Ok(_) => return true,
            Err(problems) => manifest::render_plain(&read.sources, &problems),
        },
        Err((sources, problems)) => manifest::render_plain(&sources, &problems),
    };
    assert!(problems.lines().count() > 0, "refused without a word:\n{written}");
    false
}

/// A pipeline whose script writes this Dockerfile and then runs this command.
fn pipeline(dockerfile: &str, command: &str) -> String {
    let script =
        format!("R=<+pipeline.variables.R>\ncat > Dockerfile << 'EOF'\n{dockerfile}\nEOF\n{command}");
    let script = script.replace('\n', "\n            ");
    format!(
        "pipeline:\n  identifier: p\n  stages:\n    - step:\n        name: s\n        spec:\n          command: |-\n            {script}\n  \
         variables:\n    - name: R\n      value: debian:12\n"
    )
}

const INSTRUCTIONS: [&str; 31] = [
    "FROM ${R}",
    "FROM ${R} AS base",
    "ARG R",
    "ARG X=1",
    "ARG Y=1 Z='x y' W=v${Y}-$NONE",
    "ENV Q='${Z}' P=\\$Y",
    "RUN curl -fo /x https://a/x || rm -f /x",
    "ENV A=1 B=\"x y\"",
    "ENV my.var='{{ x }}'",
    "ENV PATH=/a:$PATH:/b",
    "USER ${U}",
    "USER app",
    "RUN apk",
    "RUN npm install -g @aws/cdk@1.0.0 b@2.0.0",
    "RUN wget -O /a/tool.sh https://x/tool.sh && chmod +x /a/tool.sh",
    "RUN curl -fo /b/tool.sh https://x/b && chmod 755 /b/tool.sh",
    "RUN rm -rf /opt/secret",
    "RUN mkdir -m 777 -p /a /b/",
    "RUN chmod +x /a /opt/x",
    "RUN echo '${#x} {{ y }}' \"\\\"\" > /x",
    "RUN if [ \"$X\" = 1 ]; then apk add curl; fi",
    "RUN <<EOT\necho\nEOT",
    "RUN [\"a\", \"b\"]",
    "RUN --mount=type=cache,target=/x a",
    "COPY --from=base /opt /opt",
    "COPY --from=0 /usr /usr",
    "COPY --from=nginx:1.25 /etc/x /etc/x",
    "COPY a b",
    "ENTRYPOINT [\"/x\", \"$A\"]",
    "ENTRYPOINT a \"b\" \\",
    "\u{1}\u{2}",
];

const COMMANDS: [&str; 6] = [
    "docker build \\\n  -t acme/x:1 .",
    "docker build .",
    "docker buildx build --build-arg R=\"$R\" --tag=localhost:5000/x .",
    "docker build -t \"$R-${UNKNOWN}\" .",
    "docker build -t $(date +%s)/x:é .",
    "docker build -t",
];

#[test]
fn instructions_alone_and_together_become_manifests() {
    for command in COMMANDS {
        for instruction in INSTRUCTIONS {
            survive(&pipeline(&format!("ARG R\nFROM ${{R}}\n{instruction}"), command));
            survive(&pipeline(&format!("FROM \u{1}R\u{2}\n{instruction}"), command));
        }
    }
    let known = "docker build --build-arg R=$R -t acme/x:1 .";
    let manifest =
        |instruction: &&str| survive(&pipeline(&format!("ARG R\nFROM ${{R}}\n{instruction}"), known));
    let refused: Vec<&str> = INSTRUCTIONS.into_iter().filter(|instruction| !manifest(instruction)).collect();
    assert_eq!(refused, [""; 0]);
}

/// What is said of these instructions: lines that are not carried over or are taken as they are.
#[track_caller]
fn said(instruction: &str, kind: RemarkKind, words: &str) {
    let text = pipeline(
        &format!("ARG R\nFROM ${{R}}\n{instruction}"),
        "docker build --build-arg R=$R -t acme/x:1 .",
    );
    let imported = harness_pipeline(&text, &BTreeMap::new()).unwrap();
    let last = instruction.lines().last().unwrap().trim();
    let line = text.lines().position(|line| line.trim() == last).unwrap() + 1;
    let is_said = |r: &railyard::import::Remark| r.line == line && r.kind == kind && r.text.contains(words);
    assert!(imported.remarks.iter().any(is_said), "{instruction}: {:?}", imported.remarks);
}

#[test]
fn what_is_not_understood_is_said_with_its_line() {
    for instruction in [
        "RUN apk",
        "RUN echo export A=b > /etc/profile.d/x.sh",
        "RUN mkdir -p /a && cat /etc/hosts > /a/hosts",
        "RUN rm -rf /opt/secret",
        "RUN apt-get update && apt-get install -y curl",
    ] {
        said(instruction, RemarkKind::Note, "taken over as it is");
    }
    said("RUN npm install -g a@1.0.0 b@2.0.0", RemarkKind::Note, "`a` is installed once");
    said("RUN npm install -g a@1.0.0 b@2.0.0", RemarkKind::Note, "`b` is installed once");
    said("RUN --mount=type=cache,target=/x a", RemarkKind::Left, "RUN --mount");
    said("COPY --from=x --chmod=755 /a /a", RemarkKind::Left, "COPY --from");
    said("ENV A=$HOME/x", RemarkKind::Left, "ENV A");
    said("RUN mkdir /a\nRUN rm -rf /opt/a", RemarkKind::Left, "which stays");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_instructions(chosen in prop::collection::vec(0..INSTRUCTIONS.len(), 0..12), command in 0..COMMANDS.len()) {
        let lines: Vec<&str> = chosen.into_iter().map(|n| INSTRUCTIONS[n]).collect();
        let known = "docker build --build-arg R=$R -t acme/x:1 .";
        survive(&pipeline(&format!("ARG R\n{}", lines.join("\n")), COMMANDS[command]));
        survive(&pipeline(&format!("ARG R\nFROM $R\n{}\nFROM $R\n{}", lines.join("\n"), lines.join("\n")), known));
    }

    #[test]
    fn of_words(words in prop::collection::vec("[a-z@/.$'\"{}\\[\\]()<>|&;#*=: \\\\-]{1,12}", 1..8)) {
        let known = "docker build --build-arg R=$R -t acme/x:1 .";
        for keyword in ["RUN", "RUN npm i -g", "RUN curl -o", "ENV", "COPY --from=x", "ENTRYPOINT", "USER"] {
            survive(&pipeline(&format!("ARG R\nFROM $R\n{keyword} {}", words.join(" ")), known));
        }
        survive(&pipeline("FROM \u{1}R\u{2}", &format!("docker build {}", words.join(" "))));
    }

    #[test]
    fn with_other_bytes(changes in prop::collection::vec((0..SAM.len(), any::<u8>()), 1..6)) {
        for text in [SERVERLESS, SAM] {
            let mut bytes = text.as_bytes().to_vec();
            changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            survive(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn with_lines_swapped_and_dropped(a in 0..130_usize, b in 0..130_usize, dropped in 0..130_usize) {
        for text in [SERVERLESS, SAM] {
            let mut lines: Vec<&str> = text.lines().collect();
            let last = lines.len() - 1;
            lines.swap(a.min(last), b.min(last));
            lines.remove(dropped.min(last));
            survive(&lines.join("\n"));
        }
    }
}
