//! `{{ text | parse(pattern) }}`: the parts of a text, by the named groups of a regular expression.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};
use regex::Regex;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{Ast, GroupKind};

/// Adds the filter `parse` to an environment.
pub(super) fn register(environment: &mut Environment<'_>) {
    let known: Mutex<HashMap<String, Arc<Pattern>>> = Mutex::default();
    environment.add_filter("parse", move |text: &Value, pattern: &Value| -> Result<Value, Error> {
        if text.is_undefined() || pattern.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        let pattern = pattern.to_string();
        let compiled = known.lock().unwrap_or_else(PoisonError::into_inner).get(&pattern).cloned();
        let compiled = match compiled {
            Some(compiled) => compiled,
            None => {
                let compiled = Arc::new(Pattern::new(&pattern).map_err(failed)?);
                known.lock().unwrap_or_else(PoisonError::into_inner).insert(pattern, compiled.clone());
                compiled
            }
        };
        let parts = compiled.parts(&text.to_string()).map_err(failed)?;
        Ok(Value::from_iter(parts))
    });
}

fn failed(error: ParseError) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string()).with_source(error)
}

/// Why the filter `parse` fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ParseError {
    /// The pattern is no regular expression.
    Malformed {
        /// The pattern.
        pattern: String,
        /// Why, in one line.
        why: String,
    },
    /// The pattern has no named group, so that nothing can be taken out.
    Nameless {
        /// The pattern.
        pattern: String,
    },
    /// The text is not what the pattern describes.
    Unmatched {
        /// The pattern.
        pattern: String,
        /// The text.
        text: String,
        /// The first named group that the text lacks, where that can be told.
        missing: Option<String>,
        /// How many bytes of the text the pattern's beginning matches.
        matched: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { pattern, why } => write!(f, "`{pattern}` is no regular expression: {why}"),
            Self::Nameless { pattern } => write!(f, "the pattern `{pattern}` has no named group"),
            Self::Unmatched { text, missing, matched, .. } => {
                match missing {
                    Some(group) => write!(f, "`{text}` has no `{group}`")?,
                    None => write!(f, "`{text}` is not what the pattern describes")?,
                }
                let (before, after) = text.split_at(*matched);
                match (before, after) {
                    ("", _) => Ok(()),
                    (before, "") => write!(f, ": it ends after `{before}`"),
                    (before, after) => write!(f, ": after `{before}` comes `{after}`"),
                }
            }
        }
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// The parse error behind an error of rendering.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }
}

/// A regular expression that is matched on whole texts.
#[derive(Debug)]
struct Pattern {
    text: String,
    whole: Regex,
    /// The parts that the pattern is a sequence of, in order.
    parts: Vec<Part>,
}

/// A part of a pattern.
#[derive(Debug)]
struct Part {
    /// The pattern from its beginning to the end of this part.
    until: String,
    /// The first named group in it.
    group: Option<String>,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, ParseError> {
        let malformed = |why: &dyn fmt::Display| {
            let why = why.to_string();
            let last = why.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            ParseError::Malformed { pattern: text.to_owned(), why }
        };
        let whole = Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| malformed(&error))?;
        let ast = Parser::new().parse(text).map_err(|error| malformed(&error))?;
        if whole.capture_names().flatten().next().is_none() {
            return Err(ParseError::Nameless { pattern: text.to_owned() });
        }
        let parts = match &ast {
            Ast::Concat(sequence) => {
                let part = |part: &Ast| Part {
                    until: text[..part.span().end.offset].to_owned(),
                    group: first_group(part),
                };
                sequence.asts.iter().map(part).collect()
            }
            single => vec![Part { until: text.to_owned(), group: first_group(single) }],
        };
        Ok(Self { text: text.to_owned(), whole, parts })
    }

    /// Named group -> what it matched, for the groups that took part.
    fn parts(&self, text: &str) -> Result<BTreeMap<String, String>, ParseError> {
        let Some(found) = self.whole.captures(text) else { return Err(self.unmatched(text)) };
        let named = self.whole.capture_names().flatten();
        let part = |name: &str| Some((name.to_owned(), found.name(name)?.as_str().to_owned()));
        Ok(named.filter_map(part).collect())
    }

    /// Says what a text lacks: the pattern's beginnings are tried, each one part longer.
    fn unmatched(&self, text: &str) -> ParseError {
        let mut matched = 0;
        let mut fits = 0;
        for part in &self.parts {
            let Ok(beginning) = Regex::new(&format!(r"\A(?:{})", part.until)) else { break };
            let Some(found) = beginning.find(text) else { break };
            matched = found.end();
            fits += 1;
        }
        let missing = self.parts[fits..].iter().find_map(|part| part.group.clone());
        ParseError::Unmatched { pattern: self.text.clone(), text: text.to_owned(), missing, matched }
    }
}

fn first_group(ast: &Ast) -> Option<String> {
    match ast {
        Ast::Group(group) => match &group.kind {
            GroupKind::CaptureName { name, .. } => Some(name.name.clone()),
            _ => first_group(&group.ast),
        },
        Ast::Repetition(repetition) => first_group(&repetition.ast),
        Ast::Concat(sequence) => sequence.asts.iter().find_map(first_group),
        Ast::Alternation(choice) => choice.asts.iter().find_map(first_group),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAM: &str = r".+/build-(?<runtime>[a-z][^:]*):(?<sam_version>\d+\.\d+\.\d+)-(?<timestamp>\d{14})-(?<architecture>x86_64|arm64)";

    fn parts(text: &str) -> Result<BTreeMap<String, String>, ParseError> {
        Pattern::new(SAM).unwrap().parts(text)
    }

    fn said(text: &str) -> String {
        parts(text).unwrap_err().to_string()
    }

    #[test]
    fn a_reference_has_its_parts() {
        let found = parts("public.ecr.aws/sam/build-python3.12:1.143.0-20250822194415-x86_64").unwrap();
        let wanted = [
            ("runtime", "python3.12"),
            ("sam_version", "1.143.0"),
            ("timestamp", "20250822194415"),
            ("architecture", "x86_64"),
        ];
        assert_eq!(found, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_is_missing_is_named() {
        let base = "127.0.0.1:5000/sam/build-python3.12";
        assert_eq!(
            said(&format!("{base}:latest")),
            format!("`{base}:latest` has no `sam_version`: after `{base}:` comes `latest`")
        );
        assert_eq!(
            said(&format!("{base}:1.143.0")),
            format!("`{base}:1.143.0` has no `timestamp`: it ends after `{base}:1.143.0`")
        );
        assert_eq!(
            said(&format!("{base}:1.143.0-20250822194415")),
            format!(
                "`{base}:1.143.0-20250822194415` has no `architecture`: it ends after `{base}:1.143.0-20250822194415`"
            )
        );
        assert!(said("h/sam/python3.12:1.143.0-20250822194415-x86_64").contains("has no `runtime`"));
        assert!(said("h/sam/build-:1.143.0-20250822194415-x86_64").contains("has no `runtime`"));
        let more = format!("{base}:1.143.0-20250822194415-x86_64-2");
        assert_eq!(
            said(&more),
            format!(
                "`{more}` is not what the pattern describes: after `{}` comes `-2`",
                &more[..more.len() - 2]
            )
        );
    }

    #[test]
    fn a_pattern_without_use_is_refused() {
        assert!(Pattern::new("(?<a>").unwrap_err().to_string().contains("is no regular expression"));
        assert_eq!(
            Pattern::new(r"(\d+)").unwrap_err(),
            ParseError::Nameless { pattern: r"(\d+)".to_owned() }
        );
    }

    #[test]
    fn an_optional_group_may_be_missing_and_an_alternative_reaches_over_all() {
        let pattern = Pattern::new(r"v(?<major>\d+)(\.(?<minor>\d+))?").unwrap();
        assert_eq!(pattern.parts("v1").unwrap().len(), 1);
        assert_eq!(pattern.parts("v1.2").unwrap()["minor"], "2");
        let either = Pattern::new("(?<a>x)|b").unwrap();
        assert!(either.parts("xb").is_err() && either.parts("b").unwrap().is_empty());
    }
}
