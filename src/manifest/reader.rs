//! Reading values out of a TOML document with their places.
//!
//! serde is not used for this: a serde deserializer ends at the first error, and a manifest's
//! author wants all of them. [`super::shape`] has reported wrong types before a [`Fields`] is read,
//! so reading passes over them; what it reports itself is malformed text.

mod fields;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use minijinja::Environment;
use toml::Spanned;
use toml::de::DeValue;

pub(super) use self::fields::Fields;
use super::template::{check_condition, check_template, place};
use super::values::{Fault, literal_part};
use super::{Condition, Diagnostic, FileId, Located, Location, Template};

/// Judges the literal part of a text.
pub(super) type Check = fn(&str) -> Result<(), Fault>;

/// One file, and the mistakes found in it.
pub(super) struct Reader<'s> {
    file: FileId,
    text: &'s str,
    environment: Environment<'static>,
    problems: RefCell<Vec<Diagnostic>>,
    secrets: RefCell<Vec<Location>>,
    muted: Cell<bool>,
}

impl<'s> Reader<'s> {
    /// A reader of one file.
    pub(super) fn new(file: FileId, text: &'s str) -> Self {
        let mut environment = Environment::empty();
        environment.set_debug(true);
        Self {
            file,
            text,
            environment,
            problems: RefCell::default(),
            secrets: RefCell::default(),
            muted: Cell::new(false),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> FileId {
        self.file
    }

    /// Its text.
    pub(super) fn text(&self) -> &'s str {
        self.text
    }

    /// Reports a mistake.
    pub(super) fn push(&self, problem: Diagnostic) {
        if !self.muted.get() {
            self.problems.borrow_mut().push(problem);
        }
    }

    /// Notes a text that no message may show.
    pub(super) fn hide(&self, at: Location) {
        self.secrets.borrow_mut().push(at);
    }

    /// The texts that no message may show.
    pub(super) fn secrets(&self) -> Vec<Location> {
        self.secrets.take()
    }

    /// Whether what is read has been reported as a whole.
    pub(super) fn is_muted(&self) -> bool {
        self.muted.get()
    }

    /// Reads something that has been reported as a whole.
    pub(super) fn muted<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = self.muted.replace(true);
        let value = read();
        self.muted.set(before);
        value
    }

    /// Reports a malformed text.
    pub(super) fn fault(&self, at: Location, fault: Fault) {
        self.push(Diagnostic::new(fault.code, at, fault.message).help(fault.help));
    }

    /// The mistakes found.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.problems.into_inner()
    }

    /// The place of a range of bytes of this file.
    pub(super) fn at(&self, range: &Range<usize>) -> Location {
        // A location holds 32 bits; files above 4 GiB are refused when they are loaded.
        let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Location { file: self.file, start: offset(range.start), end: offset(range.end) }
    }

    /// A text with its place.
    pub(super) fn located(&self, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        value.get_ref().as_str().map(|text| Located::new(text.to_owned(), self.at(&value.span())))
    }

    /// A text as it stands; `{{ … }}` in it is a mistake.
    pub(super) fn plain(&self, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        let text = self.located(value)?;
        if !literal_part(&text.value).1 {
            self.push(
                Diagnostic::new(
                    "template-not-allowed",
                    text.at,
                    "this text is taken as it stands, not rendered",
                )
                .label("holds a template")
                .help("write the text itself; templates may stand where it is used"),
            );
        }
        Some(text)
    }

    /// A template whose syntax and literal part are checked.
    pub(super) fn template(&self, value: &Spanned<DeValue<'_>>, check: Check) -> Option<Template> {
        let Located { value: text, at } = self.located(value)?;
        match check_template(&self.environment, &text) {
            Err(error) => {
                let place = place(self.text, at, &text, error.range);
                self.push(
                    Diagnostic::new(
                        "template-syntax",
                        place,
                        format!("malformed template: {}", error.message),
                    )
                    .help(
                            "templates are Jinja's: `{{ axis }}`, `{{ axis.attribute }}`, `{{ vars.NAME }}`; where `{{`, \
                             `{%` or `{#` are meant as they stand, put `{% raw %}` and `{% endraw %}` around them",
                        ),
                );
            }
            Ok(()) => {
                if let Err(fault) = check(&text) {
                    self.fault(at, fault);
                }
            }
        }
        Some(Template { text, at })
    }

    /// A condition whose syntax is checked.
    pub(super) fn condition(&self, value: &Spanned<DeValue<'_>>) -> Option<Condition> {
        let Located { value: text, at } = self.located(value)?;
        if let Err(error) = check_condition(&self.environment, &text) {
            let place = place(self.text, at, &text, error.range);
            let help = if literal_part(&text).1 {
                "write an expression, e.g. `runtime.family == \"node\"`"
            } else {
                "write the expression without braces, e.g. `runtime.family == \"node\"`"
            };
            let message = format!("malformed condition: {}", error.message);
            self.push(Diagnostic::new("condition-syntax", place, message).help(help));
        }
        Some(Condition { text, at })
    }
}

/// An integer that fits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    value.as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok())
}

/// A number, whole or not.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(n) => n.as_str().parse().ok(),
        _ => integer(value).map(|n| n as f64),
    }
}

/// The keys that decoders have asked for, for a test that they ask for all of the grammar.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static KEYS: RefCell<BTreeSet<(&'static str, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn record(table: &'static str, key: &'static str) {
        KEYS.with_borrow_mut(|keys| keys.insert((table, key)));
    }

    pub(in crate::manifest) fn contains(table: &'static str, key: &'static str) -> bool {
        KEYS.with_borrow(|keys| keys.contains(&(table, key)))
    }
}
