//! `[layers.NAME]` and the parts of layers.

use super::command::{refuse_scratch, run};
use super::tool::download;
use crate::manifest::reader::Fields;
use crate::manifest::{
    Condition, Copy, Diagnostic, DirEntry, FileEntry, ImageSource, Layer, LayerContent, Located, Location,
    Part, Template, ToolUse, grammar, values,
};

const PARTS: [&str; 5] = ["copy", "tools", "downloads", "files", "dirs"];

pub(super) fn layer(name: Located<String>, fields: &Fields<'_>) -> Layer {
    let reader = fields.reader();
    let mut parts = Vec::new();
    parts.extend(each(fields, "copy", &grammar::COPY, |t| Part::Copy(copy(t))));
    parts.extend(tools(fields).into_iter().map(Part::Tool));
    parts.extend(each(fields, "downloads", &grammar::DOWNLOAD, |t| Part::Download(download(t))));
    parts.extend(each(fields, "files", &grammar::FILE, |t| Part::File(file(t))));
    parts.extend(each(fields, "dirs", &grammar::DIR, |t| Part::Dir(dir(t))));
    let run = fields.table("run", &grammar::RUN).map(|table| run(&table));
    let written: Vec<&str> = PARTS.into_iter().filter(|key| fields.key_at(key).is_some()).collect();
    if let (Some(run_at), [first, ..]) = (fields.key_at("run"), written.as_slice()) {
        let mut problem = Diagnostic::new(
            "mixed-layer",
            run_at,
            format!("layer `{}` has `run` and `{}`", name.value, written.join("`, `")),
        )
        .label("made by a command")
        .help(format!("make two layers: one with `run`, one with `{first}`"));
        for at in written.iter().filter_map(|key| fields.key_at(key)) {
            problem = problem.also(at, "made without one");
        }
        reader.push(problem);
    }
    let nothing = written.iter().all(|key| is_empty_list(fields, key));
    // An unknown key may have been meant as one of these.
    if fields.key_at("run").is_none() && nothing && fields.others().next().is_none() {
        reader.push(
            Diagnostic::new("empty-layer", name.at, format!("layer `{}` has nothing in it", name.value))
                .label("makes no file")
                .help(
                    "add one of `copy`, `tools`, `downloads`, `files`, `dirs` or `run`, or remove the layer",
                ),
        );
    }
    let content = match run {
        Some(run) => LayerContent::Run(Box::new(run)),
        None => LayerContent::Parts(parts),
    };
    let max_age = fields.value("max_age", values::duration).map(|age| age.value);
    let (when, each) = (fields.condition("when"), fields.condition("each"));
    Layer { name, when, each, max_age, content }
}

fn is_empty_list(fields: &Fields<'_>, key: &&'static str) -> bool {
    fields.get(key).is_some_and(|value| value.get_ref().as_array().is_some_and(|list| list.is_empty()))
}

fn each<'a>(
    fields: &Fields<'a>,
    key: &'static str,
    spec: &'static grammar::Table,
    decode: impl Fn(&Fields<'a>) -> Part,
) -> Vec<Part> {
    fields.tables(key, spec).unwrap_or_default().iter().map(decode).collect()
}

fn tools(fields: &Fields<'_>) -> Vec<ToolUse> {
    let Some(list) = fields.list("tools") else { return Vec::new() };
    list.filter_map(|value| match fields.inner(value, &grammar::TOOL_USE) {
        Some(table) => {
            let (version, when) = (table.template("version", values::version), table.condition("when"));
            tool_use(&table, table.template("tool", values::anything)?, version, when)
        }
        None => tool_use(fields, fields.reader().template(value, values::anything)?, None, None),
    })
    .collect()
}

/// A tool by `name` or `name@version`; a template is taken apart when it is rendered.
fn tool_use(
    fields: &Fields<'_>,
    written: Template,
    version: Option<Template>,
    when: Option<Condition>,
) -> Option<ToolUse> {
    let parts = written.text.split_once('@').filter(|_| written.is_literal());
    let Some((name, own)) = parts else { return Some(ToolUse { tool: written, version, when }) };
    let reader = fields.reader();
    if let Some(other) = &version {
        reader.push(
            Diagnostic::new("exclusive-keys", other.at, format!("`{name}` has a version already"))
                .label("and this")
                .also(written.at, "this")
                .help("keep one of them"),
        );
    }
    if let Err(fault) = values::version(own) {
        reader.fault(written.at, fault);
    }
    // The place of each part, where the text stands in the file as it is.
    let plain = written.at.range().len() == written.text.len() + 2;
    let cut = written.at.start + 1 + name.len() as u32;
    let (before, after) = match plain {
        true => (Location { end: cut, ..written.at }, Location { start: cut, ..written.at }),
        false => (written.at, written.at),
    };
    let version = version.or_else(|| Some(Template { text: own.to_owned(), at: after }));
    Some(ToolUse { tool: Template { text: name.to_owned(), at: before }, version, when })
}

fn copy(fields: &Fields<'_>) -> Copy {
    let paths = fields.some_templates("paths", values::path).unwrap_or_default();
    let to = fields.template("to", values::path);
    if let Some(to) = &to
        && paths.len() > 1
        && to.is_literal()
        && !to.text.ends_with('/')
    {
        fields.reader().push(
            Diagnostic::new("copy-destination", to.at, "several paths are copied to one name")
                .label("does not end with `/`")
                .help(format!("write `{}/` to copy them into this directory", to.text)),
        );
    }
    Copy {
        at: fields.at(),
        from: copy_source(fields),
        paths,
        to,
        chmod: fields.value("chmod", values::chmod),
        owner: fields.value("owner", values::owner),
        when: fields.condition("when"),
    }
}

fn copy_source(fields: &Fields<'_>) -> ImageSource {
    let reader = fields.reader();
    let from = fields.get("from").and_then(|value| match value.get_ref().as_str() {
        Some("scratch") => {
            refuse_scratch(fields, reader.at(&value.span()), "it has no files to copy");
            None
        }
        _ => reader.template(value, values::reference),
    });
    let image = fields.located("image");
    match (fields.key_at("from"), fields.key_at("image")) {
        (Some(first), Some(second)) => reader.push(
            Diagnostic::new("exclusive-keys", second, "`from` and `image` are both written")
                .label("and this")
                .also(first, "this")
                .help("keep `from` for an image of a registry, or `image` for an image of the matrix"),
        ),
        (None, None) if fields.lacks("from") && fields.lacks("image") => reader.push(
            Diagnostic::new("missing-key", fields.at(), "`copy` does not say what it copies from")
                .label("`from` or `image` is missing here")
                .help("add `from = \"registry/repository:tag\"`, or `image = \"name\"` for an image of the matrix"),
        ),
        _ => {}
    }
    match (from, image) {
        (_, Some(image)) => ImageSource::Matrix(image),
        (Some(from), None) => ImageSource::Reference(from),
        (None, None) => ImageSource::Scratch,
    }
}

fn file(fields: &Fields<'_>) -> FileEntry {
    let path: Template = fields.needed("path", values::path);
    if path.is_literal() && path.text.ends_with('/') {
        fields.reader().push(
            Diagnostic::new("malformed-path", path.at, format!("`{}` is the path of a directory", path.text))
                .help("name the file itself, or use `dirs` for a directory"),
        );
    }
    match (fields.key_at("content"), fields.key_at("source")) {
        (Some(first), Some(second)) => fields.reader().push(
            Diagnostic::new("exclusive-keys", second, "`content` and `source` are both written")
                .label("and this")
                .also(first, "this")
                .help(
                    "keep `content` for a text that stands here, or `source` for a file beside the manifest",
                ),
        ),
        (None, None) if fields.lacks("content") && fields.lacks("source") => fields.reader().push(
            Diagnostic::new("missing-key", fields.at(), "`files` does not say what the file holds")
                .label("`content` or `source` is missing here")
                .help("add `content = \"…\"`, or `source = \"path\"` for a file beside the manifest"),
        ),
        _ => {}
    }
    FileEntry {
        path,
        content: fields.needed("content", values::anything),
        source: fields.template("source", values::file),
        mode: fields.value("mode", values::octal),
        owner: fields.value("owner", values::owner),
    }
}

fn dir(fields: &Fields<'_>) -> DirEntry {
    DirEntry {
        path: fields.needed("path", values::path),
        mode: fields.value("mode", values::octal),
        owner: fields.value("owner", values::owner),
    }
}
