//! The JSON Schema for editors accepts what the parser accepts.

use railyard::manifest;
use serde_json::Value;

/// The part of JSON Schema that the manifest's uses, without patterns.
fn valid(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{why}: {value}"));
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap();
        return valid(root, root.pointer(pointer).unwrap(), value);
    }
    for inner in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        valid(root, inner, value)?;
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array)
        && !any.iter().any(|inner| valid(root, inner, value).is_ok())
    {
        return fail("none of several");
    }
    let fits = match schema.get("type").and_then(Value::as_str) {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !fits {
        return fail("wrong type");
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        return fail("no choice");
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        list.iter().try_for_each(|item| valid(root, items, item))?;
    }
    if let Some(table) = value.as_object() {
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !table.contains_key(key.as_str().unwrap()) {
                return fail(&format!("{key} is missing"));
            }
        }
        for (key, inner) in table {
            match schema.get("properties").and_then(|p| p.get(key)).or(schema.get("additionalProperties")) {
                Some(Value::Bool(false)) => return fail(&format!("unknown `{key}`")),
                Some(schema) => valid(root, schema, inner)?,
                None => {}
            }
        }
    }
    Ok(())
}

fn check(path: &str) -> Result<(), String> {
    let path = format!("{}/tests/{path}", env!("CARGO_MANIFEST_DIR"));
    let value: Value = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let schema = manifest::json_schema();
    valid(&schema, &schema, &value)
}

#[test]
fn good_manifests_are_valid() {
    check("good/serverless.toml").unwrap();
    check("good/shared.toml").unwrap();
}

#[test]
fn mistakes_of_shape_are_invalid() {
    for name in [
        "unknown-top-key",
        "unknown-key-nearest",
        "wrong-type-text-for-list",
        "wrong-type-number-for-text",
        "network-unknown",
        "platform-list",
        "copy-paths-missing",
        "zip-flat",
    ] {
        assert!(check(&format!("bad/{name}.toml")).is_err(), "{name}");
    }
}

#[test]
fn every_key_is_explained() {
    let schema = manifest::json_schema();
    let tables = schema["definitions"].as_object().unwrap().values().chain([&schema]);
    for (name, key) in tables.flat_map(|table| table["properties"].as_object().unwrap()) {
        assert!(key["description"].as_str().is_some_and(|text| text.len() > 5), "{name}");
    }
}
