//! Syntax of templates and conditions, and the way from a byte of a template back to its file.

use std::ops::Range;

use minijinja::Environment;

use super::{Location, Sources, Template};

impl Template {
    /// The place in the file of a byte range of [`Template::text`], for errors of rendering
    /// ([`minijinja::Error::range`], with `set_debug(true)`).
    ///
    /// The whole string where the range cannot be found in it.
    pub fn place(&self, sources: &Sources, range: Range<usize>) -> Location {
        place(sources.text(self.at.file), self.at, &self.text, range)
    }
}

/// A mistake of syntax: what, and which bytes of the template.
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// The bytes of the template's text.
    pub range: Range<usize>,
}

/// Checks the syntax of a template.
pub(super) fn check_template(environment: &Environment<'_>, text: &str) -> Result<(), SyntaxError> {
    environment.template_from_str(text).map(|_| ()).map_err(|error| syntax_error(text, &error))
}

/// Checks the syntax of a condition.
pub(super) fn check_condition(environment: &Environment<'_>, text: &str) -> Result<(), SyntaxError> {
    environment.compile_expression(text).map(|_| ()).map_err(|error| syntax_error(text, &error))
}

fn syntax_error(text: &str, error: &minijinja::Error) -> SyntaxError {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let range = error.range().unwrap_or(0..text.len());
    SyntaxError { message, range }
}

/// The place in the file of a byte range of a decoded string.
///
/// `at` is the string with its quotes. The whole of it where the range cannot be found.
pub(super) fn place(file: &str, at: Location, decoded: &str, range: Range<usize>) -> Location {
    let Some(raw) = file.get(at.range()) else { return at };
    let Some(offsets) = offsets(raw, decoded) else { return at };
    let (Some(start), Some(end)) = (offsets.get(range.start), offsets.get(range.end.max(range.start))) else {
        return at;
    };
    Location { file: at.file, start: at.start + start, end: at.start + (*end).max(*start) }
}

/// For each byte of the decoded text, and for its end, the offset in the raw string.
fn offsets(raw: &str, decoded: &str) -> Option<Vec<u32>> {
    let (quotes, escapes) = ["\"\"\"", "'''", "\"", "'"]
        .iter()
        .find(|q| raw.starts_with(**q) && raw.len() >= 2 * q.len() && raw.ends_with(**q))
        .map(|q| (q.len(), q.starts_with('"')))?;
    let end = raw.len() - quotes;
    let mut at = quotes;
    if quotes == 3 {
        at += ["\r\n", "\n"].iter().find(|n| raw[at..end].starts_with(**n)).map_or(0, |n| n.len());
    }
    let mut offsets = Vec::with_capacity(decoded.len() + 1);
    let mut text = String::with_capacity(decoded.len());
    while at < end {
        let rest = &raw[at..end];
        let (c, length) = match rest.strip_prefix('\\').filter(|_| escapes) {
            Some(escape) => match unescape(escape)? {
                (Some(c), length) => (c, length + 1),
                (None, length) => {
                    at += length + 1;
                    continue;
                }
            },
            None => rest.chars().next().map(|c| (c, c.len_utf8()))?,
        };
        offsets.extend(std::iter::repeat_n(u32::try_from(at).ok()?, c.len_utf8()));
        text.push(c);
        at += length;
    }
    offsets.push(u32::try_from(at).ok()?);
    (text == decoded).then_some(offsets)
}

/// What follows a backslash: the character that it means (none for a line's end), and its length.
fn unescape(rest: &str) -> Option<(Option<char>, usize)> {
    let first = rest.chars().next()?;
    let hex = |digits: usize| {
        let code = u32::from_str_radix(rest.get(1..=digits)?, 16).ok()?;
        Some((Some(char::from_u32(code)?), 1 + digits))
    };
    match first {
        'b' => Some((Some('\u{8}'), 1)),
        't' => Some((Some('\t'), 1)),
        'n' => Some((Some('\n'), 1)),
        'f' => Some((Some('\u{c}'), 1)),
        'r' => Some((Some('\r'), 1)),
        'e' => Some((Some('\u{1b}'), 1)),
        '"' | '\\' => Some((Some(first), 1)),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        ' ' | '\t' | '\r' | '\n' => {
            Some((None, rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FileId;

    fn found<'a>(raw: &'a str, decoded: &str, needle: &str) -> &'a str {
        let at = Location { file: FileId(0), start: 0, end: raw.len() as u32 };
        let start = decoded.find(needle).unwrap();
        &raw[place(raw, at, decoded, start..start + needle.len()).range()]
    }

    #[test]
    fn bytes_of_every_kind_of_string_are_found() {
        assert_eq!(found(r#""a {{ b }}""#, "a {{ b }}", "b"), "b");
        assert_eq!(found(r"'a {{ b }}'", "a {{ b }}", "b"), "b");
        assert_eq!(found("\"\"\"\na\n{{ b }}\n\"\"\"", "a\n{{ b }}\n", "b"), "b");
        assert_eq!(found("'''a\r\n{{ b }}'''", "a\r\n{{ b }}", "b"), "b");
        assert_eq!(found(r#""\t\"é\u00e9\" b""#, "\t\"éé\" b", "b"), "b");
        assert_eq!(found("\"\"\"a \\\n   b\"\"\"", "a b", "b"), "b");
    }

    #[test]
    fn what_cannot_be_found_is_the_whole_string() {
        assert_eq!(found("'x'", "yb", "b"), "'x'");
        assert_eq!(found("x", "b", "b"), "x");
    }
}
