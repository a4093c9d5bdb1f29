//! YAML with the line of every value.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Why a text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The line, from 1; of a literal block that of its first line of text.
    pub line: usize,
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text { text: String, block: bool },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().find(|(known, _)| known == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The value at a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text at a path of keys.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).and_then(Node::text)
    }

    /// The elements of a list.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The pairs of a table.
    pub(super) fn pairs(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The lines of a text with their places; of a quoted text all have the same.
    pub(super) fn lines(&self) -> Vec<(usize, String)> {
        let Value::Text { text, block } = &self.value else { return Vec::new() };
        if text.is_empty() {
            return Vec::new();
        }
        let place = |n: usize| if *block { self.line + n } else { self.line };
        // Only at `\n`: files that are carried along may have other line ends.
        let text = text.strip_suffix('\n').unwrap_or(text);
        text.split('\n').enumerate().map(|(n, line)| (place(n), line.to_owned())).collect()
    }
}

/// A table or list that is not finished.
struct Open {
    line: usize,
    is_map: bool,
    items: Vec<Node>,
    keys: Vec<String>,
    key: Option<String>,
}

/// The first document of a text.
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            message: error.info().to_owned(),
        })?;
        let line = span.start.line();
        let node = match event {
            Event::Scalar(value, style, ..) => {
                let block = style == ScalarStyle::Literal;
                Node { line, value: Value::Text { text: value.into_owned(), block } }
            }
            Event::MappingStart(..) => {
                stack.push(Open { line, is_map: true, items: Vec::new(), keys: Vec::new(), key: None });
                continue;
            }
            Event::SequenceStart(..) => {
                stack.push(Open { line, is_map: false, items: Vec::new(), keys: Vec::new(), key: None });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some(open) = stack.pop() else { continue };
                let value = match open.is_map {
                    true => Value::Map(open.keys.into_iter().zip(open.items).collect()),
                    false => Value::List(open.items),
                };
                Node { line: open.line, value }
            }
            Event::Alias(_) => Node { line, value: Value::Text { text: String::new(), block: false } },
            Event::DocumentEnd => break,
            _ => continue,
        };
        match stack.last_mut() {
            None => root = Some(node),
            Some(open) if !open.is_map => open.items.push(node),
            Some(open) => match open.key.take() {
                None => open.key = Some(node.text().unwrap_or_default().to_owned()),
                Some(key) => {
                    open.keys.push(key);
                    open.items.push(node);
                }
            },
        }
    }
    root.ok_or_else(|| YamlError { line: 1, column: 1, message: "the document is empty".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let node = parse("a:\n  b: x\n  script: |-\n    one\n\n    two\n  list:\n    - y\n").unwrap();
        assert_eq!(node.text_at(&["a", "b"]), Some("x"));
        assert_eq!(node.at(&["a", "b"]).unwrap().line, 2);
        let lines = node.at(&["a", "script"]).unwrap().lines();
        assert_eq!(lines, [(4, "one".to_owned()), (5, String::new()), (6, "two".to_owned())]);
        assert_eq!(node.at(&["a", "list"]).unwrap().items()[0].line, 8);
    }

    #[test]
    fn mistakes_have_a_place() {
        let error = parse("a: [1\nb: 2\n").unwrap_err();
        assert!(error.line >= 2, "{error}");
    }
}
