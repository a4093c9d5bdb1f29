//! Instructions of a Dockerfile that a script writes.

use std::sync::LazyLock;

use regex::Regex;

use super::script::Line;

/// An instruction.
#[derive(Debug, Clone)]
pub(super) struct Instruction {
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    /// Continued lines joined by a blank; here-documents on lines of their own.
    pub rest: String,
    /// Conditions that not the whole file has.
    pub conditions: Vec<String>,
    /// All conditions of the script around it.
    pub within: Vec<String>,
}

static HEREDOC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:^|[^<])<<-?(['"]?)([A-Za-z_]\w*)['"]?"#).expect("a pattern"));

/// The instructions of a file, continued lines joined, comments left out.
pub(super) fn instructions(lines: &[Line]) -> Vec<Instruction> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut open: Option<Instruction> = None;
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (text, goes_on) = match text.strip_suffix('\\') {
            Some(text) => (text.trim_end_matches('\\').trim_end(), true),
            None => (text, false),
        };
        match open.as_mut() {
            Some(instruction) => {
                instruction.rest.push(' ');
                instruction.rest += text;
            }
            None => {
                let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                open = Some(Instruction {
                    line: line.line,
                    keyword: keyword.to_ascii_uppercase(),
                    rest: rest.trim().to_owned(),
                    conditions: line.conditions.clone(),
                    within: line.conditions.clone(),
                });
            }
        }
        if !goes_on && let Some(mut instruction) = open.take() {
            if matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD") {
                let ends: Vec<String> =
                    HEREDOC.captures_iter(&instruction.rest).map(|found| found[2].to_owned()).collect();
                for end in ends {
                    for line in lines.by_ref() {
                        instruction.rest.push('\n');
                        instruction.rest += &line.text;
                        if line.text.trim_start_matches('\t').trim_end() == end {
                            break;
                        }
                    }
                }
            }
            found.push(instruction);
        }
    }
    found.extend(open);
    found
}

/// The script of a RUN: what its shell gets. `None` where options change how it runs.
pub(super) fn script(rest: &str) -> Option<String> {
    if rest.starts_with("--") {
        return None;
    }
    if let Ok(words) = serde_json::from_str::<Vec<String>>(rest) {
        let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
        return Some(quoted.collect::<Vec<_>>().join(" "));
    }
    // A here-document alone is the script.
    let (first, body) = rest.split_once('\n').unwrap_or((rest, ""));
    match HEREDOC.find(first).is_some_and(|found| found.as_str() == first) {
        true => {
            let (body, _) = body.rsplit_once('\n')?;
            (!body.starts_with("#!")).then(|| body.to_owned())
        }
        false => Some(rest.to_owned()),
    }
}

/// Stands for a `$` that begins no variable, between single quotes or behind a backslash.
pub(super) const DOLLAR: char = '\u{3}';

/// The pairs of an ENV, in both of its forms.
pub(super) fn pairs(rest: &str) -> Option<Vec<(String, String)>> {
    let first = rest.split_whitespace().next()?;
    if !first.contains('=') {
        let (name, value) = rest.split_once(char::is_whitespace)?;
        return Some(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    words(rest)?.into_iter().map(pair).collect()
}

/// The names of an ARG, with their defaults.
pub(super) fn arguments(rest: &str) -> Option<Vec<(String, Option<String>)>> {
    let argument = |word: String| match word.split_once('=') {
        Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
        None => (word, None),
    };
    Some(words(rest)?.into_iter().map(argument).collect())
}

/// The words of ARG and ENV without their quotes; `None` where one is not closed.
fn words(rest: &str) -> Option<Vec<String>> {
    let mut quote = None;
    let mut words = vec![String::new()];
    let mut chars = rest.chars();
    let literal = |c: char| if c == '$' { DOLLAR } else { c };
    while let Some(c) = chars.next() {
        let word = words.last_mut().expect("there is always one");
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => word.extend(chars.next().map(literal)),
            (c, None) if c.is_whitespace() => words.push(String::new()),
            (c, Some('\'')) => word.push(literal(c)),
            (c, _) => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    (quote.is_none()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let line =
            |(n, text): (usize, &str)| Line { line: n + 1, text: text.to_owned(), conditions: Vec::new() };
        let lines: Vec<Line> = text.lines().enumerate().map(line).collect();
        instructions(&lines).into_iter().map(|i| (i.keyword, i.rest)).collect()
    }

    #[test]
    fn here_documents_belong_to_their_instruction() {
        let found = read("RUN a \\\n  b\nRUN <<EOF\nUSER x\n\ny\nEOF\nUSER z\n");
        let expected = [("RUN", "a b"), ("RUN", "<<EOF\nUSER x\n\ny\nEOF"), ("USER", "z")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(script("<<EOF\nUSER x\n\ny\nEOF").as_deref(), Some("USER x\n\ny"));
        assert_eq!(script("cat <<EOF >/x\na\nEOF").as_deref(), Some("cat <<EOF >/x\na\nEOF"));
        assert_eq!(script("[\"a\", \"b c\"]").as_deref(), Some("'a' 'b c'"));
        assert_eq!(script("--mount=type=cache,target=/x a"), None);
    }

    #[test]
    fn env_has_two_forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("A=1 B=\"x y\" C=a\\ b"),
            Some(vec![pair("A", "1"), pair("B", "x y"), pair("C", "a b")])
        );
        assert_eq!(pairs("A b c"), Some(vec![pair("A", "b c")]));
        assert_eq!(pairs("A"), None);
        assert_eq!(pairs("A=1 B"), None);
        assert_eq!(pairs("A='$B' C=\\$D"), Some(vec![pair("A", "\u{3}B"), pair("C", "\u{3}D")]));
    }

    #[test]
    fn arguments_may_be_several_and_quoted() {
        let one = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            arguments("A=1 B='2 3' C D=v${A}"),
            Some(vec![one("A", Some("1")), one("B", Some("2 3")), one("C", None), one("D", Some("v${A}"))])
        );
        assert_eq!(arguments("A='1"), None);
    }
}
