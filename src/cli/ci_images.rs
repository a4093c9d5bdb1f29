//! `ci-images`: the CI images of a Harness account against the defaults and the mirror.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::exit::{Exit, first_of, print, say};
use super::interrupt::interruptible;
use super::load::open;
use super::mirror::bare_manifest;
use super::world::{registry, runtime};
use super::{DocumentFormat, ProjectArguments};
use crate::ci_images::{
    ApiCredential, ApiError, Change, Config, ConfigApi, Facts, FieldRow, FieldState, HttpSettings,
    Infrastructure, compare, resets, updates,
};
use crate::mirror::MirrorImage;
use crate::oci::Reference;
use crate::registry::{Registry, Secret};
use crate::report;

/// Where the API is and whose configuration it is about. The key comes from HARNESS_API_KEY
/// (`X-API-KEY`) or HARNESS_TOKEN (bearer), and from nowhere else.
#[derive(Debug, Args)]
pub struct ApiArguments {
    /// The account's id.
    #[arg(long, value_name = "ID", env = "HARNESS_ACCOUNT_ID")]
    account: Option<String>,
    /// What builds run on.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Infra::K8)]
    infra: Infra,
    /// Harness, or its gateway (`/gateway`) itself; that of the facts unless given.
    #[arg(long, value_name = "URL", env = "HARNESS_URL")]
    url: Option<String>,
    /// Longest time of a request to the API, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    api_timeout: u64,
    /// Fields, publication days and support windows, instead of those built in.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Infra {
    /// Kubernetes.
    #[value(name = "K8")]
    K8,
    /// Virtual machines.
    #[value(name = "VM")]
    Vm,
}

/// Options of `ci-images`.
#[derive(Debug, Args)]
pub struct CiImagesArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows each field: what pipelines use, the default, the mirror, the support window.
    Diff {
        /// End with exit code 1 unless every field has its default or is set to it.
        #[arg(long)]
        exit_code: bool,
        #[command(flatten)]
        scope: Scope,
    },
    /// Sets images: those given as FIELD=IMAGE, else every default, as far as they are mirrored.
    Update {
        /// What is set, e.g. `gitCloneTag=harness/drone-git:1.1.0-rootless`.
        #[arg(value_name = "FIELD=IMAGE")]
        changes: Vec<String>,
        /// Set images with the mirror's registry and path before their names.
        #[arg(long, requires = "to")]
        qualified: bool,
        /// Send it; otherwise the body that would be sent is shown.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        scope: Scope,
    },
    /// Sets fields back to their defaults: those named, else all that are set.
    Reset {
        /// Fields.
        fields: Vec<String>,
        /// Send it; otherwise the body that would be sent is shown.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        scope: Scope,
    },
}

/// What all of them take.
#[derive(Debug, Args)]
struct Scope {
    /// Registry and path where the images have been mirrored.
    #[arg(long, value_name = "PREFIX", env = "RAILYARD_MIRROR_TO")]
    to: Option<String>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = DocumentFormat::Table)]
    format: DocumentFormat,
    #[command(flatten)]
    api: ApiArguments,
}

impl ApiArguments {
    /// The API's client.
    ///
    /// # Errors
    /// When there is no account, no key, or no URL that a key may be sent to.
    pub fn connect(&self, facts: &Facts) -> Result<ConfigApi, Exit> {
        let Some(account) = self.account.as_deref().filter(|account| !account.trim().is_empty()) else {
            return Err(Exit::Usage(
                "error: it is not said which account\n  help: give --account ID, or set HARNESS_ACCOUNT_ID"
                    .into(),
            ));
        };
        let infrastructure = match self.infra {
            Infra::K8 => Infrastructure::K8,
            Infra::Vm => Infrastructure::Vm,
        };
        let settings =
            HttpSettings { timeout: Duration::from_secs(self.api_timeout), ..HttpSettings::default() };
        let url = self.url.as_deref().map_or_else(|| facts.url.clone(), gateway);
        ConfigApi::new(&url, account, infrastructure, access()?, settings)
            .map_err(|error| Exit::Usage(format!("error: {error}\n  help: {}", error.help)))
    }
}

/// The gateway of a Harness; other commands take Harness's own address by the same variable.
fn gateway(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/gateway") { url.to_owned() } else { format!("{url}/gateway") }
}

fn access() -> Result<ApiCredential, Exit> {
    let variable = |name: &str| {
        std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    match (variable("HARNESS_API_KEY"), variable("HARNESS_TOKEN")) {
        (Some(key), _) => Ok(ApiCredential::Key(Secret::new(key))),
        (None, Some(token)) => Ok(ApiCredential::Bearer(Secret::new(token))),
        (None, None) => Err(Exit::Environment(
            "error: there is no key for the API\n  help: set HARNESS_API_KEY to an API key, or HARNESS_TOKEN to a bearer token, in the environment".into(),
        )),
    }
}

/// The facts, built in or of a file.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn facts(arguments: &ApiArguments) -> Result<Facts, Exit> {
    let Some(path) = &arguments.facts else { return Ok(Facts::built_in()) };
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::Usage(format!("error: --facts: failed to read `{name}`: {error}")))?;
    Facts::parse(&text).map_err(|error| Exit::Usage(format!("error: --facts: `{name}`: {error}")))
}

/// The end that a failed request stands for.
pub fn failed(error: ApiError) -> Exit {
    Exit::Environment(format!("error: {error}\n  help: {}", error.help))
}

/// `railyard ci-images`.
pub fn ci_images(arguments: &ProjectArguments, options: &CiImagesArguments) -> Result<(), Exit> {
    let (Action::Diff { scope, .. } | Action::Update { scope, .. } | Action::Reset { scope, .. }) =
        &options.action;
    let facts = facts(&scope.api)?;
    let api = scope.api.connect(&facts)?;
    let mirror = Mirror::open(arguments, scope.to.as_deref())?;
    let runtime = runtime()?;
    let desk = Desk { facts: &facts, api: &api, mirror: mirror.as_ref(), format: scope.format };
    let work = async {
        match &options.action {
            Action::Diff { exit_code, .. } => desk.diff(*exit_code).await,
            Action::Update { changes, qualified, apply, .. } => {
                desk.update(changes, *qualified, *apply).await
            }
            Action::Reset { fields, apply, .. } => desk.reset(fields, *apply).await,
        }
    };
    let result = runtime.block_on(interruptible(work));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The private registry that images have been mirrored to.
struct Mirror {
    to: String,
    registry: Arc<dyn Registry>,
}

impl Mirror {
    fn open(arguments: &ProjectArguments, to: Option<&str>) -> Result<Option<Self>, Exit> {
        let Some(to) = to else { return Ok(None) };
        if MirrorImage::new("a/b:1", None, to).is_err() {
            return Err(Exit::Usage(format!(
                "error: --to: `{to}` is not a registry and path that repositories can start with\n  help: write e.g. `registry.example.com/acme`"
            )));
        }
        let manifest = match arguments.file.exists() {
            true => open(arguments)?.manifest,
            false => bare_manifest(),
        };
        Ok(Some(Self { to: to.to_owned(), registry: registry(&manifest, arguments.directory()).0 }))
    }

    /// Where the mirror has an image, by the name that the API gives it.
    fn place(&self, image: &str) -> Option<Reference> {
        // One that is set with the mirror's registry is already there.
        if image.starts_with(&format!("{}/", self.to)) {
            return image.parse().ok();
        }
        MirrorImage::new(image, None, &self.to).ok().map(|image| image.target)
    }

    async fn has(&self, image: &str) -> Result<Option<bool>, Exit> {
        let Some(place) = self.place(image) else { return Ok(None) };
        match self.registry.head(&place).await {
            Ok(found) => Ok(Some(found.is_some())),
            Err(error) => Err(Exit::Environment(format!(
                "error: {error}\n  help: check --to, and log in to the registry (`docker login`)"
            ))),
        }
    }
}

/// What a command works with.
struct Desk<'a> {
    facts: &'a Facts,
    api: &'a ConfigApi,
    mirror: Option<&'a Mirror>,
    format: DocumentFormat,
}

impl Desk<'_> {
    async fn configs(&self) -> Result<(Config, Config), Exit> {
        let (defaults, overrides) =
            tokio::try_join!(self.api.defaults(), self.api.customer(true)).map_err(failed)?;
        Ok((defaults, overrides))
    }

    async fn diff(&self, exit_code: bool) -> Result<(), Exit> {
        let (defaults, overrides) = self.configs().await?;
        let mut rows = compare(&defaults, &overrides, |field| self.facts.fields.contains_key(field));
        // The defaults are the newest that are known without asking a registry.
        let newest: Vec<Reference> =
            defaults.fields.keys().filter_map(|field| defaults.image(field)?.parse().ok()).collect();
        for row in &mut rows {
            let image = row.current.as_str().map(str::to_owned);
            let default = row.default.as_ref().and_then(Value::as_str).map(str::to_owned);
            row.support = image.as_deref().and_then(|image| self.support(image, &newest));
            if let Some(mirror) = self.mirror {
                row.mirrored = self.has(mirror, image.as_deref()).await?;
                row.default_mirrored = self.has(mirror, default.as_deref()).await?;
            }
        }
        let today = jiff::Zoned::now().date();
        let next = self.facts.next_publication(today);
        let printed = match self.format {
            DocumentFormat::Table => print(&report::ci_images(&rows, next)),
            DocumentFormat::Json => print(&pretty(&json!({ "fields": rows, "next_publication": next }))),
        };
        let is_default = |row: &FieldRow| matches!(row.state, FieldState::Default | FieldState::Same);
        let is_good = !exit_code || rows.iter().all(is_default);
        first_of([if is_good { Ok(()) } else { Err(Exit::Failed) }, printed])
    }

    async fn has(&self, mirror: &Mirror, image: Option<&str>) -> Result<Option<bool>, Exit> {
        match image {
            Some(image) => mirror.has(image).await,
            None => Ok(None),
        }
    }

    fn support(&self, image: &str, newest: &[Reference]) -> Option<crate::mirror::Support> {
        let reference: Reference = image.parse().ok()?;
        let repository = self.repository(image)?;
        let known: Vec<String> = newest
            .iter()
            .filter(|other| other.name.repository == repository)
            .filter_map(|other| other.tag.clone())
            .collect();
        self.facts.support(&repository, reference.tag.as_deref().unwrap_or("latest"), &known, false)
    }

    /// The repository as its publisher calls it.
    fn repository(&self, image: &str) -> Option<String> {
        let own = self.mirror.and_then(|mirror| image.strip_prefix(&format!("{}/", mirror.to)));
        own.unwrap_or(image).parse::<Reference>().ok().map(|reference| reference.name.repository)
    }

    async fn update(&self, given: &[String], qualified: bool, apply: bool) -> Result<(), Exit> {
        let given = parse_changes(given)?;
        let (defaults, overrides) = self.configs().await?;
        for field in given.keys() {
            if !defaults.fields.contains_key(field) && !self.facts.fields.contains_key(field) {
                say(&format!(
                    "note: `{field}` is no field of the defaults, nor one that is known; it is set as it stands"
                ));
            }
        }
        let wanted: Vec<(String, String)> = match given.is_empty() {
            false => given.into_iter().collect(),
            true => defaults
                .fields
                .keys()
                .filter_map(|field| Some((field.clone(), defaults.image(field)?.to_owned())))
                .collect(),
        };
        let mut changes = Vec::new();
        let mut left_out = Vec::new();
        for (field, image) in wanted {
            let value = match self.mirror.filter(|_| qualified) {
                Some(mirror) => mirror.place(&image).map_or(image.clone(), |place| place.to_string()),
                None => image.clone(),
            };
            match self.mirror {
                Some(mirror) if mirror.has(&image).await? != Some(true) => {
                    left_out.push(json!({ "field": field, "value": value, "why": "not mirrored" }));
                }
                _ => changes.push(Change { field, value }),
            }
        }
        let changes = updates(&changes, &overrides);
        let kept = kept(&overrides, &defaults);
        let body = ConfigApi::update_body(&changes);
        let shown = self.show("update-config", &body, &left_out, &kept, apply);
        if apply && !changes.is_empty() {
            self.api.update(&changes).await.map_err(failed)?;
            let after = self.api.customer(false).await.map_err(failed)?;
            let wrong = changes.iter().filter(|c| after.image(&c.field) != Some(c.value.as_str()));
            self.confirm(wrong.map(|change| change.field.clone()).collect(), changes.len())?;
        }
        let is_good = !apply || left_out.is_empty();
        first_of([if is_good { Ok(()) } else { Err(Exit::Failed) }, shown])
    }

    async fn reset(&self, named: &[String], apply: bool) -> Result<(), Exit> {
        let (defaults, overrides) = self.configs().await?;
        let fields = resets(named, &overrides);
        for field in named.iter().filter(|field| !fields.contains(field)) {
            let why = match defaults.fields.contains_key(field) {
                true => "has its default already",
                false => "is no field of the account's configuration",
            };
            say(&format!("note: `{field}` {why}"));
        }
        let body = ConfigApi::reset_body(&fields);
        let shown = self.show("reset-config", &body, &[], &[], apply);
        if apply && !fields.is_empty() {
            self.api.reset(&fields).await.map_err(failed)?;
            let after = self.api.customer(true).await.map_err(failed)?;
            let wrong = resets(&fields, &after);
            self.confirm(wrong, fields.len())?;
        }
        shown
    }

    /// The request's body, and what is not in it.
    fn show(
        &self,
        request: &str,
        body: &Value,
        left_out: &[Value],
        kept: &[String],
        apply: bool,
    ) -> Result<(), Exit> {
        if self.format == DocumentFormat::Json {
            return print(&pretty(&json!({
                "request": format!("POST {}", self.api.address(request)),
                "body": body, "left_out": left_out, "kept": kept, "applied": apply,
            })));
        }
        let mut text = String::new();
        if body.as_array().is_none_or(Vec::is_empty) {
            text.push_str("nothing to change\n");
        } else {
            let verb = if apply { "sending" } else { "would send" };
            text.push_str(&format!("{verb} POST {}\n{}", self.api.address(request), pretty(body)));
        }
        for entry in left_out {
            let word = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            text.push_str(&format!("left out {}={}: {}\n", word("field"), word("value"), word("why")));
        }
        for field in kept {
            text.push_str(&format!("kept     {field}: set, and no field of the defaults\n"));
        }
        if !apply && body.as_array().is_some_and(|list| !list.is_empty()) {
            text.push_str("nothing was sent; --apply sends it\n");
        }
        print(&text)
    }

    /// Says whether the account has what was sent.
    fn confirm(&self, wrong: Vec<String>, sent: usize) -> Result<(), Exit> {
        if wrong.is_empty() {
            say(&format!("the account has all {sent} changes"));
            return Ok(());
        }
        Err(Exit::Environment(format!(
            "error: the API took the request, but the account does not show it for {}\n  help: look again with `railyard ci-images diff`",
            wrong.join(", ")
        )))
    }
}

/// Fields that are set and that the defaults lack.
fn kept(overrides: &Config, defaults: &Config) -> Vec<String> {
    let fields = overrides.fields.iter().filter(|(_, value)| !value.is_null()).map(|(field, _)| field);
    fields.filter(|field| !defaults.fields.contains_key(*field)).cloned().collect()
}

fn parse_changes(texts: &[String]) -> Result<BTreeMap<String, String>, Exit> {
    let mut changes = BTreeMap::new();
    let mut problems = Vec::new();
    for text in texts {
        match text.split_once('=') {
            Some((field, image)) if !field.is_empty() => match image.parse::<Reference>() {
                Ok(reference) if reference.tag.is_none() && reference.digest.is_none() => {
                    problems.push(format!("`{text}`: the image has no tag"));
                }
                Ok(_) => {
                    if changes.insert(field.to_owned(), image.to_owned()).is_some() {
                        problems.push(format!("`{field}` is given twice"));
                    }
                }
                Err(error) => problems.push(error.to_string()),
            },
            _ => problems.push(format!("`{text}` is not FIELD=IMAGE")),
        }
    }
    if problems.is_empty() {
        return Ok(changes);
    }
    Err(Exit::Usage(format!(
        "error: {}\n  help: write e.g. `gitCloneTag=harness/drone-git:1.1.0-rootless`",
        problems.join("\n  ")
    )))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON values are printable") + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_gateway_is_found_by_harness_own_address_too() {
        for url in ["https://app.harness.io", "https://app.harness.io/", "https://app.harness.io/gateway/"] {
            assert_eq!(super::gateway(url), "https://app.harness.io/gateway");
        }
    }
}
