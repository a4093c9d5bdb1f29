//! A step's shell script, as far as it says what images are made of: assignments, the files that it
//! writes, under which conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::shell::{self, Command, Simple};

/// Marks around the name of a shell variable in a text that the shell expands.
pub(super) const OPEN: char = '\u{1}';
/// The end of such a name.
pub(super) const CLOSE: char = '\u{2}';

/// What a script says.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub assignments: Vec<Assignment>,
    /// File -> the lines that are written to it.
    pub files: BTreeMap<String, Vec<Line>>,
    pub build: Option<Build>,
    /// What is not understood, by line.
    pub left: Vec<(usize, String)>,
}

/// `docker build …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Build {
    pub line: usize,
    /// Variables or texts behind `-t`.
    pub tags: Vec<String>,
    /// The file behind `-f`.
    pub file: Option<String>,
    /// `--build-arg`: name, value.
    pub arguments: Vec<(String, String)>,
    pub target: Option<String>,
}

/// `NAME=value`.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub line: usize,
    pub name: String,
    /// As it is written, without quotes around the whole.
    pub value: String,
    /// Conditions of the `if`s around it.
    pub conditions: Vec<String>,
}

/// A line of a file that a script writes; shell variables are between marks.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub line: usize,
    pub text: String,
    pub conditions: Vec<String>,
}

/// How the condition of an `else` begins.
pub(super) const OTHERWISE: &str = "otherwise: ";

static HEREDOC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(^|[^<])<<-?\s*(['"]?)(\w+)['"]?"#).expect("a pattern"));
static ECHO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^echo\s+(.*?)\s*>(>?)\s*["']?([A-Za-z0-9_./${}-]+)["']?$"#).expect("a pattern")
});
static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:local\s+|export\s+|readonly\s+)?([A-Za-z_]\w*)=(.*)$").expect("a pattern")
});
static BUILD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bdocker\s+(?:buildx\s+|image\s+)?build(?:\s|$)").expect("a pattern"));
static FUNCTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:function\s+)?([\w-]+)\s*\(\s*\)").expect("a pattern"));
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\(.)|\$\{(\w+)(?::[^}]*)?\}|\$(\w+)").expect("a pattern"));

/// Where a command to build begins behind its words, on a line that has one.
fn build_at(line: &str) -> Option<usize> {
    let line_start = line.trim_start();
    if line_start.starts_with('#') || line_start.starts_with("echo ") {
        return None;
    }
    BUILD.find(line).map(|found| found.end())
}

/// Whether a line builds an image.
pub(super) fn builds(line: &str) -> bool {
    build_at(line).is_some()
}

/// A here-document on a line: the file that it is written to, if it is, and whether it adds to it;
/// whether the text is taken as it is; its end.
struct HereDocument {
    file: Option<(String, bool)>,
    is_verbatim: bool,
    end: String,
}

fn here_document(line: &str) -> Option<HereDocument> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let found = HEREDOC.captures(line)?;
    let whole = found.get(0)?;
    // What stands around it is the command.
    let command = format!("{}{} {}", &line[..whole.start()], &found[1], &line[whole.end()..]);
    let commands = shell::commands(command.trim(), &BTreeMap::new()).unwrap_or_default();
    let file = commands.iter().find_map(|command| {
        let Command::Simple(Simple { words, writes, .. }) = command else { return None };
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        match (words.as_slice(), writes.as_slice()) {
            (["cat"], [file]) => Some((file.text.clone(), line.contains(">>"))),
            (["tee", file], []) => Some(((*file).to_owned(), false)),
            (["tee", "-a", file], []) => Some(((*file).to_owned(), true)),
            _ => None,
        }
    });
    Some(HereDocument { file, is_verbatim: !found[2].is_empty(), end: found[3].to_owned() })
}

/// The name of a file without `./`.
fn file_name(text: &str) -> String {
    text.strip_prefix("./").unwrap_or(text).to_owned()
}

fn is_dockerfile(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.starts_with("Dockerfile") || name.ends_with(".Dockerfile") || name.ends_with(".dockerfile")
}

impl Script {
    /// The lines of the Dockerfile that is built.
    pub(super) fn dockerfile(&self) -> Option<&Vec<Line>> {
        let given = self.build.as_ref().and_then(|build| build.file.as_deref());
        let given = given.map(|file| file_name(&file.replace([OPEN, CLOSE], "")));
        let wanted = given.as_deref().unwrap_or("Dockerfile");
        if let Some(lines) = self.files.get(wanted) {
            return Some(lines);
        }
        // Directories are seldom written alike.
        let name = |file: &str| file.rsplit('/').next().unwrap_or(file).to_owned();
        let mut fitting = self.files.iter().filter(|(file, _)| name(file) == name(wanted));
        match (fitting.next(), fitting.next()) {
            (Some((_, lines)), None) => Some(lines),
            _ => None,
        }
    }

    /// Opens a file for lines, unless it is that of a later build.
    fn open(&mut self, file: &str, adds: bool, line: usize, conditions: &[String]) -> Option<&mut Vec<Line>> {
        let file = file_name(file);
        if self.build.is_some() && self.dockerfile().is_some() && is_dockerfile(&file) {
            self.left.push((line, format!("what is written to `{file}` after the first `docker build`")));
            return None;
        }
        let written = self.files.entry(file).or_default();
        if !adds && conditions.is_empty() {
            written.clear();
        }
        Some(written)
    }
}

/// Reads a script.
pub(super) fn read(lines: &[(usize, String)]) -> Script {
    let mut script = Script::default();
    let mut conditions: Vec<String> = Vec::new();
    let functions: BTreeSet<&str> =
        lines.iter().filter_map(|(_, text)| Some(FUNCTION.captures(text.trim())?.get(1)?.as_str())).collect();
    let mut at = 0;
    while let Some((line, text)) = lines.get(at) {
        at += 1;
        let mut text = text.trim().to_owned();
        while text.ends_with('\\') && !text.starts_with('#') && at < lines.len() {
            text.pop();
            text = format!("{} {}", text.trim_end(), lines[at].1.trim());
            at += 1;
        }
        let text = text.as_str();
        if let Some(found) = here_document(text) {
            let mut body = Vec::new();
            while let Some((line, text)) = lines.get(at) {
                at += 1;
                if text.trim() == found.end {
                    break;
                }
                let text = if found.is_verbatim { text.clone() } else { marked(text) };
                body.push(Line { line: *line, text, conditions: conditions.clone() });
            }
            match found.file {
                Some((file, adds)) => {
                    if let Some(written) = script.open(&file, adds, *line, &conditions) {
                        written.extend(body);
                    }
                }
                None => script.unknown(*line, text, &functions),
            }
            continue;
        }
        if let Some(condition) = text.strip_prefix("if ") {
            if !text.ends_with("; fi") {
                conditions.push(condition.trim_end_matches("then").trim().to_owned());
            }
        } else if text == "else" || text.starts_with("elif ") {
            conditions.pop();
            conditions.push(format!("{OTHERWISE}{text}"));
        } else if text == "fi" || text.starts_with("fi;") || text.starts_with("fi ") {
            conditions.pop();
        } else if let Some(found) = ECHO.captures(text) {
            let text = marked(unquoted(&found[1]));
            let (adds, file) = (!found[2].is_empty(), &found[3]);
            if let Some(written) = script.open(file, adds, *line, &conditions) {
                written.push(Line { line: *line, text, conditions: conditions.clone() });
            }
        } else if let Some(found) = ASSIGNMENT.captures(text) {
            script.assignments.push(Assignment {
                line: *line,
                name: found[1].to_owned(),
                value: unquoted(found[2].trim()).to_owned(),
                conditions: conditions.clone(),
            });
        } else {
            script.unknown(*line, text, &functions);
        }
        if let Some(at) = build_at(text) {
            match script.build {
                Some(_) => script.left.push((*line, "another `docker build`: only the first is read".into())),
                None => script.build = Some(build(*line, &text[at..])),
            }
        }
    }
    script
}

/// What stands behind `docker build`.
fn build(line: usize, text: &str) -> Build {
    let mut build = Build { line, ..Build::default() };
    let mut words = shell::words(text).into_iter();
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if word.starts_with('-') => (option.to_owned(), Some(value.to_owned())),
            _ => (word, None),
        };
        if !matches!(option.as_str(), "-t" | "--tag" | "-f" | "--file" | "--build-arg" | "--target") {
            continue;
        }
        let Some(value) = value.or_else(|| words.next()).map(|value| marked(&value)) else { break };
        match option.as_str() {
            "-t" | "--tag" => build.tags.push(value),
            "-f" | "--file" => build.file = Some(value),
            "--target" => build.target = Some(value),
            _ => match value.split_once('=') {
                Some((name, value)) => build.arguments.push((name.to_owned(), value.to_owned())),
                // Its value is that of the variable.
                None => build.arguments.push((value.clone(), format!("{OPEN}{value}{CLOSE}"))),
            },
        }
    }
    build
}

/// Commands of a script that make nothing of an image, or that are looked at elsewhere.
const KNOWN: &[&str] = &[
    "echo", "printf", "set", "export", "local", "readonly", "declare", "unset", "for", "while", "until",
    "case", "esac", "break", "continue", "exit", "return", "sleep", "cd", "pushd", "popd", "mkdir", "ls",
    "pwd", "true", "false", ":", "[", "[[", "test", "command", "cat", "rm", "trap", "shift", "wait", "date",
    "env", "apt-get", "apt", "apk", "yum", "dnf", "microdnf", "dockerd", "which", "function",
];

impl Script {
    /// Says a line that is not understood.
    fn unknown(&mut self, line: usize, text: &str, functions: &BTreeSet<&str>) {
        if text.is_empty() || text.starts_with('#') || FUNCTION.is_match(text) {
            return;
        }
        let mut text = text.trim_end_matches(';').trim();
        while let Some(rest) = ["then ", "else ", "do ", "! ", "{ "].iter().find_map(|k| text.strip_prefix(k))
        {
            text = rest.trim();
        }
        let commands = shell::commands(text, &BTreeMap::new()).unwrap_or_else(|| {
            let words =
                text.split_whitespace().map(|word| shell::Word { text: word.to_owned(), plain: true });
            let words = words.collect();
            vec![Command::Simple(Simple {
                words,
                writes: Vec::new(),
                join: shell::Join::Then,
                fallback: false,
            })]
        });
        let is_known = |command: &Command| {
            let Command::Simple(Simple { words, writes, .. }) = command else { return true };
            let mut words =
                words.iter().map(|word| word.text.as_str()).skip_while(|word| ASSIGNMENT.is_match(word));
            let (first, second) = (words.next().unwrap_or(":"), words.next().unwrap_or_default());
            let is_docker = first == "docker"
                && matches!(
                    second,
                    "login"
                        | "push"
                        | "info"
                        | "build"
                        | "buildx"
                        | "image"
                        | "version"
                        | "images"
                        | "ps"
                        | "logout"
                );
            let is_pattern = first.ends_with(')') || first.ends_with('(');
            let is_brace = matches!(first, "{" | "}" | "then" | "else" | "fi" | "do" | "done" | ";;");
            !writes.iter().any(|file| is_dockerfile(&file.text))
                && (KNOWN.contains(&first)
                    || functions.contains(first)
                    || is_docker
                    || is_pattern
                    || is_brace)
        };
        if !commands.iter().all(is_known) {
            let short: String = text.chars().take(100).collect();
            let short = short.replace(char::is_control, " ");
            self.left.push((line, format!("the command `{short}`")));
        }
    }
}

/// A text without the quotes around the whole of it.
fn unquoted(text: &str) -> &str {
    let command = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(command) = command.filter(|command| command.starts_with("$(") && command.ends_with(')')) {
        return command;
    }
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.contains(quote) || inner.contains("\\\"")) {
            return inner;
        }
    }
    text
}

/// A text as the shell expands it, with the names of variables between marks.
pub(super) fn marked(text: &str) -> String {
    let expanded = VARIABLE.replace_all(text, |found: &regex::Captures<'_>| {
        match (found.get(1), found.get(2).or(found.get(3))) {
            (Some(escaped), _) if matches!(escaped.as_str(), "$" | "\\" | "`" | "\"") => {
                escaped.as_str().to_owned()
            }
            (Some(_), _) => found[0].to_owned(),
            (_, Some(name)) => format!("{OPEN}{}{CLOSE}", name.as_str()),
            _ => String::new(),
        }
    });
    // A backslash at the end of a line continues it, in the shell and in a Dockerfile.
    expanded.into_owned()
}

/// What a pipeline of railyard's own has in its script.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    /// The files of the manifest: path and text.
    pub files: Vec<(String, String)>,
    /// The other lines.
    pub others: Vec<(usize, String)>,
}

/// The line that runs railyard.
pub(super) fn runs_railyard(lines: &[(usize, String)]) -> Option<usize> {
    lines.iter().find(|(_, line)| line.trim_start().starts_with("railyard build")).map(|(line, _)| *line)
}

/// The files of a manifest that a pipeline of railyard's own carries along.
pub(super) fn carried(lines: &[(usize, String)]) -> Carried {
    let mut carried = Carried::default();
    let mut rest = lines.iter();
    while let Some((line, text)) = rest.next() {
        let Some(HereDocument { file: Some((file, _)), end, .. }) = here_document(text) else {
            carried.others.push((*line, text.clone()));
            continue;
        };
        let text: String =
            rest.by_ref().take_while(|(_, line)| *line != end).map(|(_, line)| format!("{line}\n")).collect();
        carried.files.push((file, text));
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        let lines: Vec<(usize, String)> =
            text.lines().enumerate().map(|(n, line)| (n + 1, line.to_owned())).collect();
        read(&lines)
    }

    #[test]
    fn files_are_put_together_with_their_conditions() {
        let read = script(
            "A=\"${A:-<+pipeline.variables.A>}\"\ncat > Dockerfile << EOF\nFROM \\${B}\nENV X=${A}\nEOF\n\
             if [ -n \"$C\" ]; then\n  echo \"RUN x@${C}\" >> Dockerfile\nfi\ndocker build -t ${TAG} .\n",
        );
        let lines = &read.files["Dockerfile"];
        assert_eq!(lines[0].text, "FROM ${B}");
        assert_eq!(lines[1].text, "ENV X=\u{1}A\u{2}");
        assert_eq!((lines[2].line, lines[2].text.as_str()), (7, "RUN x@\u{1}C\u{2}"));
        assert_eq!(lines[2].conditions, ["[ -n \"$C\" ];"]);
        assert_eq!(read.assignments[0].value, "${A:-<+pipeline.variables.A>}");
        let build = Build { line: 9, tags: vec!["\u{1}TAG\u{2}".into()], ..Build::default() };
        assert_eq!(read.build, Some(build));
    }

    #[test]
    fn a_build_may_go_on_over_lines() {
        let text = "docker buildx build \\\n  --build-arg A=\"$B\" \\\n  -f x/Dockerfile \\\n  --tag=\"${R}:1\" -t two \\\n  . | tee log\n";
        let build = script(text).build.unwrap();
        assert_eq!(build.tags, ["\u{1}R\u{2}:1", "two"]);
        assert_eq!(build.arguments, [("A".to_owned(), "\u{1}B\u{2}".to_owned())]);
        assert_eq!((build.line, build.file.as_deref()), (1, Some("x/Dockerfile")));
    }

    #[test]
    fn files_are_written_in_many_ways() {
        for text in [
            "cat <<EOF >Dockerfile\nFROM a\nEOF",
            "cat > './Dockerfile' <<'EOF'\nFROM a\nEOF",
            "tee Dockerfile <<EOF\nFROM a\nEOF",
            "mkdir -p x && cat <<EOF > Dockerfile\nFROM a\nEOF",
            "echo x > Dockerfile\necho FROM a > Dockerfile",
        ] {
            let read = script(text);
            let lines: Vec<&str> = read.files["Dockerfile"].iter().map(|line| line.text.as_str()).collect();
            assert_eq!((lines, read.left), (vec!["FROM a"], Vec::new()), "{text}");
        }
        assert!(script("cat <<EOF > 'a b/Dockerfile'\nFROM a\nEOF").dockerfile().is_some());
    }

    #[test]
    fn commands_that_are_not_understood_are_said() {
        let text = "cd /x\ngit clone a\n# git clone b\nprintf 'FROM a' > Dockerfile\nf() {\n  echo a\n}\nf x\n\
                    docker tag a b\npython3 - <<EOF\ngit\nEOF\n[ -n \"$A\" ] && echo RUN a >> Dockerfile\n";
        let lines: Vec<usize> = script(text).left.into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 4, 9, 10, 13]);
    }

    #[test]
    fn carried_files_may_have_blanks_in_their_names() {
        let lines = ["set -e", "cat >'ctx/a b.txt' <<'END'", "docker login -p x", "END", "railyard build"];
        let lines: Vec<(usize, String)> =
            lines.iter().enumerate().map(|(n, line)| (n + 1, (*line).to_owned())).collect();
        let carried = carried(&lines);
        assert_eq!(carried.files, [("ctx/a b.txt".to_owned(), "docker login -p x\n".to_owned())]);
        assert_eq!(carried.others.len(), 2);
        assert_eq!(runs_railyard(&lines), Some(5));
    }
}
