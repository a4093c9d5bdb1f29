//! `[axes.NAME]`: values and their attributes.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::manifest::reader::{Fields, Reader, integer, number};
use crate::manifest::values::{self, Fault};
use crate::manifest::{Attribute, Axis, AxisValue, Diagnostic, Located, grammar};

/// Names that templates have a meaning for.
const RESERVED: [&str; 9] =
    ["axes", "vars", "base", "version", "arch", "os", "platform", "timestamp", "item"];

/// Judges the name of an axis.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    if RESERVED.contains(&text) {
        return Err(Fault {
            code: "reserved-name",
            message: format!("`{text}` cannot be an axis: templates have another meaning for it"),
            help: format!("choose another name, e.g. `{text}_axis`; reserved are {}", RESERVED.join(", ")),
        });
    }
    values::identifier("an axis", text)
}

pub(super) fn axis(name: Located<String>, fields: &Fields<'_>) -> Axis {
    let reader = fields.reader();
    if let Some(value) = fields.get("values")
        && value.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        let at = reader.at(&value.span());
        reader.push(
            Diagnostic::new("empty-axis", at, format!("axis `{}` has no values", name.value))
                .label("nothing in it")
                .help("add a value: without one no image that varies on this axis has a cell"),
        );
    }
    let values: Vec<AxisValue> =
        fields.list("values").into_iter().flatten().filter_map(|value| axis_value(fields, value)).collect();
    let mut seen: BTreeMap<&str, &Located<String>> = BTreeMap::new();
    for value in &values {
        if let Some(first) = seen.get(value.name.value.as_str()) {
            let message = format!("axis `{}` has the value `{}` twice", name.value, value.name.value);
            reader.push(
                Diagnostic::new("duplicate-value", value.name.at, message)
                    .label("again here")
                    .also(first.at, "first here")
                    .help("remove one, or give them different names"),
            );
        } else {
            seen.insert(&value.name.value, &value.name);
        }
    }
    let discovery = super::discovery::of_axis(fields, &name.value);
    Axis { name, values, discovery }
}

fn axis_value<'a>(axis: &Fields<'a>, value: &'a Spanned<DeValue<'a>>) -> Option<AxisValue> {
    let reader = axis.reader();
    let Some(fields) = axis.inner(value, &grammar::AXIS_VALUE) else {
        let name = reader.plain(value)?;
        check_value_name(reader, &name);
        return Some(AxisValue { name, attributes: BTreeMap::new() });
    };
    let name = fields.plain("name");
    if let Some(name) = &name {
        check_value_name(reader, name);
    }
    let attributes = fields
        .others()
        .filter_map(|(key, value)| {
            if let Err(fault) = values::identifier("an attribute", &key.value) {
                reader.fault(key.at, fault);
            }
            Some((key.value, attribute(reader, value)?))
        })
        .collect();
    Some(AxisValue { name: name?, attributes })
}

fn check_value_name(reader: &Reader<'_>, name: &Located<String>) {
    let blank = name.value.is_empty() || name.value.trim() != name.value;
    if blank || name.value.chars().any(char::is_control) {
        reader.push(
            Diagnostic::new(
                "malformed-name",
                name.at,
                format!("`{}` is not a name for a value", name.value.escape_debug()),
            )
            .help("write a text that is not empty, without space at its ends and without control characters"),
        );
    }
}

fn attribute(reader: &Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Attribute> {
    match value.get_ref() {
        DeValue::String(_) => reader.template(value, values::anything).map(Attribute::Text),
        DeValue::Integer(_) => integer(value.get_ref()).map(Attribute::Integer),
        DeValue::Float(_) => number(value.get_ref()).map(Attribute::Float),
        DeValue::Boolean(value) => Some(Attribute::Bool(*value)),
        DeValue::Array(list) => {
            Some(Attribute::List(list.iter().filter_map(|value| attribute(reader, value)).collect()))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
