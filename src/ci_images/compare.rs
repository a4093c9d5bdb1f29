//! The account against the defaults, and what would be sent to change it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::envelope::Config;
use crate::mirror::Support;

/// How a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldState {
    /// The account uses the default.
    Default,
    /// It is set, to what is the default too.
    Same,
    /// It is set to something else.
    Differs,
    /// It is set, and the defaults have no such field.
    NoDefault,
}

/// A field of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldRow {
    /// Its name.
    pub field: String,
    /// How it stands.
    pub state: FieldState,
    /// What pipelines use, whatever it is: an image as a rule.
    pub current: Value,
    /// The default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether the field is among those that railyard's facts list.
    pub listed: bool,
    /// Whether the mirror has the image in use; none where there is no mirror or no image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<bool>,
    /// Whether the mirror has the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mirrored: Option<bool>,
    /// How the version in use stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support: Option<Support>,
}

/// A field and the image that it is to have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// The field.
    pub field: String,
    /// The image.
    pub value: String,
}

/// Every field of either, by name.
pub fn compare(defaults: &Config, overrides: &Config, listed: impl Fn(&str) -> bool) -> Vec<FieldRow> {
    let names: BTreeSet<&String> = defaults.fields.keys().chain(overrides.fields.keys()).collect();
    let rows = names.into_iter().map(|field| {
        let default = defaults.fields.get(field);
        // A null is no setting.
        let set = overrides.fields.get(field).filter(|value| !value.is_null());
        let state = match (set, default) {
            (None, _) => FieldState::Default,
            (Some(set), Some(default)) if set == default => FieldState::Same,
            (Some(_), Some(_)) => FieldState::Differs,
            (Some(_), None) => FieldState::NoDefault,
        };
        FieldRow {
            field: field.clone(),
            state,
            current: set.or(default).cloned().unwrap_or_default(),
            default: default.cloned(),
            listed: listed(field),
            mirrored: None,
            default_mirrored: None,
            support: None,
        }
    });
    rows.collect()
}

/// Those of the wanted changes that change something, by name of field.
pub fn updates(wanted: &[Change], overrides: &Config) -> Vec<Change> {
    let mut changes: Vec<Change> = wanted
        .iter()
        .filter(|change| overrides.image(&change.field) != Some(change.value.as_str()))
        .cloned()
        .collect();
    changes.sort();
    changes.dedup();
    changes
}

/// The fields to set back: of those named, or of all, those that are set.
pub fn resets(named: &[String], overrides: &Config) -> Vec<String> {
    let set = overrides.fields.iter().filter(|(_, value)| !value.is_null()).map(|(field, _)| field);
    set.filter(|field| named.is_empty() || named.contains(field)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> Config {
        Config { fields: value.as_object().unwrap().clone().into_iter().collect() }
    }

    #[test]
    fn every_field_of_either_has_a_row() {
        let defaults =
            config(serde_json::json!({"a": "x/a:2", "b": "x/b:1", "c": "x/c:1", "new": {"deep": 1}}));
        let overrides = config(serde_json::json!({"a": "x/a:1", "b": "x/b:1", "own": "x/o:1", "c": null}));
        let rows = compare(&defaults, &overrides, |field| field == "a");
        let states: Vec<_> = rows.iter().map(|row| (row.field.as_str(), row.state)).collect();
        use FieldState::*;
        assert_eq!(
            states,
            [("a", Differs), ("b", Same), ("c", Default), ("new", Default), ("own", NoDefault)]
        );
        assert_eq!((rows[0].listed, rows[4].listed), (true, false));
        assert_eq!(rows[3].current, serde_json::json!({"deep": 1}));
    }

    #[test]
    fn only_what_changes_something_is_sent() {
        let overrides = config(serde_json::json!({"a": "x/a:1", "b": "x/b:1", "n": null}));
        let change = |field: &str, value: &str| Change { field: field.into(), value: value.into() };
        let wanted = [change("c", "x/c:1"), change("a", "x/a:2"), change("b", "x/b:1")];
        assert_eq!(updates(&wanted, &overrides), [change("a", "x/a:2"), change("c", "x/c:1")]);
        assert_eq!(resets(&[], &overrides), ["a", "b"]);
        assert_eq!(resets(&["b".into(), "zzz".into()], &overrides), ["b"]);
    }
}
