//! The manifest as it is written: names resolved, templates not yet rendered.

mod axis;
mod check;
mod download;
mod image;
mod layer;
mod mirror;
mod mode;
mod project;
mod rule;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::axis::*;
pub use self::check::*;
pub use self::download::*;
pub use self::image::*;
pub use self::layer::*;
pub use self::mirror::*;
pub use self::mode::*;
pub use self::project::*;
pub use self::rule::*;
use super::{Located, Location, Sources};

/// A text that may hold `{{ … }}`; rendered once per distinct set of axis values it mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// Where the string stands (with its quotes).
    pub at: Location,
}

impl Template {
    /// Whether the text has nothing to render.
    pub fn is_literal(&self) -> bool {
        !self.text.contains("{{") && !self.text.contains("{%") && !self.text.contains("{#")
    }
}

/// A condition: a template expression without braces, e.g. `runtime.family == "node"`.
pub type Condition = Template;

/// Everything that `builds.toml` and its imports say.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The texts, for diagnostics.
    pub sources: Sources,
    /// `[project]`.
    pub project: Project,
    /// `[cache]`: where records and blobs of steps are shared between machines; may use `vars`.
    pub cache: Option<Template>,
    /// `[vars]`: `{{ vars.NAME }}` in every template; `--var` and `--vars` override.
    pub vars: BTreeMap<String, Located<String>>,
    /// `[registries."host"]`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[axes.*]` in order of declaration.
    pub axes: Vec<Axis>,
    /// `[tools.*]` in order of declaration.
    pub tools: Vec<Tool>,
    /// `[layers.*]` in order of declaration.
    pub layers: Vec<Layer>,
    /// `[images.*]` in order of declaration, `extends` and `"..."` already applied.
    pub images: Vec<Image>,
    /// `[checks.*]` in order of declaration.
    pub checks: Vec<Check>,
    /// `[[rules]]` in order of declaration.
    pub rules: Vec<Rule>,
    /// `[mirrors.*]` in order of declaration.
    pub mirrors: Vec<Mirror>,
}

/// A duration as written in a manifest: `90s`, `30m`, `1h30m`.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    super::values::duration(text).map_err(|fault| format!("{}; {}", fault.message, fault.help))
}
