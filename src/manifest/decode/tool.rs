//! `[tools.NAME]`, `downloads` and archives.

use crate::manifest::reader::Fields;
use crate::manifest::{
    ArchiveFormat, Chmod, Diagnostic, Discovery, Download, Extract, Located, Location, Owner, Template,
    grammar, values,
};

/// A tool as it is written; `None` is "not written".
#[derive(Debug, Clone)]
pub(in crate::manifest) struct RawTool {
    pub name: Located<String>,
    pub extends: Option<Located<String>>,
    pub version: Option<Template>,
    pub discovery: Option<Discovery>,
    /// Where the table stands.
    pub at: Location,
    /// Empty where none is written.
    pub urls: Vec<Template>,
    pub sha256: Option<Template>,
    pub path: Option<Template>,
    pub extract: Option<Extract>,
    /// Where `extract` stands whose format is told by URLs that stand elsewhere.
    pub open_format: Option<Location>,
    pub mode: Option<Located<Chmod>>,
    pub owner: Option<Located<Owner>>,
    /// What to say where it inherits no `path` either.
    pub no_path: Option<Diagnostic>,
    /// What to say where it inherits no URL either.
    pub no_url: Option<Diagnostic>,
}

pub(super) fn tool(name: Located<String>, fields: &Fields<'_>) -> RawTool {
    let discovered = fields.table("version", &grammar::TOOL_VERSION);
    let extends = fields.located("extends");
    let muted = fields.reader().is_muted();
    let no_path = (fields.lacks("path") && !muted).then(|| {
        Diagnostic::new("missing-key", fields.at(), format!("`tools.{}` has no `path`", name.value))
            .label("`path` is missing here")
            .help("add `path`: where the file goes, or the directory that an archive is extracted into")
    });
    let urls = urls(fields);
    let no_url = (lacks_urls(fields) && !muted).then(|| no_url(fields));
    let extract_fields = fields.table("extract", &grammar::EXTRACT);
    let open_format = extract_fields
        .as_ref()
        .filter(|table| extends.is_some() && urls.is_empty() && table.key_at("format").is_none())
        .map(Fields::at);
    RawTool {
        name,
        version: fields.template("version", values::version),
        discovery: discovered.as_ref().and_then(super::discovery::of_tool),
        at: fields.at(),
        sha256: fields.template("sha256", values::sha256),
        path: fields.template("path", values::path),
        extract: extract_fields.map(|table| extract(&table, &urls)),
        open_format,
        mode: fields.value("mode", values::octal),
        owner: fields.value("owner", values::owner),
        extends,
        urls,
        no_path,
        no_url,
    }
}

pub(super) fn download(fields: &Fields<'_>) -> Download {
    let urls = urls(fields);
    if lacks_urls(fields) {
        fields.reader().push(no_url(fields));
    }
    let extract = fields.table("extract", &grammar::EXTRACT).map(|table| extract(&table, &urls));
    Download {
        urls,
        sha256: fields.template("sha256", values::sha256),
        path: fields.needed("path", values::path),
        extract,
        mode: fields.value("mode", values::octal),
        owner: fields.value("owner", values::owner),
    }
}

fn extract(fields: &Fields<'_>, urls: &[Template]) -> Extract {
    Extract {
        format: format(fields, urls),
        members: fields.some_templates("members", values::member).unwrap_or_default(),
        strip: fields.count("strip").unwrap_or(0),
    }
}

fn lacks_urls(fields: &Fields<'_>) -> bool {
    fields.key_at("url").is_none()
        && fields.key_at("urls").is_none()
        && fields.lacks("url")
        && fields.lacks("urls")
}

fn no_url(fields: &Fields<'_>) -> Diagnostic {
    Diagnostic::new("missing-key", fields.at(), "the download has no URL")
        .label("`url` is missing here")
        .help("add `url = \"https://…\"`, or `urls = […]` with mirrors in order of preference")
}

fn urls(fields: &Fields<'_>) -> Vec<Template> {
    let one = fields.template("url", values::url);
    let many = fields.some_templates("urls", values::url);
    if let (Some(first), Some(second)) = (fields.key_at("url"), fields.key_at("urls")) {
        fields.reader().push(
            Diagnostic::new("exclusive-keys", second, "`url` and `urls` are both written")
                .label("and this")
                .also(first, "this")
                .help("put all mirrors into `urls`, in order of preference"),
        );
    }
    one.into_iter().chain(many.unwrap_or_default()).collect()
}

/// The format that the endings of URLs tell, if any of them does.
pub(in crate::manifest) fn told_format(urls: &[Template]) -> Option<ArchiveFormat> {
    let formats = [
        (".tar.gz", ArchiveFormat::TarGz),
        (".tgz", ArchiveFormat::TarGz),
        (".zip", ArchiveFormat::Zip),
        (".tar", ArchiveFormat::Tar),
    ];
    let ending = |url: &Template| {
        let path = url.text.split(['?', '#']).next().unwrap_or("").to_ascii_lowercase();
        formats.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, format)| *format)
    };
    urls.iter().find_map(ending)
}

/// A format that nothing tells.
pub(in crate::manifest) fn unknown_format(extract: Location, url: Location) -> Diagnostic {
    Diagnostic::new("unknown-format", extract, "the URL's ending does not tell the archive's format")
        .label("`format` is missing here")
        .also(url, "neither .tar, .tar.gz, .tgz nor .zip")
        .help("add `format = \"tar.gz\"` (or \"tar\" or \"zip\") to `extract`")
}

fn format(extract: &Fields<'_>, urls: &[Template]) -> ArchiveFormat {
    if let Some(format) = extract.located("format") {
        return match format.value.as_str() {
            "tar" => ArchiveFormat::Tar,
            "zip" => ArchiveFormat::Zip,
            _ => ArchiveFormat::TarGz,
        };
    }
    if let Some(format) = told_format(urls) {
        return format;
    }
    if !urls.is_empty() && extract.key_at("format").is_none() {
        extract.reader().push(unknown_format(extract.at(), urls[0].at));
    }
    ArchiveFormat::TarGz
}
