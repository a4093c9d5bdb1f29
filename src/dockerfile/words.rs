//! Words with variables, as in `FROM ${IMAGE:-debian}`.
//!
//! Follows BuildKit's `frontend/dockerfile/shell`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use regex::{NoExpand, Regex};

/// Replaces variables and takes quotes and escapes away; a variable without a value is empty.
///
/// # Errors
/// What cannot be read, as a fragment.
pub(super) fn expand(
    word: &str,
    escape: char,
    variables: &BTreeMap<String, String>,
) -> Result<String, String> {
    let mut reader = Reader { rest: word.chars().peekable(), escape, variables };
    reader.until(None, false)
}

/// Reads a variable's name: a word, a number, or one of the shell's own.
pub(super) fn variable_name(rest: &mut Peekable<Chars<'_>>) -> String {
    let own = |c: &char| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!');
    if let Some(own) = rest.next_if(own) {
        return own.to_string();
    }
    let number = rest.peek().is_some_and(char::is_ascii_digit);
    let part = |c: &char| if number { c.is_ascii_digit() } else { c.is_alphanumeric() || *c == '_' };
    std::iter::from_fn(|| rest.next_if(part)).collect()
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    variables: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    /// Reads to the end, or over `end`; escapes stay where `raw`.
    fn until(&mut self, end: Option<char>, raw: bool) -> Result<String, String> {
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                c if Some(c) == end => return Ok(text),
                '\'' => loop {
                    match self.rest.next() {
                        Some('\'') => break,
                        Some(c) => text.push(c),
                        None => return Err("a single quote is not closed".into()),
                    }
                },
                '"' => loop {
                    match self.rest.next() {
                        Some('"') => break,
                        Some('$') => text.push_str(&self.variable()?),
                        Some(c) if c == self.escape => match self.rest.next() {
                            Some(next) if matches!(next, '"' | '$') || next == self.escape => text.push(next),
                            Some(next) => text.extend([c, next]),
                            None => text.push(c),
                        },
                        Some(c) => text.push(c),
                        None => return Err("a double quote is not closed".into()),
                    }
                },
                '$' => text.push_str(&self.variable()?),
                c if c == self.escape => text.extend(raw.then_some(c).into_iter().chain(self.rest.next())),
                c => text.push(c),
            }
        }
        match end {
            Some(_) => Err("`${` is not closed".into()),
            None => Ok(text),
        }
    }

    /// What stands behind `$`.
    fn variable(&mut self) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".into() } else { self.value(&name).unwrap_or_default() });
        }
        let name = self.name();
        let value = self.value(&name);
        let mut operator = self.rest.next().ok_or("`${` is not closed")?;
        let mut set = value.is_some();
        if operator == ':' {
            operator = self.rest.next().ok_or("`${` is not closed")?;
            set = value.as_ref().is_some_and(|value| !value.is_empty());
        }
        match operator {
            '}' => Ok(value.unwrap_or_default()),
            '-' => {
                let other = self.until(Some('}'), false)?;
                Ok(if set { value.unwrap_or_default() } else { other })
            }
            '+' => {
                let other = self.until(Some('}'), false)?;
                Ok(if set { other } else { String::new() })
            }
            '?' => {
                let message = self.until(Some('}'), false)?;
                if set {
                    Ok(value.unwrap_or_default())
                } else {
                    Err(format!("`{name}` is not set: {message}"))
                }
            }
            '#' | '%' => {
                let longest = self.rest.next_if_eq(&operator).is_some();
                let pattern = expression(&self.until(Some('}'), true)?)?;
                let value = value.unwrap_or_default();
                Ok(without(&value, &pattern, operator == '#', longest).to_owned())
            }
            '/' => {
                let limit = usize::from(self.rest.next_if_eq(&'/').is_none());
                let pattern = expression(&self.until(Some('/'), true)?)?;
                let other = self.until(Some('}'), true)?;
                let pattern = Regex::new(&pattern).map_err(|e| e.to_string())?;
                Ok(pattern.replacen(&value.unwrap_or_default(), limit, NoExpand(&other)).into_owned())
            }
            other => Err(format!("`${{{name}{other}` is not supported here")),
        }
    }

    fn name(&mut self) -> String {
        variable_name(&mut self.rest)
    }

    fn value(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// A pattern of the shell as a regular expression; without `[…]`, which BuildKit does not know.
fn expression(pattern: &str) -> Result<String, String> {
    let mut expression = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' => expression += ".*",
            '?' => expression.push('.'),
            '\\' if matches!(rest.peek(), Some('}' | '/')) => {}
            '\\' => match rest.next() {
                Some(next @ ('*' | '?' | '\\')) => expression.extend(['\\', next]),
                _ => return Err(format!("`{pattern}` escapes what is not special")),
            },
            other => expression += &regex::escape(&other.to_string()),
        }
    }
    Ok(expression)
}

/// A value without the shortest or longest part that fits, at its beginning or its end.
fn without<'v>(value: &'v str, pattern: &str, beginning: bool, longest: bool) -> &'v str {
    let pattern = Regex::new(&format!("^(?:{pattern})$")).expect("patterns are escaped");
    let places = value.char_indices().map(|(at, _)| at).chain([value.len()]);
    let splits = places.map(|at| value.split_at(at));
    let mut fitting: Vec<(&str, &str)> = splits
        .map(|(first, second)| if beginning { (first, second) } else { (second, first) })
        .filter(|(part, _)| pattern.is_match(part))
        .collect();
    fitting.sort_by_key(|(part, _)| part.len());
    let chosen = if longest { fitting.last() } else { fitting.first() };
    chosen.map_or(value, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_quotes_and_escapes_are_read_as_buildkit_does() {
        let variables: BTreeMap<String, String> =
            [("A", "one"), ("E", ""), ("V", "v1.2.3")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let read = |word: &str| expand(word, '\\', &variables);
        for (word, wanted) in [
            ("$A", "one"),
            ("x${A}y$B.", "xoney."),
            ("${B:-two}", "two"),
            ("${E-two}", ""),
            ("${E:-${A}s}", "ones"),
            ("${A:+yes}${B+no}", "yes"),
            ("\"$A b\"'$A'", "one b$A"),
            ("\\$A", "$A"),
            ("$1A$@.$", "A.$"),
        ] {
            assert_eq!(read(word).as_deref(), Ok(wanted), "{word}");
        }
        for (word, wanted) in [
            ("${V%.*}", "v1.2"),
            ("${V%%.*}", "v1"),
            ("${V#v}", "1.2.3"),
            ("${V#*.}", "2.3"),
            ("${V##*.}", "3"),
            ("${V%x}${B#y}", "v1.2.3"),
            ("${V/./-}", "v1-2.3"),
            ("${V//./$A}", "v1one2one3"),
            ("${V/\\*/x}${V//?/}", "v1.2.3"),
        ] {
            assert_eq!(read(word).as_deref(), Ok(wanted), "{word}");
        }
        assert_eq!(read("${B?gone}"), Err("`B` is not set: gone".into()));
        assert_eq!(read("${A"), Err("`${` is not closed".into()));
        assert!(read("'x").is_err() && read("${A^x}").is_err());
    }
}
