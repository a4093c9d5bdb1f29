//! Reading values out of a TOML document with their places.
//!
//! serde is not used for this: a serde deserializer ends at the first error, and a manifest's
//! author wants all of them. [`super::shape`] has reported wrong types before a [`Fields`] is read,
//! so reading passes over them; what it reports itself is malformed text.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use minijinja::Environment;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::grammar::Table;
use super::shape::misspelt;
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

/// A table that is read by the keys of its grammar.
pub(super) struct Fields<'a> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'a>,
    spec: &'static Table,
    at: Location,
}

impl<'a> Fields<'a> {
    /// A table of a document.
    pub(super) fn new(
        reader: &'a Reader<'a>,
        table: &'a DeTable<'a>,
        spec: &'static Table,
        at: Location,
    ) -> Self {
        Self { reader, table, spec, at }
    }

    /// Where the table stands.
    pub(super) fn at(&self) -> Location {
        self.at
    }

    /// The file's reader.
    pub(super) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// The value of a key of the grammar.
    pub(super) fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.spec.key(key).is_some(), "`{key}` is no key of `{}`", self.spec.name);
        #[cfg(test)]
        asked::record(self.spec.name, key);
        self.table.get(key)
    }

    /// Where a key stands, if it is written.
    pub(super) fn key_at(&self, key: &str) -> Option<Location> {
        self.table.get_key_value(key).map(|(key, _)| self.reader.at(&key.span()))
    }

    /// Whether a key is absent without having been reported as misspelt.
    pub(super) fn lacks(&self, key: &'static str) -> bool {
        self.get(key).is_none() && !misspelt(self.table, self.spec, key)
    }

    /// The keys that are not in the grammar, with their values.
    pub(super) fn others(&self) -> impl Iterator<Item = (Located<String>, &'a Spanned<DeValue<'a>>)> + '_ {
        self.table
            .iter()
            .filter(|(key, _)| self.spec.key(key.get_ref()).is_none())
            .map(|(key, value)| (Located::new(key.get_ref().to_string(), self.reader.at(&key.span())), value))
    }

    /// A text with its place.
    pub(super) fn located(&self, key: &'static str) -> Option<Located<String>> {
        self.get(key).and_then(|value| self.reader.located(value))
    }

    /// A text that is taken as it stands.
    pub(super) fn plain(&self, key: &'static str) -> Option<Located<String>> {
        self.get(key).and_then(|value| self.reader.plain(value))
    }

    /// Texts with their places.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        let list = self.list(key)?;
        Some(list.filter_map(|value| self.reader.located(value)).collect())
    }

    /// True or false.
    pub(super) fn bool(&self, key: &'static str) -> Option<bool> {
        self.get(key).and_then(|value| value.get_ref().as_bool())
    }

    /// A whole number that fits.
    pub(super) fn integer(&self, key: &'static str) -> Option<i64> {
        self.get(key).and_then(|value| integer(value.get_ref()))
    }

    /// A count.
    pub(super) fn count(&self, key: &'static str) -> Option<usize> {
        self.integer(key).and_then(|n| usize::try_from(n).ok())
    }

    /// A number.
    pub(super) fn number(&self, key: &'static str) -> Option<f64> {
        self.get(key).and_then(|value| number(value.get_ref()))
    }

    /// A text that stands for a value.
    pub(super) fn value<T>(
        &self,
        key: &'static str,
        parse: fn(&str) -> Result<T, Fault>,
    ) -> Option<Located<T>> {
        let text = self.located(key)?;
        match parse(&text.value) {
            Ok(value) => Some(Located::new(value, text.at)),
            Err(fault) => {
                self.reader.fault(text.at, fault);
                None
            }
        }
    }

    /// A template.
    pub(super) fn template(&self, key: &'static str, check: Check) -> Option<Template> {
        self.get(key).and_then(|value| self.reader.template(value, check))
    }

    /// A template that must be there; its absence has been reported.
    pub(super) fn needed(&self, key: &'static str, check: Check) -> Template {
        self.template(key, check).unwrap_or_else(|| Template { text: String::new(), at: self.at })
    }

    /// A list of templates.
    pub(super) fn templates(&self, key: &'static str, check: Check) -> Option<Vec<Template>> {
        let list = self.list(key)?;
        Some(list.filter_map(|value| self.reader.template(value, check)).collect())
    }

    /// A list of templates that must not be empty where it is written.
    pub(super) fn some_templates(&self, key: &'static str, check: Check) -> Option<Vec<Template>> {
        let templates = self.templates(key, check)?;
        self.refuse_empty(key);
        Some(templates)
    }

    /// Reports a list that is written and empty.
    pub(super) fn refuse_empty(&self, key: &'static str) {
        let optional =
            if matches!(key, "images" | "members" | "reads" | "shell") { ", or leave it out" } else { "" };
        if let Some(value) = self.get(key)
            && value.get_ref().as_array().is_some_and(|list| list.is_empty())
        {
            let at = self.reader.at(&value.span());
            self.reader.push(
                Diagnostic::new("empty-list", at, format!("`{key}` is empty"))
                    .label("nothing in it")
                    .help(format!("write at least one value{optional}")),
            );
        }
    }

    /// A table of templates, in the order in which it is written.
    pub(super) fn template_map(
        &self,
        key: &'static str,
        check_name: Check,
    ) -> Vec<(Located<String>, Template)> {
        self.map(key, check_name)
            .filter_map(|(name, value)| Some((name, self.reader.template(value, super::values::anything)?)))
            .collect()
    }

    /// A table whose keys are the author's.
    pub(super) fn map(
        &self,
        key: &'static str,
        check_name: Check,
    ) -> impl Iterator<Item = (Located<String>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        let reader = self.reader;
        let table = self.get(key).and_then(|value| value.get_ref().as_table());
        table.into_iter().flatten().map(move |(name, value)| {
            let name = Located::new(name.get_ref().to_string(), reader.at(&name.span()));
            if let Err(fault) = check_name(&name.value) {
                reader.fault(name.at, fault);
            }
            (name, value)
        })
    }

    /// A condition.
    pub(super) fn condition(&self, key: &'static str) -> Option<Condition> {
        self.get(key).and_then(|value| self.reader.condition(value))
    }

    /// The elements of a list; none where it is no list.
    pub(super) fn list(
        &self,
        key: &'static str,
    ) -> Option<impl Iterator<Item = &'a Spanned<DeValue<'a>>> + use<'a>> {
        self.get(key).map(|value| value.get_ref().as_array().into_iter().flat_map(|list| list.iter()))
    }

    /// A table.
    pub(super) fn table(&self, key: &'static str, spec: &'static Table) -> Option<Fields<'a>> {
        self.get(key).and_then(|value| self.inner(value, spec))
    }

    /// The tables of a list.
    pub(super) fn tables(&self, key: &'static str, spec: &'static Table) -> Option<Vec<Fields<'a>>> {
        let list = self.list(key)?;
        Some(list.filter_map(|value| self.inner(value, spec)).collect())
    }

    /// A value as a table.
    pub(super) fn inner(&self, value: &'a Spanned<DeValue<'a>>, spec: &'static Table) -> Option<Fields<'a>> {
        let table = value.get_ref().as_table()?;
        Some(Fields::new(self.reader, table, spec, self.reader.at(&value.span())))
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
