//! Assignments of a script.

use std::sync::LazyLock;

use regex::Regex;

use super::expansion::{end_of_word, unquoted};

/// `NAME=value`.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub line: usize,
    pub name: String,
    /// As it is written, without quotes around the whole.
    pub value: String,
    /// As the shell expands it, with variables between marks.
    pub text: String,
    /// Conditions of the `if`s around it.
    pub conditions: Vec<String>,
}

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^([A-Za-z_]\w*)=(.*)$").expect("a pattern"));
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[A-Za-z_]\w*$").expect("a pattern"));

/// Commands that assign.
pub(super) const DECLARES: &[&str] = &["local", "export", "readonly", "declare", "typeset"];

/// Whether a word is an assignment.
pub(super) fn is_assignment(word: &str) -> bool {
    NAMED.is_match(word)
}

/// The assignments that a command consists of, and what stands behind them from its `&&`, `||` or `|` on;
/// `None` for a command of another kind.
pub(super) fn assignments<'t>(
    line: usize,
    text: &'t str,
    conditions: &[String],
) -> Option<(Vec<Assignment>, &'t str)> {
    let mut rest = text.trim();
    let mut found = Vec::new();
    let mut is_declaration = false;
    while !rest.is_empty() {
        // A value that goes on in the next line is taken as far as it is here.
        let end = end_of_word(rest).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if let Some(named) = NAMED.captures(word) {
            found.push(Assignment {
                line,
                name: named[1].to_owned(),
                value: bare(&named[2]).to_owned(),
                text: unquoted(&named[2]),
                conditions: conditions.to_vec(),
            });
        } else if found.is_empty() && DECLARES.contains(&word) {
            is_declaration = true;
        } else if !(is_declaration && (NAME.is_match(word) || word.starts_with('-'))) {
            break;
        }
        rest = behind.trim_start();
    }
    let is_aside = rest.starts_with(['#', '>']) || rest.starts_with("2>");
    let rest = if is_aside { "" } else { rest };
    // Otherwise they are only for a command.
    (!found.is_empty() && (rest.is_empty() || rest.starts_with(['&', '|']))).then_some((found, rest))
}

/// A text without the quotes around the whole of it.
fn bare(text: &str) -> &str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn found(text: &str) -> Option<(Vec<(String, String)>, &str)> {
        let (found, rest) = assignments(1, text, &[])?;
        Some((found.into_iter().map(|one| (one.name, one.text)).collect(), rest))
    }

    #[test]
    fn assignments_are_told_from_commands() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found("A=1"), Some((vec![pair("A", "1")], "")));
        assert_eq!(
            found("export A=\"b c\" D E='$F' # G=1"),
            Some((vec![pair("A", "b c"), pair("E", "$F")], ""))
        );
        assert_eq!(found("A=$(b \"c d\") || true"), Some((vec![pair("A", "$(b \"c d\")")], "|| true")));
        assert_eq!(found("A=1 && B=2").unwrap().1, "&& B=2");
        assert_eq!(found("A=1 make"), None);
        assert_eq!(found("make A=1"), None);
        assert_eq!(found("export A"), None);
    }
}
