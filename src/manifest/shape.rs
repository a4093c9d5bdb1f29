//! Checks a document against the [grammar](super::grammar): unknown keys, wrong types, missing keys.
//!
//! Every problem of every table is reported, and the decoders may then read what is well-typed and
//! pass over the rest in silence.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::grammar::{Kind, Table};
use super::nearest::{did_you_mean, nearest};
use super::reader::{Reader, integer, number};
use super::{Diagnostic, Location};

/// Checks the whole document.
pub(super) fn check_document(reader: &Reader<'_>, table: &DeTable<'_>, spec: &'static Table) {
    check_table(reader, table, Location { file: reader.file(), start: 0, end: 0 }, spec, "");
}

fn check_table(reader: &Reader<'_>, table: &DeTable<'_>, at: Location, spec: &'static Table, path: &str) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let inner = join(path, name);
        match (spec.key(name), spec.others) {
            (Some(known), _) => check_value(reader, value, known.kind, &inner, known.doc, name),
            (None, Some(kind)) => check_value(reader, value, kind, &inner, spec.doc, name),
            (None, None) => {
                if matches!(spec.name, "access" | "secret") && value.get_ref().is_str() {
                    reader.hide(reader.at(&value.span()));
                }
                let place = if path.is_empty() { "the manifest".to_owned() } else { format!("`{path}`") };
                let keys = spec.keys.iter().map(|key| key.name);
                let help = super::decode::dockerfile_help(spec.name, name).map(str::to_owned);
                reader.push(
                    Diagnostic::new(
                        "unknown-key",
                        reader.at(&key.span()),
                        format!("unknown key `{name}` in {place}"),
                    )
                    .label("not a key of this table")
                    .help(help.unwrap_or_else(|| did_you_mean(name, keys, "keys"))),
                );
            }
        }
    }
    for key in spec.keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
        if misspelt(table, spec, key.name) {
            continue;
        }
        let message = if path.is_empty() {
            format!("`{}` is missing", key.name)
        } else {
            format!("`{path}` has no `{}`", key.name)
        };
        reader.push(
            Diagnostic::new("missing-key", at, message)
                .label(format!("`{}` is missing here", key.name))
                .help(format!("add `{}`: {}", key.name, decapitalise(key.doc))),
        );
    }
}

fn check_value(
    reader: &Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    kind: &'static Kind,
    path: &str,
    doc: &str,
    key: &str,
) {
    let at = reader.at(&value.span());
    match (kind, value.get_ref()) {
        (Kind::Either(kinds), inner) => {
            if let Some(kind) = kinds.iter().find(|kind| has_type(kind, inner)) {
                return check_value(reader, value, kind, path, doc, key);
            }
            wrong_type(reader, value, kind, path, doc, key);
        }
        (kind, inner) if !has_type(kind, inner) => wrong_type(reader, value, kind, path, doc, key),
        (Kind::Integer(least), inner) => match integer(inner) {
            Some(n) if n >= *least => {}
            _ => out_of_range(
                reader,
                at,
                path,
                &match *least {
                    i64::MIN => "a whole number of 64 bits".to_owned(),
                    least => format!("a whole number, at least {least}"),
                },
            ),
        },
        (Kind::Positive, inner) if !number(inner).is_some_and(|n| n > 0.0 && n.is_finite()) => {
            out_of_range(reader, at, path, "a number above zero");
        }
        (Kind::Number, inner) if !number(inner).is_some_and(f64::is_finite) => {
            out_of_range(reader, at, path, "a finite number");
        }
        (Kind::Choice(choices), DeValue::String(text)) if !choices.contains(&text.as_ref()) => {
            reader.push(
                Diagnostic::new("unknown-choice", at, format!("`{path}` cannot be `{text}`"))
                    .help(did_you_mean(text, choices.iter().copied(), "choices")),
            );
        }
        (Kind::List(element), DeValue::Array(list)) => {
            for value in list.iter() {
                check_value(reader, value, element, path, doc, key);
            }
        }
        (Kind::Map(element), DeValue::Table(table)) => {
            for (name, value) in table {
                check_value(reader, value, element, &join(path, name.get_ref()), doc, name.get_ref());
            }
        }
        (Kind::Named(spec), DeValue::Table(table)) => {
            for (name, value) in table {
                let path = join(path, name.get_ref());
                match value.get_ref() {
                    DeValue::Table(inner) => check_table(reader, inner, reader.at(&name.span()), spec, &path),
                    _ => wrong_type(reader, value, &NAMED, &path, spec.doc, name.get_ref()),
                }
            }
        }
        (Kind::Table(spec), DeValue::Table(table)) => check_table(reader, table, at, spec, path),
        _ => {}
    }
}

/// Whether a key is missing because it is written wrongly; the unknown key has been reported.
pub(super) fn misspelt(table: &DeTable<'_>, spec: &'static Table, key: &str) -> bool {
    spec.others.is_none()
        && table.keys().any(|written| {
            let written: &str = written.get_ref();
            spec.key(written).is_none() && nearest(written, spec.keys.iter().map(|key| key.name)) == Some(key)
        })
}

static NAMED: Kind = Kind::Map(&Kind::Bool);

fn has_type(kind: &Kind, value: &DeValue<'_>) -> bool {
    match kind {
        Kind::Bool => value.is_bool(),
        Kind::Integer(_) => value.is_integer(),
        Kind::Positive | Kind::Number => value.is_integer() || value.is_float(),
        Kind::Text(..) | Kind::Choice(_) => value.is_str(),
        Kind::List(_) => value.is_array(),
        Kind::Map(_) | Kind::Named(_) | Kind::Table(_) => value.is_table(),
        Kind::Either(kinds) => kinds.iter().any(|kind| has_type(kind, value)),
    }
}

fn wrong_type(
    reader: &Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    kind: &Kind,
    path: &str,
    doc: &str,
    key: &str,
) {
    let at = reader.at(&value.span());
    if path == "project.platform" && value.get_ref().is_array() {
        reader.push(
            Diagnostic::new(
                "one-platform",
                at,
                "`project.platform` is a list, but one platform is built for now",
            )
            .label("a list of platforms")
            .help("write one, e.g. `platform = \"linux/amd64\"`, and a manifest for each platform"),
        );
        return;
    }
    if let (Kind::Table(Table { name: "access", .. }), DeValue::String(_)) = (kind, value.get_ref()) {
        reader.hide(at);
    }
    if let (Kind::Table(Table { name: "secret", .. }), DeValue::String(_)) = (kind, value.get_ref()) {
        reader.hide(at);
        reader.push(
            Diagnostic::new("literal-secret", at, format!("`{path}` stands in the manifest as it is"))
                .label("a secret that everybody can read")
                .help(format!(
                    "write `{key} = {{ env = \"NAME\" }}` or `{key} = {{ file = \"…\" }}`, and change the secret \
                     if this file was shared"
                )),
        );
        return;
    }
    let written = reader.text().get(at.range()).filter(|text| !text.contains(['\n', '"', '\'']));
    let scalar = !matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
    let help = match (kind, value.get_ref()) {
        (Kind::List(element), inner) if has_type(element, inner) => match written {
            Some(text) if text.starts_with('[') => {
                format!("write `[[{path}]]`: each begins a table of the list")
            }
            Some(text) => format!("write a list: `{key} = [{text}]`"),
            None => "write a list: put it in `[ ]`".to_owned(),
        },
        (Kind::Text(..) | Kind::Choice(_), _) if scalar => match written {
            Some(text) => format!("write it in quotes: `\"{text}\"`"),
            None => "write it in quotes".to_owned(),
        },
        (Kind::Bool, DeValue::String(text)) if matches!(text.as_ref(), "true" | "false") => {
            format!("write it without quotes: `{text}`")
        }
        (Kind::Integer(_) | Kind::Positive, DeValue::String(text)) if text.parse::<f64>().is_ok() => {
            format!("write it without quotes: `{text}`")
        }
        _ => format!("`{key}`: {}", decapitalise(doc)),
    };
    let found = found(value.get_ref());
    reader.push(
        Diagnostic::new("wrong-type", at, format!("`{path}` must be {}, not {found}", wanted(kind)))
            .label(format!("{found}, where {} is wanted", wanted(kind)))
            .help(help),
    );
}

fn out_of_range(reader: &Reader<'_>, at: Location, path: &str, wanted: &str) {
    reader.push(
        Diagnostic::new("out-of-range", at, format!("`{path}` is out of range"))
            .label("too small or too large")
            .help(format!("write {wanted}")),
    );
}

fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".into(),
        Kind::Integer(_) => "a whole number".into(),
        Kind::Positive | Kind::Number => "a number".into(),
        Kind::Text(..) | Kind::Choice(_) => "a text".into(),
        Kind::List(element) => match element {
            Kind::Text(..) | Kind::Choice(_) => "a list of texts".into(),
            Kind::List(_) => "a list of lists".into(),
            Kind::Map(_) | Kind::Table(_) => "a list of tables".into(),
            _ => "a list".into(),
        },
        Kind::Map(_) | Kind::Named(_) | Kind::Table(_) => "a table".into(),
        Kind::Either(kinds) => {
            let words: Vec<String> = kinds.iter().map(wanted).collect();
            match words.split_last() {
                Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
                _ => words.concat(),
            }
        }
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn join(path: &str, name: &str) -> String {
    let name = if super::values::is_name(name) && !name.contains('.') {
        name.to_owned()
    } else {
        format!("\"{}\"", name.escape_debug())
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

fn decapitalise(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    format!("{first}{}", chars.as_str()).trim_end_matches('.').to_owned()
}
