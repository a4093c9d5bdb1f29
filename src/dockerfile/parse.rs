//! Stages, and the images that they take from.

mod model;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use self::model::{Dockerfile, DockerfileError, Name, Settings, UseKind};
use super::lines::{Instruction, Word, read};
use super::words::expand;

/// The instructions there are.
const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

struct Stage {
    name: Option<String>,
    /// The stage that it begins with, or a name from outside, or nothing.
    base: Base,
    /// Stages and names from outside that its instructions use.
    uses: Vec<Base>,
}

enum Base {
    Scratch,
    Stage(usize),
    Outside(Name),
}

/// Reads a Dockerfile.
///
/// A name is looked for among `contexts`, then among the stages before, and is from outside otherwise.
///
/// # Errors
/// All mistakes that are found, in order of the file.
pub fn parse(
    text: &str,
    settings: Settings<'_>,
    contexts: &BTreeSet<String>,
) -> Result<Dockerfile, Vec<DockerfileError>> {
    let lines = read(text);
    let mut parser = Parser {
        settings,
        contexts,
        escape: lines.escape,
        variables: platform_variables(settings.platform),
        stages: Vec::new(),
        args: BTreeSet::new(),
        errors: Vec::new(),
    };
    for instruction in &lines.instructions {
        parser.instruction(instruction);
    }
    let syntax = lines.syntax.clone();
    parser.finish(text, &lines, syntax)
}

fn platform_variables(platform: &str) -> BTreeMap<String, String> {
    let mut parts = platform.split('/');
    let (os, arch, variant) = (parts.next(), parts.next(), parts.next());
    let mut variables = BTreeMap::new();
    for prefix in ["TARGET", "BUILD"] {
        for (name, value) in [("PLATFORM", Some(platform)), ("OS", os), ("ARCH", arch), ("VARIANT", variant)]
        {
            variables.insert(format!("{prefix}{name}"), value.unwrap_or_default().to_owned());
        }
    }
    variables
}

struct Parser<'a> {
    settings: Settings<'a>,
    contexts: &'a BTreeSet<String>,
    escape: char,
    /// What `FROM` may use: platform, and `ARG`s before the first `FROM`.
    variables: BTreeMap<String, String>,
    stages: Vec<Stage>,
    args: BTreeSet<String>,
    errors: Vec<DockerfileError>,
}

impl Parser<'_> {
    fn error(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let error = DockerfileError { message: message.into(), help: help.into(), at: at.clone() };
        self.errors.push(error);
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match instruction.name.as_str() {
            name if !KNOWN.contains(&name) => {
                let help =
                    "instructions are FROM, RUN, COPY, ENV and so on; is a line before it not continued?";
                self.error(&instruction.at, format!("unknown instruction `{name}`"), help);
            }
            "ARG" => self.arg(instruction),
            "FROM" => self.from(instruction),
            name if self.stages.is_empty() => {
                let message = format!("`{name}` stands before the first FROM");
                self.error(&instruction.at, message, "begin with `FROM image`; only ARG may stand before it");
            }
            "COPY" => {
                for word in instruction.words.iter().take_while(|word| word.text.starts_with("--")) {
                    if word.text.starts_with("--from=") {
                        self.used(&word.behind("--from=".len()), UseKind::Copy);
                    }
                }
            }
            "RUN" => {
                for word in instruction.words.iter().take_while(|word| word.text.starts_with("--")) {
                    if word.text.starts_with("--mount=") {
                        self.mount(&word.behind("--mount=".len()));
                    }
                }
            }
            _ => {}
        }
    }

    fn arg(&mut self, instruction: &Instruction) {
        if instruction.words.is_empty() {
            self.error(&instruction.at, "`ARG` names nothing", "write `ARG NAME` or `ARG NAME=default`");
        }
        for word in &instruction.words {
            let (name, default) = match word.text.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (word.text.as_str(), None),
            };
            self.args.insert(name.to_owned());
            if !self.stages.is_empty() {
                continue;
            }
            let value = match (self.settings.args.get(name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => match expand(default, self.escape, &self.variables) {
                    Ok(value) => value,
                    Err(message) => {
                        self.error(&word.at, message, "correct the default");
                        continue;
                    }
                },
                (None, None) => continue,
            };
            self.variables.insert(name.to_owned(), value);
        }
    }

    fn from(&mut self, instruction: &Instruction) {
        let mut words = instruction.words.as_slice();
        while let Some((flag, rest)) = words.split_first().filter(|(word, _)| word.text.starts_with("--")) {
            words = rest;
            let Some(platform) = flag.text.strip_prefix("--platform=") else { continue };
            match expand(platform, self.escape, &self.variables) {
                Ok(text) if text == self.settings.platform => {}
                Ok(text) => {
                    let message = format!("the platform is `{text}`, not `{}`", self.settings.platform);
                    self.error(
                        &flag.at,
                        message,
                        "only the project's platform is built; use $TARGETPLATFORM",
                    );
                }
                Err(message) => self.error(&flag.at, message, "correct the platform"),
            }
        }
        let name = match words {
            [_] => None,
            [_, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
                Some(name.text.to_ascii_lowercase())
            }
            _ => {
                let at = words.first().map_or(&instruction.at, |word| &word.at).clone();
                self.error(&at, "`FROM` has another form", "write `FROM image` or `FROM image AS stage`");
                None
            }
        };
        let base = match words.first() {
            Some(word) => self.base(word),
            None => Base::Scratch,
        };
        self.stages.push(Stage { name, base, uses: Vec::new() });
    }

    fn base(&mut self, word: &Word) -> Base {
        let text = match expand(&word.text, self.escape, &self.variables) {
            Ok(text) if !text.is_empty() => text,
            Ok(_) => {
                let help = "give the ARG before the first FROM a default, or set it in `args`";
                self.error(&word.at, format!("`{}` is empty", word.text), help);
                return Base::Scratch;
            }
            Err(message) => {
                self.error(&word.at, message, "correct the image");
                return Base::Scratch;
            }
        };
        if text == "scratch" {
            return Base::Scratch;
        }
        if !self.contexts.contains(&text)
            && let Some(stage) = self.stage(&text)
        {
            return Base::Stage(stage);
        }
        Base::Outside(Name { text, at: word.at.clone(), kind: UseKind::From })
    }

    /// A stage that is defined already.
    fn stage(&self, name: &str) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        self.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&name))
    }

    fn used(&mut self, word: &Word, kind: UseKind) {
        let text = word.text.trim_matches('"').to_owned();
        if text.contains('$') {
            let help = "name a stage: `FROM $IMAGE AS stage` may use variables";
            self.error(&word.at, format!("`{text}`: variables cannot be used here"), help);
            return;
        }
        let found = if self.contexts.contains(&text) { None } else { self.stage(&text) };
        let number = text.parse::<usize>().ok();
        // The last stage is the one that this stands in.
        let earlier = self.stages.len().saturating_sub(1);
        let base = match (found, number) {
            (Some(stage), _) if stage < earlier => Base::Stage(stage),
            (Some(_), _) => {
                self.error(
                    &word.at,
                    format!("the stage `{text}` takes from itself"),
                    "take from an earlier stage",
                );
                return;
            }
            (None, Some(stage)) if stage < earlier => Base::Stage(stage),
            (None, Some(stage)) => {
                let message = format!("there is no stage {stage} before this one");
                self.error(&word.at, message, "stages count from 0; better give them names");
                return;
            }
            (None, None) if text == "scratch" => return,
            (None, None) => Base::Outside(Name { text, at: word.at.clone(), kind }),
        };
        if let Some(stage) = self.stages.last_mut() {
            stage.uses.push(base);
        }
    }

    fn mount(&mut self, word: &Word) {
        let mut start = 0;
        for part in word.text.split(',') {
            if let Some(name) = part.strip_prefix("from=") {
                let skip = start + part.len() - name.len();
                let mut named = word.behind(skip);
                named.text.truncate(name.len());
                named.at.end = named.at.start + name.len();
                self.used(&named, UseKind::Mount);
            }
            start += part.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(
        text: &str,
        args: &[(&str, &str)],
        target: Option<&str>,
        contexts: &[&str],
    ) -> Result<Dockerfile, Vec<DockerfileError>> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let contexts = contexts.iter().map(|name| (*name).to_owned()).collect();
        parse(text, Settings { args: &args, target, platform: "linux/amd64" }, &contexts)
    }

    fn names(dockerfile: &Dockerfile) -> Vec<&str> {
        dockerfile.names.iter().map(|name| name.text.as_str()).collect()
    }

    fn messages(text: &str) -> Vec<String> {
        let errors = read_as(text, &[], None, &[]).unwrap_err();
        errors
            .iter()
            .map(|e| format!("{}: {}", text[..e.at.start].matches('\n').count() + 1, e.message))
            .collect()
    }

    const STAGES: &str = "# syntax=docker/dockerfile:1\nARG VERSION=12\nFROM debian:${VERSION} AS Build\n\
        RUN --mount=type=bind,from=golang:1,target=/go --mount=type=cache,target=/c x\n\
        FROM unused:1 AS other\n\
        FROM scratch AS small\nCOPY --from=build /x /x\nCOPY --chown=0 --from=busybox:1 /y /y\n\
        FROM build\nCOPY --from=2 / /\n";

    #[test]
    fn only_what_the_target_needs_is_taken_from_outside() {
        let whole = read_as(STAGES, &[], None, &[]).unwrap();
        assert_eq!(names(&whole), ["docker/dockerfile:1", "debian:12", "golang:1", "busybox:1"]);
        assert_eq!(whole.base, Some(1));
        let small = read_as(STAGES, &[("VERSION", "13")], Some("SMALL"), &[]).unwrap();
        assert_eq!(names(&small), ["docker/dockerfile:1", "debian:13", "golang:1", "busybox:1"]);
        assert_eq!(small.base, None);
        let other = read_as(STAGES, &[], Some("1"), &[]).unwrap();
        assert_eq!(names(&other), ["docker/dockerfile:1", "unused:1"]);
        let named = read_as("FROM base\nFROM base AS x\nCOPY --from=0 / /\n", &[], None, &["base"]).unwrap();
        assert_eq!(names(&named), ["base", "base"]);
    }

    #[test]
    fn names_are_replaced_where_they_stand() {
        let whole = read_as(STAGES, &[], None, &[]).unwrap();
        let text = whole.renamed(|name| Some(format!("<{}>", name.text)));
        assert!(
            text.starts_with("# syntax=<docker/dockerfile:1>\nARG VERSION=12\nFROM <debian:12> AS Build\n")
        );
        assert!(text.contains("from=<golang:1>,target=/go --mount=type=cache"), "{text}");
        assert!(text.contains("--from=<busybox:1> /y"), "{text}");
        assert_eq!(text.lines().count(), STAGES.lines().count());
        assert_eq!(whole.renamed(|_| None), STAGES);
        assert!(whole.takes("VERSION") && whole.takes("https_proxy") && !whole.takes("OTHER"));
    }

    #[test]
    fn mistakes_have_a_line() {
        assert_eq!(
            messages("FROM a\nRUN x\nFOO bar\n  && y\n"),
            ["3: unknown instruction `FOO`", "4: unknown instruction `&&`"]
        );
        assert_eq!(
            messages("RUN x\nFROM a b\n"),
            ["1: `RUN` stands before the first FROM", "2: `FROM` has another form"]
        );
        assert_eq!(messages("# nothing\n"), ["1: the file has no FROM"]);
        assert_eq!(messages("ARG A\nFROM $A\n"), ["2: `$A` is empty"]);
        assert_eq!(
            messages("FROM --platform=linux/s390x a\n"),
            ["1: the platform is `linux/s390x`, not `linux/amd64`"]
        );
        assert_eq!(messages("FROM a\nCOPY --from=1 / /\n"), ["2: there is no stage 1 before this one"]);
        assert_eq!(messages("FROM a AS b\nCOPY --from=b / /\n"), ["2: the stage `b` takes from itself"]);
        let target = read_as("FROM a AS b\n", &[], Some("c"), &[]).unwrap_err();
        assert_eq!(
            (target[0].message.as_str(), target[0].help.as_str()),
            ("there is no stage `c`, which is the target", "stages are b")
        );
        assert!(read_as("FROM --platform=$TARGETPLATFORM a\n", &[], None, &[]).is_ok());
    }
}
