//! What a manifest wants looked up, rendered: before expansion, which needs what is found.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use semver::VersionReq;

use super::address;
use super::expand::Overrides;
use super::template::{Renderer, environment};
use crate::manifest::{
    Diagnostic, Diagnostics, Discovery, Location, Manifest, NO_USER, Template, VersionSource, axis_key,
    tool_key, without_user,
};
use crate::oci::{Reference, RepositoryName};

/// Versions that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Where in the manifest: `axes.NAME` or `tools.NAME`; the key of what is found.
    pub key: String,
    /// What a version must fulfil.
    pub requirement: VersionReq,
    /// Only the newest so many.
    pub newest: Option<usize>,
    /// Whether every pre-release counts.
    pub prereleases: bool,
    /// Who lists the versions.
    pub listing: Listing,
    /// Where it stands.
    pub at: Location,
}

/// Who lists versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// An npm package, and an image that has npm for machines without.
    Npm(String, Option<Reference>),
    /// The tags of a repository, and a regular expression with a group `version`.
    Tags(RepositoryName, Option<String>),
    /// A document on a server: its URL, and how that is shown and locked.
    Url(String, String),
    /// A file, relative to the manifest.
    File(String),
}

impl Query {
    /// Its last part: the name of the axis or of the tool.
    pub fn name(&self) -> &str {
        self.key.split_once('.').map_or(&self.key, |(_, name)| name)
    }

    /// For people: "axis `serverless`".
    pub fn subject(&self) -> String {
        subject(&self.key)
    }
}

/// What a key of a [`Query`] names, for people.
pub fn subject(key: &str) -> String {
    match key.split_once('.') {
        Some(("tools", name)) => format!("tool `{name}`"),
        Some((_, name)) => format!("axis `{name}`"),
        None => format!("`{key}`"),
    }
}

/// All that decides what is found, on one line, as it stands in the lock.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.listing, self.requirement)?;
        if let Some(newest) = self.newest {
            write!(f, ", newest {newest}")?;
        }
        if self.prereleases {
            f.write_str(", pre-releases")?;
        }
        Ok(())
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Npm(package, _) => write!(f, "npm {package}"),
            Self::Tags(repository, None) => write!(f, "tags {repository}"),
            Self::Tags(repository, Some(pattern)) => write!(f, "tags {repository} {pattern}"),
            Self::Url(_, shown) => write!(f, "url {shown}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// The queries of a manifest: of its axes, then of its tools, each in order of declaration.
///
/// # Errors
/// Every source that cannot be rendered, or renders to something else than is wanted.
pub fn queries(manifest: &Manifest, overrides: &Overrides) -> Result<Vec<Query>, Diagnostics> {
    let axes = manifest.axes.iter().map(|axis| (axis_key(&axis.name.value), &axis.discovery));
    let tools = manifest.tools.iter().map(|tool| (tool_key(&tool.name.value), &tool.discovery));
    let wanted: Vec<(String, &Discovery)> =
        axes.chain(tools).filter_map(|(key, discovery)| Some((key, discovery.as_ref()?))).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let environment = environment();
    let mut renderer = Renderer::new(&environment, manifest, &overrides.variables(manifest));
    let mut masked = overrides.masked(manifest).map(|vars| Renderer::new(&environment, manifest, &vars));
    // Mistakes in attributes are the expansion's to report.
    let known = renderer.diagnostics.0.len();
    let queries: Vec<Query> = wanted
        .iter()
        .filter_map(|(key, discovery)| query(&mut renderer, masked.as_mut(), key, discovery))
        .collect();
    let mut problems = Diagnostics(renderer.diagnostics.0.split_off(known));
    problems.sort();
    if problems.is_empty() { Ok(queries) } else { Err(problems) }
}

fn query<'m>(
    renderer: &mut Renderer<'m>,
    masked: Option<&mut Renderer<'m>>,
    key: &str,
    discovery: &'m Discovery,
) -> Option<Query> {
    let listing = match &discovery.source {
        VersionSource::Npm { package, image } => {
            let image = match image {
                Some(image) => Some(parsed::<Reference>(renderer, image, "malformed-reference")?),
                None => None,
            };
            Listing::Npm(package.value.clone(), image)
        }
        VersionSource::Tags { repository, pattern } => Listing::Tags(
            parsed::<RepositoryName>(renderer, repository, "malformed-repository")?,
            pattern.as_ref().map(|pattern| pattern.value.clone()),
        ),
        VersionSource::Url(url) => {
            let text = rendered(renderer, url)?;
            if !text.starts_with("http://") && !text.starts_with("https://") {
                refuse(renderer, url, "malformed-url", &format!("`{text}` is no http or https URL"));
                return None;
            }
            if let Some(address) = without_user(&text) {
                let message = format!("the URL of `{address}` holds credentials");
                let problem = Diagnostic::new("credentials-in-url", url.at, message).help(NO_USER);
                renderer.diagnostics.push(problem);
                return None;
            }
            let shown = match masked {
                Some(masked) => address::shown(&text, masked.render(url, &[], &[]).ok().as_deref()),
                None => text.to_string(),
            };
            Listing::Url(text.to_string(), shown)
        }
        VersionSource::File(path) => Listing::File(rendered(renderer, path)?.to_string()),
    };
    Some(Query {
        key: key.to_owned(),
        requirement: discovery.requirement.clone(),
        newest: discovery.newest,
        prereleases: discovery.prereleases,
        listing,
        at: discovery.at,
    })
}

fn rendered<'m>(renderer: &mut Renderer<'m>, template: &'m Template) -> Option<Arc<str>> {
    if !renderer.axes_of(template).is_empty() {
        let message = "versions are looked up before there are cells: no axis has a value here";
        let diagnostic = Diagnostic::new("axis-in-source", template.at, message)
            .help("write the text out; a source may use `vars`, and rows as `axes.NAME[\"value\"]`");
        renderer.diagnostics.push(diagnostic);
        return None;
    }
    renderer.render(template, &[], &[]).ok()
}

fn parsed<'m, T: FromStr>(
    renderer: &mut Renderer<'m>,
    template: &'m Template,
    code: &'static str,
) -> Option<T>
where
    T::Err: fmt::Display,
{
    let text = rendered(renderer, template)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            refuse(renderer, template, code, &error.to_string());
            None
        }
    }
}

fn refuse(renderer: &mut Renderer<'_>, template: &Template, code: &'static str, why: &str) {
    renderer.diagnostics.push(
        Diagnostic::new(code, template.at, why).help("check the template and the values that it takes"),
    );
}
