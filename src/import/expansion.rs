//! What the shell puts in the place of `$NAME` and `${NAME…}`, kept for later between marks; quotes.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

/// Begins what stands for a variable in a text that the shell expands: its name, and behind a `.` what
/// stands behind the name in braces, in hexadecimal, as it may hold what means something elsewhere.
pub(super) const OPEN: char = '\u{1}';
/// Ends it.
pub(super) const CLOSE: char = '\u{2}';

/// A variable as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub name: String,
    pub operator: Operator,
}

/// What is done with the value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operator {
    /// Nothing.
    None,
    /// `:-` and `-`: another text where it has none.
    Default(String),
    /// `:+` and `+`: another text where it has one.
    Instead,
    /// Something is cut out or replaced.
    Changed,
}

impl Reference {
    /// What stands between marks.
    pub(super) fn parse(marked: &str) -> Self {
        let (name, rest) = marked.split_once('.').unwrap_or((marked, ""));
        let rest = decoded(rest);
        let bare = rest.strip_prefix(':').unwrap_or(&rest);
        let operator = match bare.chars().next() {
            _ if rest.is_empty() => Operator::None,
            // The script ends where there is none.
            Some('?') => Operator::None,
            Some('-' | '=') => Operator::Default(bare[1..].to_owned()),
            Some('+') => Operator::Instead,
            _ => Operator::Changed,
        };
        Self { name: name.to_owned(), operator }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn decoded(hex: &str) -> String {
    let pairs = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Vec<u8> = pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text with marks as people write it.
pub(super) fn shown(text: &str) -> String {
    static MARKED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("\u{1}([A-Za-z0-9_]*)\\.([0-9a-f]+)\u{2}").expect("a pattern"));
    let whole = MARKED
        .replace_all(text, |found: &regex::Captures<'_>| format!("${{{}{}}}", &found[1], decoded(&found[2])));
    whole.replace(OPEN, "${").replace(CLOSE, "}")
}

/// A text as the shell expands it in a here-document, with its variables between marks.
pub(super) fn marked(text: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '$']) {
        marked += &rest[..at];
        rest = &rest[at..];
        let taken = match rest.strip_prefix('\\') {
            // At the end of a line it continues it, in the shell and in a Dockerfile.
            Some(behind) => escaped(behind, &mut marked),
            None => variable(rest, &mut marked),
        };
        rest = &rest[taken..];
    }
    marked + rest
}

/// What a backslash makes of what stands behind it between double quotes; gives the length of both.
fn escaped(behind: &str, marked: &mut String) -> usize {
    match behind.chars().next() {
        Some(c @ ('$' | '\\' | '`' | '"')) => {
            marked.push(c);
            2
        }
        Some(c) => {
            marked.extend(['\\', c]);
            1 + c.len_utf8()
        }
        None => {
            marked.push('\\');
            1
        }
    }
}

/// Marks the variable at the beginning of a text; gives its length.
fn variable(text: &str, marked: &mut String) -> usize {
    let behind = &text[1..];
    let length = |text: &str| {
        let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        text.chars().take_while(is_word).count()
    };
    let mut mark = |name: &str, rest: &str| {
        let rest = if rest.is_empty() { String::new() } else { format!(".{}", encoded(rest)) };
        let _ = write!(marked, "{OPEN}{name}{rest}{CLOSE}");
    };
    if let Some(braced) = behind.strip_prefix('{')
        && let Some(end) = closing(braced)
    {
        let inner = &braced[..end];
        let (name, rest) = inner.split_at(length(inner));
        mark(name, rest);
        return end + 3;
    }
    match length(behind) {
        0 => {
            marked.push('$');
            1
        }
        n => {
            mark(&behind[..n], "");
            n + 1
        }
    }
}

/// Where the brace ends that was opened before a text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '{' if text[..at].ends_with('$') => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Words of a command as the shell gives them on, with variables between marks: nothing is expanded
/// between single quotes. What is not closed ends at the end.
pub(super) fn words(text: &str) -> Vec<String> {
    let raw = raw_words(text);
    raw.iter().map(|word| unquoted(word)).collect()
}

/// A word without its quotes, with variables between marks.
pub(super) fn unquoted(word: &str) -> String {
    let mut marked = String::new();
    let mut rest = word;
    let mut is_quoted = false;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\'' if !is_quoted => {
                let inner = &rest[1..];
                let end = inner.find('\'').unwrap_or(inner.len());
                marked += &inner[..end];
                (end + 2).min(rest.len())
            }
            '"' => {
                is_quoted = !is_quoted;
                1
            }
            '\\' if is_quoted => escaped(&rest[1..], &mut marked),
            '\\' => {
                let next = rest[1..].chars().next();
                marked.extend(next);
                1 + next.map_or(0, char::len_utf8)
            }
            '$' if rest.starts_with("$(") => {
                let end = substitution(rest);
                marked += &rest[..end];
                end
            }
            '$' => variable(rest, &mut marked),
            c => {
                marked.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    marked
}

/// The length of the `$(…)` at the beginning of a text.
fn substitution(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 && c == ')' {
            return at + 1;
        }
    }
    text.len()
}

/// The words of a text as they are written, with their quotes.
pub(super) fn raw_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = end_of_word(rest).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// Where the first word of a text ends; `None` where something in it is not closed.
pub(super) fn end_of_word(text: &str) -> Option<usize> {
    let mut scan = Scan::default();
    for (at, c) in text.char_indices() {
        if scan.is_outside() && c.is_whitespace() {
            return Some(at);
        }
        scan.take(c);
    }
    scan.is_outside().then_some(text.len())
}

/// The parts of a line between these characters, where they stand outside of everything; the line where
/// something is not closed.
pub(super) fn divided(text: &str, at: char) -> Vec<&str> {
    let mut scan = Scan::default();
    let mut parts = Vec::new();
    let mut start = 0;
    for (position, c) in text.char_indices() {
        if scan.is_outside() && c == at {
            parts.push(text[start..position].trim());
            start = position + c.len_utf8();
        }
        scan.take(c);
    }
    if !scan.is_outside() {
        return vec![text];
    }
    parts.push(text[start..].trim());
    parts
}

/// A line without the comment at its end.
pub(super) fn without_comment(text: &str) -> &str {
    let mut scan = Scan::default();
    for (at, c) in text.char_indices() {
        if c == '#' && scan.is_outside() && (at == 0 || text[..at].ends_with(char::is_whitespace)) {
            return text[..at].trim_end();
        }
        scan.take(c);
    }
    text
}

/// What is open at a place of a text: the characters that close it, innermost last.
#[derive(Debug, Default)]
struct Scan {
    open: Vec<char>,
    is_escaped: bool,
    last: Option<char>,
}

impl Scan {
    fn is_outside(&self) -> bool {
        self.open.is_empty() && !self.is_escaped
    }

    fn take(&mut self, c: char) {
        let last = self.last.replace(c);
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        let inner = self.open.last().copied();
        let is_expansion = last == Some('$');
        match (inner, c) {
            (Some(end), c) if c == end => drop(self.open.pop()),
            (Some('\''), _) => {}
            (_, '\\') => self.is_escaped = true,
            (Some('`'), _) => {}
            (_, '{') if is_expansion => self.open.push('}'),
            (Some('"'), '(') if is_expansion => self.open.push(')'),
            (Some('"'), _) => {}
            (Some('}'), '(') if !is_expansion => {}
            (_, '(') => self.open.push(')'),
            (_, '"' | '\'' | '`') => self.open.push(c),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_what_is_done_with_them() {
        let read = |text: &str| {
            let marked = marked(text);
            assert_eq!(shown(&marked), text);
            let inner = marked.strip_prefix(OPEN).unwrap().strip_suffix(CLOSE).unwrap();
            let Reference { name, operator } = Reference::parse(inner);
            (name, operator)
        };
        assert_eq!(read("${A}"), ("A".into(), Operator::None));
        assert_eq!(read("${TAG:-latest}"), ("TAG".into(), Operator::Default("latest".into())));
        assert_eq!(read("${TAG-${B:-c}}"), ("TAG".into(), Operator::Default("${B:-c}".into())));
        assert_eq!(read("${COMMIT:0:7}"), ("COMMIT".into(), Operator::Changed));
        assert_eq!(read("${A##*/}"), ("A".into(), Operator::Changed));
        assert_eq!(read("${#A}"), (String::new(), Operator::Changed));
        assert_eq!(read("${SUFFIX:+-$SUFFIX}"), ("SUFFIX".into(), Operator::Instead));
        assert_eq!(read("${A:?is missing}"), ("A".into(), Operator::None));
        assert_eq!(marked("\\$A \\\\ \\n $ ${"), "$A \\ \\n $ ${");
    }

    #[test]
    fn quotes_decide_what_is_expanded() {
        assert_eq!(words("a 'b $C' \"d $E\"f\\ g"), ["a", "b $C", "d \u{1}E\u{2}f g"]);
        assert_eq!(words("'a'\"'b'\"$(c \"d e\") \"\\\"\\$x\\n\""), ["a'b'$(c \"d e\")", "\"$x\\n"]);
        assert_eq!(words("'open a"), ["open a"]);
    }

    #[test]
    fn comments_are_left_out() {
        assert_eq!(without_comment("a 'b # c' d#e # it's f"), "a 'b # c' d#e");
        assert_eq!(without_comment("# a"), "");
    }

    #[test]
    fn lines_are_divided_outside_of_everything() {
        assert_eq!(divided("a; b 'c;d' $(e;f); \"g;\"", ';'), ["a", "b 'c;d' $(e;f)", "\"g;\""]);
        assert_eq!(divided("a; 'b", ';'), ["a; 'b"]);
        assert_eq!(divided("A=\"$(a \"b; ${C}\" | 'd;)')\"; e", ';').len(), 2);
    }
}
