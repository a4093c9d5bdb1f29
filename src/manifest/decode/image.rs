//! `[images.NAME]` as it is written, before `extends`.

use std::time::Duration;

use super::command::{command, source};
use super::dockerfile::{FOREIGN, dockerfile};
use super::registry::{existing_tags, version_tags};
use crate::manifest::reader::{Fields, Reader};
use crate::manifest::{
    Command, Condition, DockerfileBuild, ImageSource, Located, Location, PathEntry, Row, TagRule, Template,
    VersionTag, grammar, values,
};

/// Stands in a list for the list of the image that is extended.
pub(in crate::manifest) const INHERITED: &str = "...";

/// An image as it is written; `None` is "not written".
#[derive(Debug, Clone)]
pub(in crate::manifest) struct RawImage {
    pub id: Located<String>,
    pub extends: Option<Located<String>>,
    pub axes: Option<Vec<Located<String>>>,
    pub name: Option<Template>,
    pub tags: Option<Vec<Template>>,
    pub version_tags: Option<Vec<VersionTag>>,
    pub destinations: Option<Vec<Template>>,
    pub existing_tags: Option<TagRule>,
    pub base: Option<(ImageSource, Location)>,
    pub dockerfile: Option<DockerfileBuild>,
    /// Keys that do not go with `dockerfile`, where they are written.
    pub foreign: Vec<(&'static str, Location)>,
    pub setup: Option<Vec<Command>>,
    pub layers: Option<Vec<Located<String>>>,
    pub env: Vec<(String, Template)>,
    pub path: Vec<PathEntry>,
    pub user: Option<Template>,
    pub workdir: Option<Template>,
    pub entrypoint: Option<Vec<Template>>,
    pub cmd: Option<Vec<Template>>,
    pub labels: Vec<(String, Template)>,
    pub include: Option<Vec<Row>>,
    pub exclude: Option<Vec<Row>>,
    pub zip: Option<Vec<Vec<Located<String>>>>,
    pub when: Option<Condition>,
    pub checks: Option<Vec<Located<String>>>,
    pub max_age: Option<Duration>,
    pub push: Option<bool>,
    pub outputs: Vec<(String, Template)>,
    /// What other checks rely on could not be read, which has been reported.
    pub broken: bool,
}

pub(super) fn image(id: Located<String>, fields: &Fields<'_>) -> RawImage {
    let base = fields
        .get("base")
        .and_then(|value| Some((source(fields, value, true)?, fields.reader().at(&value.span()))));
    let is_list = |key| fields.get(key).is_none_or(|value| value.get_ref().is_array());
    let made = fields.table("dockerfile", &grammar::DOCKERFILE);
    let written = |key: &&'static str| Some((*key, fields.get(key).and_then(|_| fields.key_at(key))?));
    let misspelt = |key| fields.get(key).is_none() && !fields.lacks(key);
    let broken = fields.reader().is_muted()
        || !(is_list("axes") && is_list("tags") && is_list("version_tags"))
        || (fields.get("base").is_some() && base.is_none())
        || (fields.get("extends").is_some() && fields.located("extends").is_none())
        || (fields.get("dockerfile").is_some() && made.is_none())
        || ["axes", "tags", "version_tags", "base", "dockerfile", "extends"].into_iter().any(misspelt);
    let setup = fields.tables("setup", &grammar::SETUP);
    RawImage {
        id,
        extends: fields.located("extends"),
        axes: fields.texts("axes"),
        name: fields.template("name", values::repository_name),
        tags: fields.templates("tags", values::tag),
        version_tags: version_tags(fields),
        destinations: fields.some_templates("destinations", values::destination),
        existing_tags: existing_tags(fields),
        base,
        dockerfile: made.as_ref().map(dockerfile),
        foreign: FOREIGN.iter().filter_map(written).collect(),
        setup: setup.map(|steps| steps.iter().map(|step| command(step, &grammar::SETUP)).collect()),
        layers: fields.texts("layers"),
        env: template_map(fields, "env"),
        path: path(fields),
        user: fields.template("user", values::anything),
        workdir: fields.template("workdir", values::path),
        entrypoint: fields.templates("entrypoint", values::anything),
        cmd: fields.templates("cmd", values::anything),
        labels: template_map(fields, "labels"),
        include: rows(fields, "include"),
        exclude: rows(fields, "exclude"),
        zip: zip(fields),
        when: fields.condition("when"),
        checks: fields.texts("checks"),
        max_age: fields.value("max_age", values::duration).map(|age| age.value),
        push: fields.bool("push"),
        outputs: template_map(fields, "outputs"),
        broken,
    }
}

fn template_map(fields: &Fields<'_>, key: &'static str) -> Vec<(String, Template)> {
    let check = match key {
        "env" => values::variable,
        "outputs" => values::output,
        _ => values::label,
    };
    fields.template_map(key, check).into_iter().map(|(name, value)| (name.value, value)).collect()
}

fn path(fields: &Fields<'_>) -> Vec<PathEntry> {
    let Some(list) = fields.list("path") else { return Vec::new() };
    list.filter_map(|value| match fields.inner(value, &grammar::PATH_ENTRY) {
        Some(table) => {
            let (each, path) = (table.condition("each"), table.template("path", values::path));
            Some(PathEntry { each, path: path? })
        }
        None => Some(PathEntry { each: None, path: fields.reader().template(value, values::path)? }),
    })
    .collect()
}

fn rows(fields: &Fields<'_>, key: &'static str) -> Option<Vec<Row>> {
    let reader: &Reader<'_> = fields.reader();
    let list = fields.list(key)?;
    let row = |value: &toml::Spanned<toml::de::DeValue<'_>>| {
        let at = reader.at(&value.span());
        let table = value.get_ref().as_table()?;
        let values = table
            .iter()
            .filter_map(|(axis, value)| Some((axis.get_ref().to_string(), reader.plain(value)?)))
            .collect();
        Some(Row { at, values })
    };
    Some(list.filter_map(row).collect())
}

fn zip(fields: &Fields<'_>) -> Option<Vec<Vec<Located<String>>>> {
    let list = fields.list("zip")?;
    let group = |value: &toml::Spanned<toml::de::DeValue<'_>>| {
        let names = value.get_ref().as_array()?.iter();
        Some(names.filter_map(|name| fields.reader().located(name)).collect())
    };
    Some(list.filter_map(group).collect())
}
