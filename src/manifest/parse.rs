//! Texts -> [`Manifest`]: reads every file, merges them, applies `extends`, checks what refers to what.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use super::decode::{self, Document, RawTool};
use super::reader::Reader;
use super::{
    Axis, Check, Diagnostic, Diagnostics, FileId, Layer, Limits, Located, Location, Manifest, Project,
    Sources, check, grammar, inherit, inherit_tools, shape,
};
use crate::oci::Platform;

/// Parses a manifest: the first source is the main file, the others are what it imports.
///
/// # Errors
/// All mistakes of all files, in the order of their places, with the sources for rendering them.
/// Where a file is no TOML, what the files say about each other is not checked.
pub fn parse(sources: Sources) -> Result<Manifest, (Sources, Diagnostics)> {
    let mut problems = Diagnostics::default();
    let mut documents = Vec::new();
    let mut is_toml = true;
    let mut secrets = Vec::new();
    for file in sources.ids() {
        let reader = Reader::new(file, sources.text(file));
        let (table, errors) = DeTable::parse_recoverable(reader.text());
        if errors.is_empty() {
            shape::check_document(&reader, table.get_ref(), &grammar::ROOT);
            documents.push((file, decode::document(&reader, table.get_ref())));
        } else {
            // What was recovered from a broken text would give misleading messages.
            is_toml = false;
            for error in errors {
                reader.push(toml_syntax(&reader, &error));
            }
        }
        secrets.extend(reader.secrets());
        problems.0.extend(reader.finish());
    }
    if !is_toml {
        problems.sort();
        return Err((sources, problems));
    }
    let mut sources = sources;
    secrets.into_iter().for_each(|at| sources.mask(at));
    let manifest = assemble(sources, documents, &mut problems);
    problems.sort();
    if problems.is_empty() { Ok(manifest) } else { Err((manifest.sources, problems)) }
}

/// The globs that a main file imports, in order, for the caller to expand and load.
///
/// Mistakes are passed over: [`parse`] reports them.
pub fn imports(text: &str) -> Vec<Located<String>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Vec::new();
    }
    decode::imports(&Reader::new(FileId(0), text), table.get_ref())
}

fn toml_syntax(reader: &Reader<'_>, error: &toml::de::Error) -> Diagnostic {
    let end = reader.text().len();
    let at = reader.at(&error.span().unwrap_or(end..end));
    let message = error.message();
    let help = if message.contains("duplicate key") {
        "a key or table may be written once: rename or merge the two"
    } else if message.contains("string") || message.contains("quote") {
        "texts stand in quotes: \"…\" on one line, '''…''' or \"\"\"…\"\"\" on several"
    } else if message.contains("unclosed") {
        "close it"
    } else if message.contains("comma") {
        "elements are separated by single commas"
    } else {
        "write `key = value`, `[table]` or `[[list of tables]]`; texts stand in quotes (https://toml.io)"
    };
    let problem = Diagnostic::new("toml-syntax", at, format!("malformed TOML: {message}")).help(help);
    match message.contains("duplicate key").then(|| first_written(reader, at)).flatten() {
        Some(first) => problem.label("again here").also(first, "first here"),
        None => problem,
    }
}

/// Where a key or table that is written again stood first, if that is an earlier line like it.
fn first_written(reader: &Reader<'_>, again: Location) -> Option<Location> {
    let text = reader.text();
    let key = text.get(again.range())?;
    let line_start = text[..again.range().start].rfind('\n').map_or(0, |n| n + 1);
    let line = text[line_start..].lines().next()?.trim();
    let is_header = line.starts_with('[');
    let mut end = line_start;
    for earlier in text[..line_start].split_inclusive('\n').rev() {
        end -= earlier.len();
        let offset = earlier.len() - earlier.trim_start().len();
        let found = if is_header {
            (earlier.trim() == line).then(|| earlier.find(key)).flatten()
        } else {
            let rest = earlier.trim_start().strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start().starts_with('=')).then_some(offset)
        };
        if let Some(found) = found {
            let start = end + found;
            return Some(reader.at(&(start..start + key.len())));
        }
        if !is_header && earlier.trim_start().starts_with('[') {
            return None;
        }
    }
    None
}

/// Merges documents in order, the main file first.
fn assemble(sources: Sources, documents: Vec<(FileId, Document)>, problems: &mut Diagnostics) -> Manifest {
    let mut merged = Document::default();
    for (position, (file, document)) in documents.into_iter().enumerate() {
        if position > 0
            && let Some(at) = document.imports
        {
            problems.push(
                Diagnostic::new("nested-import", at, "an imported file cannot import")
                    .help("name the file in `import` of the main file"),
            );
        }
        if position == 0 && !document.schema {
            problems.push(
                Diagnostic::new("missing-key", start(file), "`schema` is missing")
                    .label("`schema` is missing here")
                    .help("add `schema = 1` as the first line"),
            );
        }
        merge_one("project", &mut merged.project, document.project, problems);
        merge_one("cache", &mut merged.cache, document.cache, problems);
        merge_one("limits", &mut merged.limits, document.limits, problems);
        merge("variable", &mut merged.vars, document.vars, |v| &v.0, problems);
        merge("registry", &mut merged.registries, document.registries, |r| &r.0, problems);
        merge("axis", &mut merged.axes, document.axes, |a: &Axis| &a.name, problems);
        merge("tool", &mut merged.tools, document.tools, |t: &RawTool| &t.name, problems);
        merge("layer", &mut merged.layers, document.layers, |l: &Layer| &l.name, problems);
        merge("image", &mut merged.images, document.images, |i| &i.id, problems);
        merge("check", &mut merged.checks, document.checks, |c: &Check| &c.name, problems);
        merged.rules.extend(document.rules);
        merge("mirror", &mut merged.mirrors, document.mirrors, |m| &m.name, problems);
    }
    let project = merged.project.map(|project| project.value).unwrap_or_else(|| {
        let at = start(FileId(0));
        problems.push(
            Diagnostic::new("missing-key", at, "`project` is missing")
                .label("`[project]` is missing here")
                .help("add `[project]` with a `name`, e.g. `name = \"acme-images\"`"),
        );
        Project {
            name: Located::new(String::new(), at),
            repository: None,
            destinations: Vec::new(),
            platform: Platform::linux_amd64(),
        }
    });
    let mut unsure = BTreeSet::new();
    let images = inherit::images(&merged.images, &mut unsure, problems);
    let tools = inherit_tools::tools(merged.tools, problems);
    let manifest = Manifest {
        sources,
        project,
        cache: merged.cache.map(|cache| cache.value),
        vars: merged.vars.into_iter().map(|(name, value)| (name.value, value)).collect(),
        registries: merged.registries.into_iter().map(|(host, value)| (host.value, value)).collect(),
        limits: merged.limits.map_or_else(Limits::default, |limits| limits.value),
        axes: merged.axes,
        tools,
        layers: merged.layers,
        images,
        checks: merged.checks,
        rules: merged.rules,
        mirrors: merged.mirrors,
    };
    check::names(&manifest, &merged.images, problems);
    // With an undefined axis, which has been reported, the axes of an image are not known.
    let undefined = |name: &Located<String>| !manifest.axes.iter().any(|axis| axis.name.value == name.value);
    let vague = manifest.images.iter().filter(|image| image.axes.iter().any(undefined));
    unsure.extend(vague.map(|image| image.id.value.clone()));
    check::rows(&manifest, &unsure, problems);
    check::links(&manifest, &unsure, problems);
    manifest
}

fn start(file: FileId) -> Location {
    Location { file, start: 0, end: 0 }
}

fn merge_one<T>(
    what: &str,
    into: &mut Option<Located<T>>,
    from: Option<Located<T>>,
    problems: &mut Diagnostics,
) {
    match (&into, from) {
        (Some(first), Some(second)) => problems.push(
            Diagnostic::new("defined-twice", second.at, format!("`{what}` is defined in two files"))
                .label("again here")
                .also(first.at, "first defined here")
                .help(format!("keep one `[{what}]`, in the main file")),
        ),
        (None, from) => *into = from,
        (Some(_), None) => {}
    }
}

fn merge<T>(
    what: &str,
    into: &mut Vec<T>,
    from: Vec<T>,
    name: impl Fn(&T) -> &Located<String>,
    problems: &mut Diagnostics,
) {
    let known: BTreeMap<String, Location> =
        into.iter().map(|t| (name(t).value.clone(), name(t).at)).collect();
    for next in from {
        let Located { value, at } = name(&next);
        if let Some(first) = known.get(value) {
            problems.push(
                Diagnostic::new("defined-twice", *at, format!("{what} `{value}` is defined twice"))
                    .label("again here")
                    .also(*first, "first defined here")
                    .help("rename or remove one; what is imported is merged, never overridden"),
            );
        } else {
            into.push(next);
        }
    }
}
