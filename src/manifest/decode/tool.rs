//! `[tools.NAME]`, `downloads` and archives.

use crate::manifest::reader::Fields;
use crate::manifest::{
    ArchiveFormat, Diagnostic, Download, Extract, Located, Template, Tool, grammar, values,
};

pub(super) fn tool(name: Located<String>, fields: &Fields<'_>) -> Tool {
    let discovered = fields.table("version", &grammar::TOOL_VERSION);
    Tool {
        name,
        version: fields.template("version", values::version),
        discovery: discovered.as_ref().and_then(super::discovery::of_tool),
        download: download(fields),
    }
}

pub(super) fn download(fields: &Fields<'_>) -> Download {
    let urls = urls(fields);
    let extract = fields.table("extract", &grammar::EXTRACT).map(|extract| Extract {
        format: format(&extract, &urls),
        members: extract.some_templates("members", values::member).unwrap_or_default(),
        strip: extract.count("strip").unwrap_or(0),
    });
    Download {
        at: fields.at(),
        urls,
        sha256: fields.template("sha256", values::sha256),
        path: fields.needed("path", values::path),
        extract,
        mode: fields.value("mode", values::octal),
        owner: fields.value("owner", values::owner),
    }
}

fn urls(fields: &Fields<'_>) -> Vec<Template> {
    let one = fields.template("url", values::url);
    let many = fields.some_templates("urls", values::url);
    match (fields.key_at("url"), fields.key_at("urls")) {
        (Some(first), Some(second)) => fields.reader().push(
            Diagnostic::new("exclusive-keys", second, "`url` and `urls` are both written")
                .label("and this")
                .also(first, "this")
                .help("put all mirrors into `urls`, in order of preference"),
        ),
        (None, None) if fields.lacks("url") && fields.lacks("urls") => fields.reader().push(
            Diagnostic::new("missing-key", fields.at(), "the download has no URL")
                .label("`url` is missing here")
                .help("add `url = \"https://…\"`, or `urls = […]` with mirrors in order of preference"),
        ),
        _ => {}
    }
    one.into_iter().chain(many.unwrap_or_default()).collect()
}

fn format(extract: &Fields<'_>, urls: &[Template]) -> ArchiveFormat {
    let formats = [
        (".tar.gz", ArchiveFormat::TarGz),
        (".tgz", ArchiveFormat::TarGz),
        (".zip", ArchiveFormat::Zip),
        (".tar", ArchiveFormat::Tar),
    ];
    if let Some(format) = extract.located("format") {
        return match format.value.as_str() {
            "tar" => ArchiveFormat::Tar,
            "zip" => ArchiveFormat::Zip,
            _ => ArchiveFormat::TarGz,
        };
    }
    let ending = |url: &Template| {
        let path = url.text.split(['?', '#']).next().unwrap_or("").to_ascii_lowercase();
        formats.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, format)| *format)
    };
    if let Some(format) = urls.iter().find_map(ending) {
        return format;
    }
    if !urls.is_empty() && extract.key_at("format").is_none() {
        extract.reader().push(
            Diagnostic::new(
                "unknown-format",
                extract.at(),
                "the URL's ending does not tell the archive's format",
            )
            .label("`format` is missing here")
            .also(urls[0].at, "neither .tar, .tar.gz, .tgz nor .zip")
            .help("add `format = \"tar.gz\"` (or \"tar\" or \"zip\") to `extract`"),
        );
    }
    ArchiveFormat::TarGz
}
