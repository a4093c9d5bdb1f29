//! `versions`, `source` and what goes with them.

use crate::manifest::reader::Fields;
use crate::manifest::{Diagnostic, Discovery, VersionSource, grammar, values};

/// The keys of which a source has one.
const SOURCES: [&str; 4] = ["npm", "tags", "url", "file"];

/// The discovery of an axis, where it has no `values`.
pub(super) fn of_axis(fields: &Fields<'_>, name: &str) -> Option<Discovery> {
    let reader = fields.reader();
    let newest = fields.count("newest");
    let keys = ["versions", "source", "newest", "prereleases"];
    let written = keys.iter().find_map(|key| fields.key_at(key));
    if let Some(values) = fields.key_at("values") {
        if let Some(other) = written {
            let message = format!("axis `{name}` has `values` and is discovered");
            reader.push(
                Diagnostic::new("exclusive-keys", other, message)
                    .label("this says where its values come from")
                    .also(values, "these are its values")
                    .help("keep `values`, or `versions` and `source`"),
            );
        }
        return None;
    }
    if fields.key_at("versions").is_none() {
        if fields.lacks("values") && fields.lacks("versions") {
            let message = format!("axis `{name}` has no values");
            reader.push(
                Diagnostic::new("missing-key", written.unwrap_or(fields.at()), message)
                    .label("neither `values` nor `versions` is written here")
                    .help(
                        "add `values = [\"…\"]`, or a requirement and where it is looked up: \
                         `versions = \">=3.38, <4\"` and `source = { npm = \"serverless\" }`",
                    ),
            );
        }
        return None;
    }
    read(fields, newest)
}

/// The discovery of a tool's version.
pub(super) fn of_tool(fields: &Fields<'_>) -> Option<Discovery> {
    read(fields, Some(1))
}

fn read(fields: &Fields<'_>, newest: Option<usize>) -> Option<Discovery> {
    let requirement = fields.value("versions", values::requirement);
    let prereleases = fields.bool("prereleases").unwrap_or(false);
    if fields.lacks("source") {
        missing_source(fields);
    }
    let source = fields.table("source", &grammar::VERSION_SOURCE).as_ref().and_then(source)?;
    let (requirement, at) = match (requirement, fields.key_at("versions")) {
        (Some(requirement), _) => (requirement.value, requirement.at),
        (None, None) => (semver::VersionReq::STAR, fields.at()),
        // It is malformed, which has been reported.
        (None, Some(_)) => return None,
    };
    Some(Discovery { at, requirement, newest, prereleases, source })
}

fn missing_source(fields: &Fields<'_>) {
    let at = fields.key_at("versions").unwrap_or(fields.at());
    fields.reader().push(
        Diagnostic::new("missing-key", at, "it is not said where versions are looked up")
            .label("`source` is missing beside this")
            .help("add `source = { npm = \"…\" }`, or one of `tags`, `url` and `file`"),
    );
}

fn source(fields: &Fields<'_>) -> Option<VersionSource> {
    let reader = fields.reader();
    let npm = fields.value("npm", values::package);
    let image = fields.template("image", values::reference);
    let tags = fields.template("tags", values::repository);
    let pattern = fields.value("pattern", values::pattern);
    let url = fields.template("url", values::url);
    let file = fields.template("file", values::file);
    let written: Vec<_> = SOURCES.iter().filter_map(|key| fields.key_at(key).map(|at| (*key, at))).collect();
    match written.as_slice() {
        [] if SOURCES.iter().all(|key| fields.lacks(key)) => reader.push(
            Diagnostic::new("missing-key", fields.at(), "the source of versions is empty")
                .label("nothing to look versions up in")
                .help("write one of `npm`, `tags`, `url` and `file`, e.g. `{ npm = \"serverless\" }`"),
        ),
        [(first, first_at), (second, second_at), ..] => reader.push(
            Diagnostic::new(
                "exclusive-keys",
                *second_at,
                format!("`{first}` and `{second}` are both written"),
            )
            .label("and this")
            .also(*first_at, "this")
            .help("versions are looked up in one place: keep one of them"),
        ),
        _ => {}
    }
    for (key, owner) in [("image", "npm"), ("pattern", "tags")] {
        if let (Some(at), [(other, other_at)]) = (fields.key_at(key), written.as_slice())
            && *other != owner
        {
            reader.push(
                Diagnostic::new("exclusive-keys", at, format!("`{key}` says something about `{owner}`"))
                    .label(format!("of no use beside `{other}`"))
                    .also(*other_at, "what is looked up")
                    .help(format!("remove `{key}`")),
            );
        }
    }
    match written.as_slice() {
        [("npm", _)] => Some(VersionSource::Npm { package: npm?, image }),
        [("tags", _)] => Some(VersionSource::Tags { repository: tags?, pattern }),
        [("url", _)] => url.map(VersionSource::Url),
        [("file", _)] => file.map(VersionSource::File),
        _ => None,
    }
}
