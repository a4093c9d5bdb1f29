//! A lock's text -> [`Lock`], or every mistake in it at its place.

use std::collections::BTreeMap;

use semver::Version;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::{Entry, at};
use super::{LOCK_VERSION, Lock, LockedDownload, LockedImage, LockedVersions};
use crate::manifest::{Diagnostic, Diagnostics, FoundVersion, Location, Sources};
use crate::oci::{DiffId, Digest, Reference};

const RESTORE: &str =
    "restore it from version control, or remove it and run `railyard update` to pin everything anew";

impl Lock {
    /// Reads a lock's text; `name` is the file's, for [`Lock::places`].
    ///
    /// # Errors
    /// Every mistake: what is no lock of this version, unknown keys, malformed digests, entries that
    /// stand there twice. The only file of the places is the lock.
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        if let Some(conflict) = conflict(text) {
            return Err(Diagnostics(vec![conflict]));
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        if let Some(error) = errors.first() {
            let place = at(error.span().unwrap_or(text.len()..text.len()));
            let message = format!("the lock is no TOML: {}", error.message());
            return Err(Diagnostics(vec![Diagnostic::new("lock-syntax", place, message).help(RESTORE)]));
        }
        let mut sources = Sources::default();
        sources.add(name, text);
        let mut reader = Reader { lock: Self::default(), problems: Vec::new(), sources: &sources };
        reader.document(table.get_ref());
        let mut problems = Diagnostics(reader.problems);
        problems.sort();
        if problems.is_empty() { Ok(reader.lock) } else { Err(problems) }
    }
}

/// Markers that a merge left behind.
fn conflict(text: &str) -> Option<Diagnostic> {
    let mut offset = 0;
    let mut markers = Vec::new();
    for line in text.split_inclusive('\n') {
        let end = line.trim_end();
        let opens = ["<<<<<<<", "|||||||", ">>>>>>>"].iter().any(|mark| end.starts_with(mark));
        if opens || end == "=======" {
            markers.push(at(offset..offset + end.len()));
        }
        offset += line.len();
    }
    let (first, others) = markers.split_first()?;
    let problem = Diagnostic::new("lock-conflict", *first, "the lock holds conflict markers of a merge")
        .label("a merge was not finished")
        .help(
            "take either side (`git checkout --ours` or `--theirs`, then the lock's path) and run \
             `railyard build`, which adds what is missing",
        );
    Some(others.iter().take(5).fold(problem, |problem, place| problem.also(*place, "and here")))
}

struct Reader<'s> {
    lock: Lock,
    problems: Vec<Diagnostic>,
    sources: &'s Sources,
}

impl Reader<'_> {
    fn document(&mut self, table: &DeTable<'_>) {
        if !self.version(table) {
            return;
        }
        self.entry("the lock", table, at(0..0))
            .keys(&["version", "image", "download", "versions", "mirror", "outputs"]);
        let mut first = BTreeMap::new();
        for (table, place) in self.tables(table, "image") {
            self.image(table, place, &mut first);
        }
        let mut first = BTreeMap::new();
        for (table, place) in self.tables(table, "download") {
            self.download(table, place, &mut first);
        }
        let mut first = BTreeMap::new();
        for (table, place) in self.tables(table, "versions") {
            self.versions(table, place, &mut first);
        }
        let mut first = BTreeMap::new();
        for (table, place) in self.tables(table, "mirror") {
            self.mirror(table, place, &mut first);
        }
        self.outputs(table);
    }

    fn entry<'t>(&mut self, what: &'static str, table: &'t DeTable<'t>, place: Location) -> Entry<'t, '_> {
        Entry { what, table, at: place, problems: &mut self.problems }
    }

    /// Whether the lock is of the version that is read here.
    fn version(&mut self, table: &DeTable<'_>) -> bool {
        let Some(value) = table.get("version") else {
            self.problems.push(
                Diagnostic::new("lock-missing-key", at(0..0), "the lock has no `version`")
                    .label("`version` is missing here")
                    .help(RESTORE),
            );
            return false;
        };
        let place = at(value.span());
        match value.get_ref().as_integer().map(ToString::to_string) {
            None => self.entry("the lock", table, at(0..0)).wrong_type("version", place, "a whole number"),
            Some(version) if version == LOCK_VERSION.to_string() => return true,
            Some(version) => self.problems.push(
                Diagnostic::new(
                    "lock-version",
                    place,
                    format!("the lock's version is {version}, this railyard reads version {LOCK_VERSION}"),
                )
                .label("not known to this version of railyard")
                .help("use the railyard that wrote it, or remove the lock and run `railyard update` to pin everything anew"),
            ),
        }
        false
    }

    /// The tables of a list of tables.
    fn tables<'t>(&mut self, table: &'t DeTable<'t>, key: &'static str) -> Vec<(&'t DeTable<'t>, Location)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let mut found = Vec::new();
        let list = value.get_ref().as_array().map(|list| list.iter().collect::<Vec<_>>());
        let is_list = list.is_some();
        for value in list.unwrap_or_else(|| vec![value]) {
            match value.get_ref().as_table() {
                Some(table) if is_list => found.push((table, at(value.span()))),
                _ => self.entry("the lock", table, at(0..0)).wrong_type(
                    key,
                    at(value.span()),
                    "a list of tables",
                ),
            }
        }
        found
    }

    fn image<'t>(
        &mut self,
        table: &'t DeTable<'t>,
        place: Location,
        first: &mut BTreeMap<Reference, Location>,
    ) {
        let mut entry = self.entry("[[image]]", table, place);
        entry.keys(&["reference", "platform", "digest", "environment", "trees", "copies"]);
        let reference = entry.value::<Reference>("reference");
        let platform = entry.value("platform");
        let digest = entry.value::<Digest>("digest");
        let environment = match table.get("environment") {
            Some(_) => entry.value::<Digest>("environment").map(|(digest, _)| digest),
            None => None,
        };
        let trees = digests(&mut entry, "trees");
        let copies = digests(&mut entry, "copies");
        let (Some((reference, at)), Some((platform, _)), Some((digest, digest_at))) =
            (reference, platform, digest)
        else {
            return;
        };
        if let Some(first) = first.insert(reference.clone(), at) {
            return entry.twice(&reference, at, first);
        }
        self.lock.places.images.insert(reference.clone(), self.place(digest_at));
        self.lock.images.insert(reference, LockedImage { platform, digest, trees, copies, environment });
    }

    fn download<'t>(
        &mut self,
        table: &'t DeTable<'t>,
        place: Location,
        first: &mut BTreeMap<String, Location>,
    ) {
        let mut entry = self.entry("[[download]]", table, place);
        entry.keys(&["url", "sha256", "size"]);
        let url = entry.text("url");
        let sha256 = entry.text("sha256").and_then(|(text, place)| match Digest::from_hex(text) {
            Ok(digest) => Some((digest, place)),
            Err(error) => {
                entry.malformed("sha256", place, &error);
                None
            }
        });
        let size = entry.needed("size").and_then(|value| {
            let size =
                value.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
            if size.is_none() {
                entry.wrong_type("size", at(value.span()), "a number of bytes");
            }
            size
        });
        let (Some((url, at)), Some((sha256, sha256_at)), Some(size)) = (url, sha256, size) else { return };
        if let Some(first) = first.insert(url.to_owned(), at) {
            return entry.twice(&url, at, first);
        }
        self.lock.places.downloads.insert(url.to_owned(), self.place(sha256_at));
        self.lock.downloads.insert(url.to_owned(), LockedDownload { sha256, size });
    }

    fn versions<'t>(
        &mut self,
        table: &'t DeTable<'t>,
        place: Location,
        first: &mut BTreeMap<String, Location>,
    ) {
        let mut entry = self.entry("[[versions]]", table, place);
        entry.keys(&["name", "query", "values", "tags"]);
        let name = entry.text("name");
        let query = entry.text("query");
        let tags = entry.texts("tags");
        let values = entry.needed("values").and_then(|value| found(&mut entry, value));
        let (Some((name, at)), Some((query, _)), Some(mut found)) = (name, query, values) else { return };
        for (version, tag, place) in tags {
            match found.iter_mut().find(|found| found.name == version.get_ref().as_ref()) {
                Some(found) => found.tag = Some(tag.to_owned()),
                None => {
                    entry.malformed("tags", place, &format!("`{}` is not in `values`", version.get_ref()))
                }
            }
        }
        if let Some(first) = first.insert(name.to_owned(), at) {
            return entry.twice(&name, at, first);
        }
        self.lock.versions.insert(name.to_owned(), LockedVersions { query: query.to_owned(), found });
    }

    fn mirror<'t>(
        &mut self,
        table: &'t DeTable<'t>,
        place: Location,
        first: &mut BTreeMap<Reference, Location>,
    ) {
        let mut entry = self.entry("[[mirror]]", table, place);
        entry.keys(&["reference", "digest"]);
        let reference = entry.value::<Reference>("reference");
        let digest = entry.value::<Digest>("digest");
        let (Some((reference, at)), Some((digest, _))) = (reference, digest) else { return };
        if let Some(first) = first.insert(reference.clone(), at) {
            return entry.twice(&reference, at, first);
        }
        self.lock.mirrors.insert(reference, digest);
    }

    fn outputs<'t>(&mut self, table: &'t DeTable<'t>) {
        let mut entry = self.entry("[outputs]", table, at(0..0));
        let mut outputs = Vec::new();
        for (key, text, place) in entry.texts("outputs") {
            let key = entry.parse::<Digest>("a key", key.get_ref(), at(key.span()));
            if let (Some(key), Some(diff_id)) = (key, entry.parse::<Digest>("a diff ID", text, place)) {
                outputs.push((key, DiffId(diff_id)));
            }
        }
        self.lock.outputs.extend(outputs);
    }

    /// A place as errors name it.
    fn place(&self, at: Location) -> String {
        let (line, column) = self.sources.line_column(at);
        format!("{}:{line}:{column}", self.sources.name(at.file))
    }
}

/// A table of digests by path.
fn digests(entry: &mut Entry<'_, '_>, key: &'static str) -> BTreeMap<String, Digest> {
    let texts = entry.texts(key);
    texts
        .into_iter()
        .filter_map(|(path, text, place)| Some((path.get_ref().to_string(), entry.parse(key, text, place)?)))
        .collect()
}

/// The versions of a list that is not empty and names each once.
fn found<'t>(entry: &mut Entry<'t, '_>, value: &'t Spanned<DeValue<'t>>) -> Option<Vec<FoundVersion>> {
    let place = at(value.span());
    let Some(list) = value.get_ref().as_array() else {
        entry.wrong_type("values", place, "a list of texts");
        return None;
    };
    let mut found: Vec<(FoundVersion, Location)> = Vec::new();
    let mut whole = true;
    for value in list.iter() {
        let Some((name, at)) = entry.as_text("values", value) else {
            whole = false;
            continue;
        };
        if Version::parse(name.strip_prefix('v').unwrap_or(name)).is_err() {
            entry.malformed("values", at, &format!("`{name}` is no semantic version"));
            whole = false;
        } else if let Some((_, first)) = found.iter().find(|(known, _)| known.name == name) {
            entry.twice(&name, at, *first);
            whole = false;
        } else {
            found.push((FoundVersion { name: name.to_owned(), tag: None }, at));
        }
    }
    if whole && found.is_empty() {
        entry.malformed("values", place, &"it is empty");
        whole = false;
    }
    whole.then(|| found.into_iter().map(|(version, _)| version).collect())
}
