//! A step's shell script, as far as it says what images are made of: assignments, the files that it
//! writes, under which conditions.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

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
    /// The variable or text behind `docker build … -t`, and its line.
    pub tag: Option<(usize, String)>,
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

static HEREDOC: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^cat\s*>>?\s*'?([^\s'<]+)'?\s*<<-?\s*(['"]?)(\w+)['"]?\s*$"#).expect("a pattern")
});
static ECHO: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^echo\s+(.*?)\s*>>?\s*([A-Za-z0-9_./-]+)$"#).expect("a pattern"));
static ASSIGNMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:local\s+|export\s+|readonly\s+)?([A-Za-z_]\w*)=(.*)$").expect("a pattern")
});
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"docker\s+(?:buildx\s+)?build\b.*?\s(?:-t|--tag)[ =]"?([^\s"]+)"?"#).expect("a pattern")
});
static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\(.)|\$\{(\w+)(?::[^}]*)?\}|\$(\w+)").expect("a pattern"));

/// Reads a script.
pub(super) fn read(lines: &[(usize, String)]) -> Script {
    let mut script = Script::default();
    let mut conditions: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some((line, text)) = lines.get(at) {
        at += 1;
        let text = text.trim();
        if let Some(found) = HEREDOC.captures(text) {
            let (file, quoted, end) = (&found[1], !found[2].is_empty(), &found[3]);
            let written = script.files.entry(file.to_owned()).or_default();
            while let Some((line, text)) = lines.get(at) {
                at += 1;
                if text.trim() == end {
                    break;
                }
                let text = if quoted { text.clone() } else { marked(text) };
                written.push(Line { line: *line, text, conditions: conditions.clone() });
            }
            continue;
        }
        if let Some(condition) = text.strip_prefix("if ") {
            if !text.ends_with("; fi") {
                conditions.push(condition.trim_end_matches("then").trim().to_owned());
            }
        } else if text == "else" || text.starts_with("elif ") {
            conditions.pop();
            conditions.push(format!("otherwise: {text}"));
        } else if text == "fi" || text.starts_with("fi;") || text.starts_with("fi ") {
            conditions.pop();
        } else if let Some(found) = ECHO.captures(text) {
            let text = marked(unquoted(&found[1]));
            let written = script.files.entry(found[2].to_owned()).or_default();
            written.push(Line { line: *line, text, conditions: conditions.clone() });
        } else if let Some(found) = ASSIGNMENT.captures(text) {
            script.assignments.push(Assignment {
                line: *line,
                name: found[1].to_owned(),
                value: unquoted(found[2].trim()).to_owned(),
                conditions: conditions.clone(),
            });
        }
        if let Some(found) = TAG.captures(text).filter(|_| script.tag.is_none()) {
            script.tag = Some((*line, marked(&found[1])));
        }
    }
    script
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

/// The files of a manifest that a pipeline of railyard's own carries along.
pub(super) fn carried_files(lines: &[(usize, String)]) -> Vec<(String, String)> {
    if !lines.iter().any(|(_, line)| line.trim_start().starts_with("railyard build")) {
        return Vec::new();
    }
    let mut files: Vec<(String, String)> = Vec::new();
    let mut rest = lines.iter().map(|(_, line)| line.as_str());
    while let Some(line) = rest.next() {
        let Some(found) = HEREDOC.captures(line) else { continue };
        let end = found[3].to_owned();
        let text: String =
            rest.by_ref().take_while(|line| **line != end).map(|line| format!("{line}\n")).collect();
        files.push((found[1].to_owned(), text));
    }
    files
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
        assert_eq!(read.tag, Some((9, "\u{1}TAG\u{2}".into())));
    }
}
