//! One file of the manifest -> [`Document`]: everything that can be read without the other files.

mod axis;
mod command;
mod contents;
mod discovery;
mod dockerfile;
mod image;
mod layer;
mod mirror;
mod registry;
mod rule;
mod settings;
mod tool;

use std::sync::LazyLock;

use toml::de::DeTable;

use super::grammar::{self, Table};
use super::reader::{Check, Fields, Reader};
use super::{
    Axis, Check as ImageCheck, Diagnostic, Layer, Limits, Located, Location, Mirror, Project,
    RegistrySettings, Rule, Template, values,
};

pub(super) use dockerfile::help as dockerfile_help;
pub(super) use image::{INHERITED, RawImage};
pub(super) use tool::{RawTool, told_format, unknown_format};

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// `import`, with the key's place.
    pub imports: Option<Location>,
    /// Whether `schema` is written.
    pub schema: bool,
    /// `[project]`.
    pub project: Option<Located<Project>>,
    /// `[cache]`.
    pub cache: Option<Located<Template>>,
    /// `[vars]`.
    pub vars: Vec<(Located<String>, Located<String>)>,
    /// `[registries]`.
    pub registries: Vec<(Located<String>, RegistrySettings)>,
    /// `[limits]`.
    pub limits: Option<Located<Limits>>,
    /// `[axes]`.
    pub axes: Vec<Axis>,
    /// `[tools]`.
    pub tools: Vec<RawTool>,
    /// `[layers]`.
    pub layers: Vec<Layer>,
    /// `[images]`.
    pub images: Vec<RawImage>,
    /// `[checks]`.
    pub checks: Vec<ImageCheck>,
    /// `[[rules]]`.
    pub rules: Vec<Rule>,
    /// `[mirrors]`.
    pub mirrors: Vec<Mirror>,
}

/// Reads a file whose shape has been checked.
pub(super) fn document(reader: &Reader<'_>, table: &DeTable<'_>) -> Document {
    let at = Location { file: reader.file(), start: 0, end: 0 };
    let fields = Fields::new(reader, table, &grammar::ROOT, at);
    Document {
        imports: fields.get("import").and_then(|_| fields.key_at("import")),
        schema: schema(&fields),
        project: section(&fields, "project", &grammar::PROJECT, settings::project),
        cache: section(&fields, "cache", &grammar::CACHE, |cache| {
            cache.needed("repository", values::repository)
        }),
        vars: fields
            .map("vars", |name| values::identifier("a variable", name))
            .filter_map(|(name, value)| Some((name, reader.plain(value)?)))
            .collect(),
        registries: named(&fields, "registries", &grammar::REGISTRY, values::registry, |name, table| {
            let settings = registry::registry(&name, table);
            (name, settings)
        }),
        limits: section(&fields, "limits", &grammar::LIMITS, settings::limits),
        axes: named(&fields, "axes", &grammar::AXIS, axis::name, axis::axis),
        tools: named(&fields, "tools", &grammar::TOOL, |name| values::name("a tool", name), tool::tool),
        layers: named(&fields, "layers", &grammar::LAYER, |name| values::name("a layer", name), layer::layer),
        images: named(
            &fields,
            "images",
            &grammar::IMAGE,
            |name| values::name("an image", name),
            image::image,
        ),
        checks: named(&fields, "checks", &grammar::CHECK, command::name, command::check),
        rules: fields.tables("rules", &grammar::RULE).iter().flatten().filter_map(rule::rule).collect(),
        mirrors: named(
            &fields,
            "mirrors",
            &grammar::MIRROR,
            |name| values::name("a mirror", name),
            mirror::mirror,
        ),
    }
}

static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);

/// A table that a file may have once, at its key. What is no table, or misspelt, counts as written.
fn section<'a, T>(
    fields: &Fields<'a>,
    key: &'static str,
    spec: &'static Table,
    decode: impl Fn(&Fields<'a>) -> T,
) -> Option<Located<T>> {
    if fields.lacks(key) {
        return None;
    }
    let at = fields.key_at(key).unwrap_or(fields.at());
    let value = match fields.table(key, spec) {
        Some(table) => decode(&table),
        None => fields.reader().muted(|| decode(&Fields::new(fields.reader(), &EMPTY, spec, at))),
    };
    Some(Located::new(value, at))
}

/// The globs of `import`, whatever else the document holds.
pub(super) fn imports(reader: &Reader<'_>, table: &DeTable<'_>) -> Vec<Located<String>> {
    let at = Location { file: reader.file(), start: 0, end: 0 };
    Fields::new(reader, table, &grammar::ROOT, at).texts("import").unwrap_or_default()
}

/// Whether the schema is written; another version than 1 is reported.
fn schema(fields: &Fields<'_>) -> bool {
    let Some(value) = fields.get("schema") else { return !fields.lacks("schema") };
    let at = fields.reader().at(&value.span());
    if let Some(other) = fields.integer("schema").filter(|n| *n != 1) {
        fields.reader().push(
            Diagnostic::new("unsupported-schema", at, format!("schema {other} is not known to this version"))
                .label("not 1")
                .help("write `schema = 1`, or use a version of railyard that knows this schema"),
        );
    }
    true
}

/// The tables of a table of tables. What is no table has been reported, and counts as defined.
fn named<'a, T>(
    fields: &Fields<'a>,
    key: &'static str,
    spec: &'static Table,
    check_name: Check,
    decode: impl Fn(Located<String>, &Fields<'a>) -> T,
) -> Vec<T> {
    let reader = fields.reader();
    fields
        .map(key, check_name)
        .map(|(name, value)| {
            let at = name.at;
            match value.get_ref().as_table() {
                Some(table) => decode(name, &Fields::new(reader, table, spec, at)),
                None => reader.muted(|| decode(name, &Fields::new(reader, &EMPTY, spec, at))),
            }
        })
        .collect()
}
