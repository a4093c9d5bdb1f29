//! Words with variables, as in `FROM ${IMAGE:-debian}`.
//!
//! Follows BuildKit's `frontend/dockerfile/shell`.

use std::collections::BTreeMap;

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
    reader.until(None)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    variables: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    /// Reads to the end, or over `end`.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
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
                c if c == self.escape => text.extend(self.rest.next()),
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
                let other = self.until(Some('}'))?;
                Ok(if set { value.unwrap_or_default() } else { other })
            }
            '+' => {
                let other = self.until(Some('}'))?;
                Ok(if set { other } else { String::new() })
            }
            '?' => {
                let message = self.until(Some('}'))?;
                if set {
                    Ok(value.unwrap_or_default())
                } else {
                    Err(format!("`{name}` is not set: {message}"))
                }
            }
            other => Err(format!("`${{{name}{other}` is not supported here")),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_quotes_and_escapes_are_read_as_buildkit_does() {
        let variables: BTreeMap<String, String> =
            [("A", "one"), ("E", "")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
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
        ] {
            assert_eq!(read(word).as_deref(), Ok(wanted), "{word}");
        }
        assert_eq!(read("${B?gone}"), Err("`B` is not set: gone".into()));
        assert_eq!(read("${A"), Err("`${` is not closed".into()));
        assert!(read("'x").is_err() && read("${A%x}").is_err());
    }
}
