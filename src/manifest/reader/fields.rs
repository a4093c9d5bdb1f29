//! A table read by the keys of its grammar.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Check, Reader, integer, number};
use crate::manifest::grammar::Table;
use crate::manifest::shape::misspelt;
use crate::manifest::values::{Fault, anything};
use crate::manifest::{Condition, Diagnostic, Located, Location, Template};

/// A table that is read by the keys of its grammar.
pub(in crate::manifest) struct Fields<'a> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'a>,
    spec: &'static Table,
    at: Location,
}

impl<'a> Fields<'a> {
    /// A table of a document.
    pub(in crate::manifest) fn new(
        reader: &'a Reader<'a>,
        table: &'a DeTable<'a>,
        spec: &'static Table,
        at: Location,
    ) -> Self {
        Self { reader, table, spec, at }
    }

    /// Where the table stands.
    pub(in crate::manifest) fn at(&self) -> Location {
        self.at
    }

    /// The file's reader.
    pub(in crate::manifest) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// The value of a key of the grammar.
    pub(in crate::manifest) fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.spec.key(key).is_some(), "`{key}` is no key of `{}`", self.spec.name);
        #[cfg(test)]
        super::asked::record(self.spec.name, key);
        self.table.get(key)
    }

    /// Where a key stands, if it is written.
    pub(in crate::manifest) fn key_at(&self, key: &str) -> Option<Location> {
        self.table.get_key_value(key).map(|(key, _)| self.reader.at(&key.span()))
    }

    /// Whether a key is absent without having been reported as misspelt.
    pub(in crate::manifest) fn lacks(&self, key: &'static str) -> bool {
        self.get(key).is_none() && !misspelt(self.table, self.spec, key)
    }

    /// The keys that are not in the grammar, with their values.
    pub(in crate::manifest) fn others(
        &self,
    ) -> impl Iterator<Item = (Located<String>, &'a Spanned<DeValue<'a>>)> + '_ {
        self.table
            .iter()
            .filter(|(key, _)| self.spec.key(key.get_ref()).is_none())
            .map(|(key, value)| (Located::new(key.get_ref().to_string(), self.reader.at(&key.span())), value))
    }

    /// A text with its place.
    pub(in crate::manifest) fn located(&self, key: &'static str) -> Option<Located<String>> {
        self.get(key).and_then(|value| self.reader.located(value))
    }

    /// A text that is taken as it stands.
    pub(in crate::manifest) fn plain(&self, key: &'static str) -> Option<Located<String>> {
        self.get(key).and_then(|value| self.reader.plain(value))
    }

    /// Texts with their places.
    pub(in crate::manifest) fn texts(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        let list = self.list(key)?;
        Some(list.filter_map(|value| self.reader.located(value)).collect())
    }

    /// True or false.
    pub(in crate::manifest) fn bool(&self, key: &'static str) -> Option<bool> {
        self.get(key).and_then(|value| value.get_ref().as_bool())
    }

    /// A whole number that fits.
    pub(in crate::manifest) fn integer(&self, key: &'static str) -> Option<i64> {
        self.get(key).and_then(|value| integer(value.get_ref()))
    }

    /// A count.
    pub(in crate::manifest) fn count(&self, key: &'static str) -> Option<usize> {
        self.integer(key).and_then(|n| usize::try_from(n).ok())
    }

    /// A number.
    pub(in crate::manifest) fn number(&self, key: &'static str) -> Option<f64> {
        self.get(key).and_then(|value| number(value.get_ref()))
    }

    /// A text that stands for a value.
    pub(in crate::manifest) fn value<T>(
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
    pub(in crate::manifest) fn template(&self, key: &'static str, check: Check) -> Option<Template> {
        self.get(key).and_then(|value| self.reader.template(value, check))
    }

    /// A template that must be there; its absence has been reported.
    pub(in crate::manifest) fn needed(&self, key: &'static str, check: Check) -> Template {
        self.template(key, check).unwrap_or_else(|| Template { text: String::new(), at: self.at })
    }

    /// A list of templates.
    pub(in crate::manifest) fn templates(&self, key: &'static str, check: Check) -> Option<Vec<Template>> {
        let list = self.list(key)?;
        Some(list.filter_map(|value| self.reader.template(value, check)).collect())
    }

    /// A list of templates that must not be empty where it is written.
    pub(in crate::manifest) fn some_templates(
        &self,
        key: &'static str,
        check: Check,
    ) -> Option<Vec<Template>> {
        let templates = self.templates(key, check)?;
        self.refuse_empty(key);
        Some(templates)
    }

    /// Reports a list that is written and empty.
    pub(in crate::manifest) fn refuse_empty(&self, key: &'static str) {
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
    pub(in crate::manifest) fn template_map(
        &self,
        key: &'static str,
        check_name: Check,
    ) -> Vec<(Located<String>, Template)> {
        self.map(key, check_name)
            .filter_map(|(name, value)| Some((name, self.reader.template(value, anything)?)))
            .collect()
    }

    /// A table whose keys are the author's.
    pub(in crate::manifest) fn map(
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
    pub(in crate::manifest) fn condition(&self, key: &'static str) -> Option<Condition> {
        self.get(key).and_then(|value| self.reader.condition(value))
    }

    /// The elements of a list; none where it is no list.
    pub(in crate::manifest) fn list(
        &self,
        key: &'static str,
    ) -> Option<impl Iterator<Item = &'a Spanned<DeValue<'a>>> + use<'a>> {
        self.get(key).map(|value| value.get_ref().as_array().into_iter().flat_map(|list| list.iter()))
    }

    /// A table.
    pub(in crate::manifest) fn table(&self, key: &'static str, spec: &'static Table) -> Option<Fields<'a>> {
        self.get(key).and_then(|value| self.inner(value, spec))
    }

    /// The tables of a list.
    pub(in crate::manifest) fn tables(
        &self,
        key: &'static str,
        spec: &'static Table,
    ) -> Option<Vec<Fields<'a>>> {
        let list = self.list(key)?;
        Some(list.filter_map(|value| self.inner(value, spec)).collect())
    }

    /// A value as a table.
    pub(in crate::manifest) fn inner(
        &self,
        value: &'a Spanned<DeValue<'a>>,
        spec: &'static Table,
    ) -> Option<Fields<'a>> {
        let table = value.get_ref().as_table()?;
        Some(Fields::new(self.reader, table, spec, self.reader.at(&value.span())))
    }
}
