//! A step's shell script, as far as it says what images are made of: assignments, the files that it
//! writes, under which conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::assignment::{Assignment, assignments};
use super::build::{Build, build, build_at};
use super::expansion::{CLOSE, OPEN, divided, marked, without_comment, words};
use super::heredoc::{HereDocument, here_document};
use super::known::{FUNCTION, said, unknown};

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

/// A line of a file that a script writes; shell variables are between marks.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub line: usize,
    pub text: String,
    pub conditions: Vec<String>,
}

/// How the condition of an `else` begins.
pub(super) const OTHERWISE: &str = "otherwise: ";

static ECHO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^echo\s+(.*?)\s*>(>?)\s*["']?([A-Za-z0-9_./${}-]+)["']?$"#).expect("a pattern")
});
/// `: ${NAME:=default}`.
static PRESET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^:\s+"?\$\{([A-Za-z_]\w*):?=([^"]*)\}"?$"#).expect("a pattern"));
/// An alternative of a `case`.
static ALTERNATIVE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\(?[^()\s=]+(?:\s*\|\s*[^()\s=]+)*\)\s*(.*)$").expect("a pattern"));

/// The name of a file without `./`.
fn file_name(text: &str) -> String {
    text.strip_prefix("./").unwrap_or(text).to_owned()
}

/// Whether a file is a Dockerfile by its name.
pub(super) fn is_dockerfile(file: &str) -> bool {
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
        // Where the one condition is met the other is too.
        if !adds && written.iter().all(|line| line.conditions.starts_with(conditions)) {
            written.clear();
        }
        Some(written)
    }
}

/// Reads a script.
pub(super) fn read(lines: &[(usize, String)]) -> Script {
    let functions: BTreeSet<&str> =
        lines.iter().filter_map(|(_, text)| Some(FUNCTION.captures(text.trim())?.get(1)?.as_str())).collect();
    let mut reader = Reader { script: Script::default(), conditions: Vec::new(), functions };
    let mut at = 0;
    while let Some((line, text)) = lines.get(at) {
        at += 1;
        let mut text = text.trim().to_owned();
        while text.ends_with('\\') && !text.starts_with('#') && at < lines.len() {
            text.pop();
            text = format!("{} {}", text.trim_end(), lines[at].1.trim());
            at += 1;
        }
        for text in statements(&text) {
            let text = reader.keywords(text);
            match here_document(text) {
                Some(found) => at = reader.here_document(*line, text, &found, lines, at),
                None => reader.statement(*line, text),
            }
        }
    }
    reader.script
}

/// The statements of a line; those of a `case` stay together.
fn statements(text: &str) -> Vec<&str> {
    let text = without_comment(text);
    match text.contains(";;") {
        true => vec![text],
        false => divided(text, ';'),
    }
}

/// Whether a text begins with a word of the shell, and what stands behind it.
fn behind<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = text.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

struct Reader<'t> {
    script: Script,
    /// Of the `if`s, `case`s and loops that are open.
    conditions: Vec<String>,
    functions: BTreeSet<&'t str>,
}

impl Reader<'_> {
    /// Reads the here-document that begins on a line; gives where the script goes on.
    fn here_document(
        &mut self,
        line: usize,
        text: &str,
        found: &HereDocument,
        lines: &[(usize, String)],
        mut at: usize,
    ) -> usize {
        let mut body = Vec::new();
        let mut evaluated = Vec::new();
        while let Some((line, text)) = lines.get(at) {
            at += 1;
            if text.trim() == found.end {
                break;
            }
            if !found.is_verbatim && text.replace("\\$", "").contains("$(") {
                evaluated.push((
                    *line,
                    format!("what the shell of the pipeline puts in for `$(…)`: `{}`", text.trim()),
                ));
            }
            let text = if found.is_verbatim { text.clone() } else { marked(text) };
            body.push(Line { line: *line, text, conditions: self.conditions.clone() });
        }
        match &found.file {
            Some((file, adds)) => {
                if is_dockerfile(file) {
                    self.script.left.append(&mut evaluated);
                }
                if let Some(written) = self.script.open(file, *adds, line, &self.conditions) {
                    written.extend(body);
                }
            }
            None => self.unknown(line, text),
        }
        at
    }

    /// What stands behind `then`, `do` and `else`, and behind the head of a function.
    fn keywords<'s>(&mut self, text: &'s str) -> &'s str {
        let mut text = text;
        loop {
            if let Some(rest) = ["then", "do"].iter().find_map(|word| behind(text, word)) {
                text = rest;
            } else if let Some(rest) = behind(text, "else") {
                self.conditions.pop();
                self.conditions.push(format!("{OTHERWISE}else"));
                text = rest;
            } else if let Some(head) = FUNCTION.find(text)
                && let Some(rest) = behind(text[head.end()..].trim_start(), "{")
            {
                text = rest;
            } else {
                return text;
            }
        }
    }

    fn statement(&mut self, line: usize, text: &str) {
        if let Some(rest) = ["fi", "done", "esac"].iter().find_map(|word| behind(text, word)) {
            self.conditions.pop();
            if !rest.is_empty() {
                self.rest(line, text, rest);
            }
            return;
        }
        if let Some(found) = PRESET.captures(text) {
            let text = format!("{0}=\"${{{0}:-{1}}}\"", &found[1], &found[2]);
            return self.statement(line, &text);
        }
        let is_case = self.conditions.last().is_some_and(|condition| behind(condition, "case").is_some());
        if let Some(condition) = behind(text, "if") {
            self.conditions.push(condition.to_owned());
        } else if behind(text, "elif").is_some() {
            self.conditions.pop();
            self.conditions.push(format!("{OTHERWISE}{text}"));
        } else if ["for", "while", "until"].iter().any(|word| behind(text, word).is_some()) {
            self.conditions.push(text.to_owned());
        } else if behind(text, "case").is_some() {
            match text.ends_with("esac") {
                true if text.contains(['=', '>']) => self.script.left.push((line, said(text))),
                true => {}
                false => self.conditions.push(text.to_owned()),
            }
        } else if let Some(found) = ALTERNATIVE.captures(text).filter(|_| is_case) {
            let rest = found.get(1).map_or("", |rest| rest.as_str());
            return divided(rest.trim_end_matches(';'), ';')
                .into_iter()
                .for_each(|text| self.statement(line, text));
        } else if is_case && text.ends_with(";;") {
            let rest = text.trim_end_matches(';');
            return divided(rest, ';').into_iter().for_each(|text| self.statement(line, text));
        } else if let Some((text, adds, file)) = echoed(text) {
            if let Some(written) = self.script.open(&file, adds, line, &self.conditions) {
                written.extend(text.split('\n').map(|text| Line {
                    line,
                    text: text.to_owned(),
                    conditions: self.conditions.clone(),
                }));
            }
        } else if let Some((found, rest)) = assignments(line, text, &self.conditions) {
            self.script.assignments.extend(found);
            self.rest(line, text, rest);
        } else {
            self.unknown(line, text);
        }
        if let Some(at) = build_at(text) {
            match self.script.build {
                Some(_) => {
                    self.script.left.push((line, "another `docker build`: only the first is read".into()));
                }
                None => self.script.build = Some(build(line, &text[at..])),
            }
        }
    }

    /// Says a line that is not understood.
    fn unknown(&mut self, line: usize, text: &str) {
        self.script.left.extend(unknown(text, &self.functions).map(|text| (line, text)));
    }

    /// What stands behind something that was read.
    fn rest(&mut self, line: usize, text: &str, rest: &str) {
        let rest = rest.trim_start_matches(['&', '|']).trim();
        match rest.starts_with(['>', '<', '2']) {
            true if rest.contains("ockerfile") => self.script.left.push((line, said(text))),
            true => {}
            false => self.unknown(line, rest),
        }
    }
}

/// What an `echo` writes, whether it adds it, and the file.
fn echoed(text: &str) -> Option<(String, bool, String)> {
    let found = ECHO.captures(text)?;
    let is_alone = ['&', '|'].iter().all(|operator| divided(&found[1], *operator).len() == 1);
    let mut written = words(&found[1]);
    let is_escaped = written.first().is_some_and(|word| word == "-e");
    if is_escaped {
        written.remove(0);
    }
    // Without the end of the line the next text goes on with it.
    if !is_alone || written.first().is_some_and(|word| matches!(word.as_str(), "-n" | "-ne" | "-en")) {
        return None;
    }
    let mut written = written.join(" ");
    if is_escaped {
        written = written.replace("\\n", "\n").replace("\\t", "\t");
    }
    Some((written, !found[2].is_empty(), found[3].to_owned()))
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
        assert_eq!(lines[2].conditions, ["[ -n \"$C\" ]"]);
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
    fn branches_on_one_line_are_read_like_others() {
        let read = script(
            "if [ -z \"$V\" ]; then V=latest; W='a;b'; else V=x; fi\nA=1; B=2\n\
             if [ -n \"$C\" ]; then echo \"RUN c; d\" >> Dockerfile; fi\nENV\n",
        );
        let found: Vec<(&str, &str, &str)> = read
            .assignments
            .iter()
            .map(|a| (a.name.as_str(), a.value.as_str(), a.conditions.first().map_or("", String::as_str)))
            .collect();
        let empty = "[ -z \"$V\" ]";
        let expected = [
            ("V", "latest", empty),
            ("W", "a;b", empty),
            ("V", "x", "otherwise: else"),
            ("A", "1", ""),
            ("B", "2", ""),
        ];
        assert_eq!(found, expected);
        let line = &read.files["Dockerfile"][0];
        assert_eq!(
            (line.text.as_str(), line.conditions.as_slice()),
            ("RUN c; d", &["[ -n \"$C\" ]".to_owned()][..])
        );
    }

    #[test]
    fn what_assigns_or_writes_is_never_passed_over() {
        let text = "[ -z \"$V\" ] && V=latest\nA=1 || B=2\ncase $x in a) V=1;; esac\n{ echo a; } > Dockerfile\n\
                    [ -z \"$V\" ] && export V=b\necho -n FROM > Dockerfile\necho a && echo FROM b > Dockerfile\n[ -n \"$V\" ] && { V=1; }\n\
                    cat > Dockerfile <<EOF\nENV A=$(date)\nEOF\n";
        let lines: Vec<usize> = script(text).left.into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 8, 10]);
        let read = script(
            "case $x in\n  a | b) V=1 ;;\n  *)\n    V=2\n    ;;\nesac\nwhile true; do W=1; done\nf() { X=1; }",
        );
        let found: Vec<(&str, usize)> =
            read.assignments.iter().map(|a| (a.value.as_str(), a.conditions.len())).collect();
        assert_eq!(found, [("1", 1), ("2", 1), ("1", 1), ("1", 0)]);
    }

    #[test]
    fn a_file_that_is_written_anew_loses_what_was_in_it_under_the_same_conditions() {
        let read = script(
            "echo FROM a > Dockerfile\nif x; then cat > Dockerfile <<EOF\nFROM b\nEOF\nelse echo FROM c > Dockerfile; fi\n",
        );
        let lines: Vec<(&str, usize)> =
            read.files["Dockerfile"].iter().map(|line| (line.text.as_str(), line.conditions.len())).collect();
        assert_eq!(lines, [("FROM a", 0), ("FROM b", 1), ("FROM c", 1)]);
        let read = script(
            "while x; do\n  echo FROM a > Dockerfile\n  echo FROM b > Dockerfile\ndone\n: \"${A:=b c}\"",
        );
        assert_eq!(read.files["Dockerfile"].len(), 1);
        assert_eq!(read.assignments[0].value, "${A:-b c}");
    }

    #[test]
    fn single_quotes_keep_variables_for_the_dockerfile() {
        let read = script(
            "echo 'ENV H=/opt/${NAME}' >> Dockerfile\necho \"ENV I=$NAME\" 'x $Y' >> Dockerfile\nA='$B'\n",
        );
        let lines: Vec<&str> = read.files["Dockerfile"].iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["ENV H=/opt/${NAME}", "ENV I=\u{1}NAME\u{2} x $Y"]);
        assert_eq!(read.assignments[0].text, "$B");
    }
}
