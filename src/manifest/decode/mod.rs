//! One file of the manifest -> [`Document`]: everything that can be read without the other files.

mod axis;
mod command;
mod image;
mod layer;
mod settings;
mod tool;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::grammar::{self, Table};
use super::reader::{Check, Fields, Reader};
use super::{
    Axis, Check as ImageCheck, Diagnostic, Layer, Limits, Located, Location, Project, RegistrySettings,
    Template, Tool, values,
};

pub(super) use image::{INHERITED, RawImage};

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
    pub tools: Vec<Tool>,
    /// `[layers]`.
    pub layers: Vec<Layer>,
    /// `[images]`.
    pub images: Vec<RawImage>,
    /// `[checks]`.
    pub checks: Vec<ImageCheck>,
}

/// Reads a file whose shape has been checked.
pub(super) fn document(reader: &Reader<'_>, table: &DeTable<'_>) -> Document {
    let at = Location { file: reader.file(), start: 0, end: 0 };
    let fields = Fields::new(reader, table, &grammar::ROOT, at);
    let key_at = |key: &str| fields.key_at(key).unwrap_or(at);
    Document {
        imports: fields.get("import").and_then(|_| fields.key_at("import")),
        schema: schema(&fields),
        project: fields
            .table("project", &grammar::PROJECT)
            .map(|project| Located::new(settings::project(&project), key_at("project"))),
        cache: fields
            .table("cache", &grammar::CACHE)
            .map(|cache| Located::new(cache.needed("repository", values::repository), key_at("cache"))),
        vars: fields
            .map("vars", |name| values::identifier("a variable", name))
            .filter_map(|(name, value)| Some((name, reader.plain(value)?)))
            .collect(),
        registries: named(&fields, "registries", &grammar::REGISTRY, values::host)
            .map(|(name, table)| (name, settings::registry(&table)))
            .collect(),
        limits: fields
            .table("limits", &grammar::LIMITS)
            .map(|limits| Located::new(settings::limits(&limits), key_at("limits"))),
        axes: named(&fields, "axes", &grammar::AXIS, axis::name)
            .map(|(name, table)| axis::axis(name, &table))
            .collect(),
        tools: named(&fields, "tools", &grammar::TOOL, |name| values::name("a tool", name))
            .map(|(name, table)| tool::tool(name, &table))
            .collect(),
        layers: named(&fields, "layers", &grammar::LAYER, |name| values::name("a layer", name))
            .map(|(name, table)| layer::layer(name, &table))
            .collect(),
        images: named(&fields, "images", &grammar::IMAGE, |name| values::name("an image", name))
            .map(|(name, table)| image::image(name, &table))
            .collect(),
        checks: named(&fields, "checks", &grammar::CHECK, |name| values::name("a check", name))
            .map(|(name, table)| command::check(name, &table))
            .collect(),
    }
}

/// The globs of `import`, whatever else the document holds.
pub(super) fn imports(reader: &Reader<'_>, table: &DeTable<'_>) -> Vec<Located<String>> {
    let at = Location { file: reader.file(), start: 0, end: 0 };
    Fields::new(reader, table, &grammar::ROOT, at).texts("import").unwrap_or_default()
}

/// Whether the schema is written; another version than 1 is reported.
fn schema(fields: &Fields<'_>) -> bool {
    let Some(value) = fields.get("schema") else { return false };
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

/// The tables of a table of tables, each with its name.
fn named<'a>(
    fields: &Fields<'a>,
    key: &'static str,
    spec: &'static Table,
    check_name: Check,
) -> impl Iterator<Item = (Located<String>, Fields<'a>)> + use<'a> {
    let reader = fields.reader();
    fields.map(key, check_name).map(move |(name, value)| {
        let table = table_or_empty(value);
        let at = name.at;
        (name, Fields::new(reader, table, spec, at))
    })
}

/// A value that is no table has been reported; its name still counts as defined.
fn table_or_empty<'a>(value: &'a Spanned<DeValue<'a>>) -> &'a DeTable<'a> {
    static EMPTY: std::sync::LazyLock<DeTable<'static>> = std::sync::LazyLock::new(DeTable::new);
    value.get_ref().as_table().unwrap_or(&EMPTY)
}
