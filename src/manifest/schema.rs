//! The [grammar](super::grammar) as a JSON Schema, for completion and checks in editors.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::grammar::{Kind, ROOT, Table};

/// A JSON Schema (draft 7, which editors know best) of a manifest file.
///
/// It is as strict as a schema can be without resolving names; [`super::parse`] is the judge.
pub fn json_schema() -> Value {
    let mut tables = BTreeMap::new();
    collect(&ROOT, &mut tables);
    let mut schema = of_table(&ROOT);
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".into(), json!("railyard manifest"));
    let definitions: Map<String, Value> = tables
        .values()
        .filter(|table| table.name != ROOT.name)
        .map(|table| (table.name.to_owned(), Value::Object(of_table(table))))
        .collect();
    schema.insert("definitions".into(), Value::Object(definitions));
    Value::Object(schema)
}

fn of_table(table: &Table) -> Map<String, Value> {
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| {
            let mut schema = of_kind(key.kind);
            let form = schema.remove("description");
            let doc = match form.as_ref().and_then(Value::as_str) {
                Some(form) => format!("{} ({form})", key.doc),
                None => key.doc.to_owned(),
            };
            // Draft 7 ignores what stands beside a `$ref`.
            if let Some(reference) = schema.remove("$ref") {
                schema.insert("allOf".into(), json!([{ "$ref": reference }]));
            }
            schema.insert("description".into(), json!(doc));
            (key.name.to_owned(), Value::Object(schema))
        })
        .collect();
    let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = object(json!({
        "type": "object",
        "description": table.doc,
        "properties": properties,
        "additionalProperties": table.others.map_or(Value::Bool(false), |kind| Value::Object(of_kind(kind))),
    }));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema
}

fn of_kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer(i64::MIN) => json!({ "type": "integer" }),
        Kind::Integer(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Positive => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Text(form, pattern) => {
            let mut schema = json!({ "type": "string" });
            if !form.is_empty() {
                schema["description"] = json!(form);
            }
            if let Some(pattern) = pattern {
                schema["pattern"] = json!(pattern);
            }
            schema
        }
        Kind::Choice(choices) => json!({ "type": "string", "enum": choices }),
        Kind::List(element) if is_recursive(element) => json!({ "type": "array" }),
        Kind::List(element) => json!({ "type": "array", "items": of_kind(element) }),
        Kind::Map(element) => json!({ "type": "object", "additionalProperties": of_kind(element) }),
        Kind::Named(table) => json!({ "type": "object", "additionalProperties": reference(table) }),
        Kind::Table(table) => reference(table),
        Kind::Either(kinds) => {
            json!({ "anyOf": kinds.iter().map(|kind| Value::Object(of_kind(kind))).collect::<Vec<_>>() })
        }
    };
    object(schema)
}

/// Whether a kind holds lists of itself, as attributes of axis values do.
fn is_recursive(kind: &Kind) -> bool {
    let Kind::Either(kinds) = kind else { return false };
    kinds.iter().any(|inner| matches!(inner, Kind::List(element) if std::ptr::eq(*element, kind)))
}

fn reference(table: &Table) -> Value {
    json!({ "$ref": format!("#/definitions/{}", table.name) })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn collect(table: &'static Table, into: &mut BTreeMap<&'static str, &'static Table>) {
    if into.insert(table.name, table).is_none() {
        let kinds = table.keys.iter().map(|key| key.kind).chain(table.others);
        kinds.for_each(|kind| collect_kind(kind, into));
    }
}

fn collect_kind(kind: &'static Kind, into: &mut BTreeMap<&'static str, &'static Table>) {
    match kind {
        Kind::Table(table) | Kind::Named(table) => collect(table, into),
        Kind::List(element) | Kind::Map(element) if !is_recursive(element) => collect_kind(element, into),
        Kind::Either(kinds) if !is_recursive(kind) => kinds.iter().for_each(|kind| collect_kind(kind, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::reader::asked;
    use crate::manifest::{Sources, parse};

    #[test]
    fn every_key_of_the_grammar_is_read() {
        let mut sources = Sources::default();
        sources.add("serverless.toml", include_str!("../../tests/good/serverless.toml"));
        sources.add("shared.toml", include_str!("../../tests/good/shared.toml"));
        assert!(parse(sources).is_ok());
        let mut tables = BTreeMap::new();
        collect(&ROOT, &mut tables);
        for table in tables.values() {
            for key in table.keys {
                assert!(
                    asked::contains(table.name, key.name),
                    "`{}` of `{}` is never read",
                    key.name,
                    table.name
                );
            }
        }
    }

    #[test]
    fn names_of_tables_are_those_of_definitions() {
        let schema = json_schema();
        let text = schema.to_string();
        let definitions = schema["definitions"].as_object().unwrap();
        assert!(definitions.len() > 15);
        for part in text.split("#/definitions/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(definitions.contains_key(name), "{name}");
        }
    }
}
