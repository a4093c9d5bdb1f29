//! YAML documents, written.

use std::fmt::Write as _;

/// A node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A text.
    Text(String),
    /// A text of several lines, as a literal block.
    Block(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// A list.
    List(Vec<Node>),
    /// A table, in order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A table.
    pub(super) fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Node)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, node)| (key.into(), node)).collect())
    }

    /// A list of texts.
    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// The document.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Map(pairs) => {
                for (key, node) in pairs {
                    let _ = write!(text, "{indent}{}:", scalar(key));
                    node.write_value(text, depth + 1);
                }
            }
            Self::List(items) => {
                for item in items {
                    let mut inner = String::new();
                    match item {
                        Self::Map(pairs) if !pairs.is_empty() => {
                            item.write(&mut inner, depth + 1);
                            let _ = write!(text, "{indent}- {}", inner.trim_start());
                        }
                        _ => {
                            let _ = write!(text, "{indent}-");
                            item.write_value(text, depth + 1);
                        }
                    }
                }
            }
            _ => self.write_value(text, depth),
        }
    }

    /// What stands behind `key:` or `-`.
    fn write_value(&self, text: &mut String, depth: usize) {
        let _ = match self {
            Self::Text(value) => writeln!(text, " {}", scalar(value)),
            Self::Bool(value) => writeln!(text, " {value}"),
            Self::Number(value) => writeln!(text, " {value}"),
            Self::List(items) if items.is_empty() => writeln!(text, " []"),
            Self::Map(pairs) if pairs.is_empty() => writeln!(text, " {{}}"),
            Self::List(_) | Self::Map(_) => {
                text.push('\n');
                self.write(text, depth);
                Ok(())
            }
            Self::Block(block) if !fits_block(block) => writeln!(text, " {}", scalar(block)),
            Self::Block(block) => {
                let _ = writeln!(text, " |-");
                for line in block.trim_end_matches('\n').lines() {
                    let indent = if line.is_empty() { String::new() } else { "  ".repeat(depth) };
                    let _ = writeln!(text, "{indent}{line}");
                }
                Ok(())
            }
        };
    }
}

/// Whether a text can be a literal block without marks of its indentation.
fn fits_block(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| !c.is_whitespace());
    first && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control() && c != '\u{feff}')
}

/// A scalar: as it is where nothing else can be read into it, else quoted as in JSON.
fn scalar(text: &str) -> String {
    let word =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ' | '(' | ')' | '+');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let ends = !text.ends_with(' ');
    let keyword = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if starts && ends && text.chars().all(word) && !keyword.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    // `<+input>` is plain to every reader.
    if text.starts_with("<+") && text.ends_with('>') && text[2..text.len() - 1].chars().all(word) {
        return text.to_owned();
    }
    serde_json::to_string(text).expect("texts are printable as JSON")
}

/// Whether Harness takes it as an identifier.
pub(super) fn is_harness_identifier(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// An identifier for Harness out of any text.
pub(super) fn identifier(text: &str) -> String {
    let mut identifier: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(120).collect();
    if !is_harness_identifier(&identifier) {
        identifier.insert(0, '_');
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_readable_and_safe() {
        let node = Node::map([
            ("name", Node::text("a b")),
            ("input", Node::text("<+input>")),
            ("odd", Node::text("yes")),
            ("number", Node::text("3.38")),
            ("colon", Node::text("a: b")),
            ("empty", Node::List(Vec::new())),
            (
                "list",
                Node::List(vec![
                    Node::map([("x", Node::Number(1)), ("w", Node::Bool(true))]),
                    Node::text("z"),
                ]),
            ),
            ("script", Node::Block("set -e\n\n\tindented\n".into())),
        ]);
        let expected = "name: a b\ninput: <+input>\nodd: \"yes\"\nnumber: \"3.38\"\ncolon: \"a: b\"\nempty: []\n\
            list:\n  - x: 1\n    w: true\n  - z\nscript: |-\n  set -e\n\n  \tindented\n";
        assert_eq!(node.render(), expected);
    }

    #[test]
    fn identifiers_have_letters_digits_and_underscores() {
        assert_eq!(identifier("harness-images 1.0"), "harness_images_1_0");
        assert_eq!(identifier("1"), "_1");
        assert!(!is_harness_identifier("a.b") && !is_harness_identifier(""));
    }
}
