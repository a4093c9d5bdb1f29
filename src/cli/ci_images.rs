//! `ci-images`: the CI images of a Harness account against the defaults and the mirror.

mod change;
mod connection;
mod diff;
mod mirrored;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

pub use self::connection::{ApiArguments, facts, failed};
use self::mirrored::Mirror;
use super::exit::Exit;
use super::interrupt::interruptible;
use super::world::runtime;
use super::{DocumentFormat, ProjectArguments};
use crate::ci_images::{Config, ConfigApi, Facts};

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
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON values are printable") + "\n"
}
