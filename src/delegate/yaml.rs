//! YAML with the places of its nodes, and changes of the text that leave all else as it is.
//!
//! Nothing is written anew: a change is a piece of text in the place of another, so that comments, order
//! and quotes of the rest stay.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::DelegateError;

/// A node of a document; places are bytes of the text.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A text, number, truth value or nothing.
    Scalar {
        /// As it is meant, without quotes; `None` where nothing is written.
        text: Option<String>,
        /// Where it stands, with its anchor and tag; empty where nothing is written.
        place: Range<usize>,
        /// Where its text begins: behind anchor and tag, and of a block (`|`, `>`) at its first line.
        content: usize,
        /// Whether it is a block.
        block: bool,
    },
    /// A table, in order.
    Mapping { entries: Vec<(Node, Node)>, place: Range<usize> },
    /// A list.
    Sequence { items: Vec<Node>, place: Range<usize> },
    /// `*name`, which stands for another node: that one, where it is a scalar.
    Alias { place: Range<usize>, scalar: Option<Box<Node>> },
}

impl Node {
    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        match self {
            Self::Scalar { place, .. }
            | Self::Mapping { place, .. }
            | Self::Sequence { place, .. }
            | Self::Alias { place, .. } => place.start,
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The value behind several keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// A key with its value.
    pub(super) fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        let Self::Mapping { entries, .. } = self else { return None };
        entries.iter().find(|(name, _)| name.text() == Some(key))
    }

    /// Keys and values; none where it is no table.
    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match self {
            Self::Mapping { entries, .. } => entries,
            _ => &[],
        }
    }

    /// The items; none where it is no list.
    pub(super) fn items(&self) -> &[Node] {
        match self {
            Self::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => text.as_deref(),
            _ => None,
        }
    }

    /// Calls `visit` with every node of the tree.
    pub(super) fn walk<'n>(&'n self, visit: &mut impl FnMut(&'n Node)) {
        visit(self);
        for (key, value) in self.entries() {
            key.walk(visit);
            value.walk(visit);
        }
        self.items().iter().for_each(|item| item.walk(visit));
    }
}

/// Reads all documents of a text.
///
/// # Errors
/// When it is no YAML.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, DelegateError> {
    // The parser counts characters.
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let byte = |character: usize| bytes.get(character).copied().unwrap_or(text.len());
    let place = |span: &Span| byte(span.start.index())..byte(span.end.index());
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    let mut open: Vec<(Node, Option<Node>)> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| {
            let line = error.marker().line();
            DelegateError::new(format!("line {line}: no YAML: {error}"), "correct it, or give another file")
        })?;
        let node = match event {
            Event::Scalar(value, style, anchor, tag) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let place = place(&span);
                let content = match anchor != 0 || tag.is_some() {
                    true => place.start + before(&text[place.clone()], block),
                    false => place.start,
                };
                let place = place.start..end(text, content..place.end, block);
                let value = (!place.is_empty()).then(|| value.into_owned());
                let scalar = Node::Scalar { text: value, place, content, block };
                // 0 is none.
                if anchor != 0 {
                    anchors.insert(anchor, scalar.clone());
                }
                scalar
            }
            Event::Alias(anchor) => {
                Node::Alias { place: place(&span), scalar: anchors.get(&anchor).cloned().map(Box::new) }
            }
            Event::MappingStart(..) => {
                open.push((Node::Mapping { entries: Vec::new(), place: place(&span) }, None));
                continue;
            }
            Event::SequenceStart(..) => {
                open.push((Node::Sequence { items: Vec::new(), place: place(&span) }, None));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some((node, _)) => node,
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(node),
            Some((Node::Sequence { items, .. }, _)) => items.push(node),
            Some((Node::Mapping { entries, .. }, key)) => match key.take() {
                None => *key = Some(node),
                Some(name) => entries.push((name, node)),
            },
            Some(_) => {}
        }
    }
    Ok(documents)
}

/// How much of a scalar is its anchor and tag, with the blanks and comments behind them; of a block the line
/// of its `|` too. Without anchor and tag a scalar's place begins with its text.
fn before(written: &str, block: bool) -> usize {
    let mut rest = written;
    while rest.starts_with(['&', '!', '#']) {
        let is_end =
            |c: char| if rest.starts_with('#') { matches!(c, '\n' | '\r') } else { c.is_whitespace() };
        rest = rest.find(is_end).map_or("", |end| rest[end..].trim_start());
    }
    if block {
        rest = rest.find(['\n', '\r']).map_or("", |end| rest[end..].trim_start());
    }
    written.len() - rest.len()
}

/// The end of a scalar alone: what the parser gives may hold the blanks and the comment behind it.
fn end(text: &str, content: Range<usize>, block: bool) -> usize {
    let written = &text[content.clone()];
    let end = match written.chars().next() {
        _ if block => Some(written.trim_end().len()),
        Some('"') => {
            let mut escaped = false;
            let closes = |c: char| {
                let closing = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closing
            };
            written[1..].find(closes).map(|at| at + 2)
        }
        Some('\'') => {
            // Two quotes are one of the text.
            let inner = &written[1..];
            let mut at = 0;
            while inner[at..].starts_with("''") || !inner[at..].starts_with('\'') && at < inner.len() {
                at += if inner[at..].starts_with("''") {
                    2
                } else {
                    inner[at..].chars().next().map_or(1, char::len_utf8)
                };
            }
            Some((at + 2).min(written.len()))
        }
        _ => {
            let comment = written.find(" #").unwrap_or(written.len());
            Some(written[..comment].trim_end().len())
        }
    };
    content.start + end.unwrap_or(written.len())
}

/// Changes of one text, in any order; they do not overlap.
#[derive(Debug)]
pub(super) struct Edits<'t> {
    text: &'t str,
    changes: Vec<(Range<usize>, String)>,
}

impl<'t> Edits<'t> {
    /// No changes yet.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, changes: Vec::new() }
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, place: usize) -> usize {
        self.text[..place].matches('\n').count() + 1
    }

    /// The changed text.
    pub(super) fn apply(mut self) -> String {
        self.changes.sort_by_key(|(place, _)| std::cmp::Reverse((place.start, place.end)));
        let mut text = self.text.to_owned();
        for (place, new) in self.changes {
            text.replace_range(place, &new);
        }
        text
    }

    /// Puts a scalar in the place of a key's value.
    ///
    /// # Errors
    /// When the value is a block, a list, a table or an alias.
    pub(super) fn set(&mut self, key: &Node, value: &Node, new: &str) -> Result<(), DelegateError> {
        match value {
            Node::Scalar { text: None, .. } => {
                let after = self.after_colon(key)?;
                self.changes.push((after..after, format!(" {new}")));
            }
            Node::Scalar { block: false, place, .. } => self.changes.push((place.clone(), new.to_owned())),
            _ => {
                let line = self.line(key.start());
                let name = key.text().unwrap_or("the value");
                return Err(DelegateError::new(
                    format!("line {line}: `{name}` is no plain value"),
                    "write it on one line, without `|`, `>`, `*`, `[` or `{`",
                ));
            }
        }
        Ok(())
    }

    /// Puts a text in the place of another.
    pub(super) fn put(&mut self, place: Range<usize>, new: String) {
        self.changes.push((place, new));
    }

    /// Whether a scalar stands in quotes.
    pub(super) fn is_quoted(&self, scalar: &Node) -> bool {
        let Node::Scalar { content, .. } = scalar else { return false };
        self.text[*content..].starts_with(['"', '\''])
    }

    /// Puts an item into an empty list in brackets that begins at a place.
    ///
    /// # Errors
    /// When no such list is there.
    pub(super) fn fill_list(&mut self, start: usize, item: &str) -> Result<(), DelegateError> {
        if !self.text[start..].starts_with('[') {
            let line = self.line(start);
            return Err(DelegateError::new(format!("line {line}: no list is here"), "write `[]` there"));
        }
        self.changes.push((start + 1..start + 1, item.to_owned()));
        Ok(())
    }

    /// Puts a key before the others of a table. `block` is its value where the table is written in
    /// lines (`{indent}` stands for the key's own indentation), `flow` where it is in braces.
    ///
    /// # Errors
    /// When it is no table, or one with nothing in it.
    pub(super) fn insert_key(
        &mut self,
        table: &Node,
        key: &str,
        block: &str,
        flow: &str,
    ) -> Result<(), DelegateError> {
        let Some((first, _)) = table.entries().first() else { return Err(self.unreadable(table, key)) };
        let at = first.start();
        let new = if self.text[table.start()..].starts_with('{') {
            format!("{key}: {flow}, ")
        } else {
            let indent = self.indentation(at);
            let blank = if block.starts_with('\n') { "" } else { " " };
            let block = block.replace('\n', self.newline()).replace("{indent}", &indent);
            format!("{key}:{blank}{block}{}{indent}", self.newline())
        };
        self.changes.push((at..at, new));
        Ok(())
    }

    /// Puts an item before the others of a list; `lines` are those of its table, `flow` the same in
    /// braces.
    ///
    /// # Errors
    /// When it is no list, or one with nothing in it.
    pub(super) fn insert_item(
        &mut self,
        list: &Node,
        lines: &[&str],
        flow: &str,
    ) -> Result<(), DelegateError> {
        let Some(first) = list.items().first() else { return Err(self.unreadable(list, "the list")) };
        let at = first.start();
        if self.text[list.start()..].starts_with('[') {
            self.changes.push((at..at, format!("{flow}, ")));
            return Ok(());
        }
        let before = self.text[..at].trim_end();
        if !before.ends_with('-') {
            return Err(self.unreadable(list, "the list"));
        }
        let dash = before.len() - 1;
        let indent = self.indentation(dash);
        let inner = format!("{}{indent}  ", self.newline());
        let new = format!("- {}{}{indent}", lines.join(&inner), self.newline());
        self.changes.push((dash..dash, new));
        Ok(())
    }

    /// What a place is indented by: its column, in spaces.
    fn indentation(&self, place: usize) -> String {
        let line = self.text[..place].rfind('\n').map_or(0, |newline| newline + 1);
        " ".repeat(self.text[line..place].chars().count())
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn after_colon(&self, key: &Node) -> Result<usize, DelegateError> {
        let end = match key {
            Node::Scalar { place, .. } => place.end,
            other => other.start(),
        };
        match self.text[end..].find(':') {
            Some(colon) if self.text[end..end + colon].trim().is_empty() => Ok(end + colon + 1),
            _ => Err(self.unreadable(key, "the key")),
        }
    }

    fn unreadable(&self, node: &Node, what: &str) -> DelegateError {
        let line = self.line(node.start());
        DelegateError::new(
            format!("line {line}: `{what}` cannot be put in here"),
            "write the tables and lists around it out, in lines",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# über\na: 'x' # one\nlist:\n- name: é\n  b:\nflow: {k: v, l: [1]}\n--- \nsecond: |\n  block\n";

    #[test]
    fn places_are_bytes_of_the_text() {
        let documents = parse(TEXT).unwrap();
        assert_eq!(documents.len(), 2);
        let place = |node: &Node| match node {
            Node::Scalar { place, .. } => TEXT[place.clone()].to_owned(),
            _ => panic!("no scalar"),
        };
        assert_eq!(place(documents[0].get("a").unwrap()), "'x'");
        for scalar in ["'it''s'", r#""a \" b""#, "plain text", "''", "\"\""] {
            let text = format!("a: {scalar}  # comment\nb: {scalar}\n");
            let document = &parse(&text).unwrap()[0];
            for key in ["a", "b"] {
                let Some(Node::Scalar { place, .. }) = document.get(key) else { panic!("{text}") };
                assert_eq!(&text[place.clone()], scalar);
            }
        }
        let content = |written: &str| {
            let text = format!("a: {written}\nb: x\n");
            let document = &parse(&text).unwrap()[0];
            let Some(Node::Scalar { place, content, .. }) = document.get("a") else { panic!("{text}") };
            text[*content..place.end].to_owned()
        };
        assert_eq!(content("&tok \"abc #def\" # comment"), "\"abc #def\"");
        assert_eq!(content("!!str &tok 'a b' # comment"), "'a b'");
        assert_eq!(content("&tok # \"\n  \"a b\""), "\"a b\"");
        assert_eq!(content("&tok plain # comment"), "plain");
        assert_eq!(content("&tok |- # comment\n\n    &one\n    two\n"), "&one\n    two");
        assert_eq!(content("|\n  &one\n  two\n").len(), "&one\n  two".len());
        let item = &documents[0].get("list").unwrap().items()[0];
        assert_eq!((place(item.get("name").unwrap()), item.get("b").unwrap().text()), ("é".into(), None));
        assert!(matches!(documents[1].get("second"), Some(Node::Scalar { block: true, .. })));
    }

    #[test]
    fn changes_leave_all_else_as_it_is() {
        let documents = parse(TEXT).unwrap();
        let first = &documents[0];
        let mut edits = Edits::new(TEXT);
        let (key, value) = first.entry("a").unwrap();
        edits.set(key, value, "\"y\"").unwrap();
        let list = first.get("list").unwrap();
        edits.insert_item(list, &["name: new", "b: 1"], "{name: new, b: 1}").unwrap();
        let (key, value) = list.items()[0].entry("b").unwrap();
        edits.set(key, value, "2").unwrap();
        let flow = first.get("flow").unwrap();
        edits.insert_key(flow, "j", "w", "w").unwrap();
        edits.insert_item(flow.get("l").unwrap(), &["0"], "0").unwrap();
        edits.insert_key(first, "top", "\n{indent}- z", "[z]").unwrap();
        let (key, value) = documents[1].entry("second").unwrap();
        assert!(edits.set(key, value, "no").unwrap_err().message.contains("line 8"));
        assert_eq!(
            edits.apply(),
            "# über\ntop:\n- z\na: \"y\" # one\nlist:\n- name: new\n  b: 1\n- name: é\n  b: 2\n\
             flow: {j: w, k: v, l: [0, 1]}\n--- \nsecond: |\n  block\n"
        );
    }

    #[test]
    fn a_key_goes_into_an_item_of_a_list() {
        let text = "l:\r\n  - a: 1\r\n    b: 2\r\n";
        let documents = parse(text).unwrap();
        let mut edits = Edits::new(text);
        edits.insert_key(&documents[0].get("l").unwrap().items()[0], "c", "3", "3").unwrap();
        assert_eq!(edits.apply(), "l:\r\n  - c: 3\r\n    a: 1\r\n    b: 2\r\n");
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        let error = parse("a: b\n c: [\n").unwrap_err();
        assert!(error.message.starts_with("line "), "{error}");
    }
}
