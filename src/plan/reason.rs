//! Why a cell is not current: the difference between what went into it and what goes in now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::action::Anew;
use super::ingredients::{DOCKERFILE_FIELD, Ingredients, Input, InputKind, LayerIngredient};
use super::named::named;
use crate::oci::Digest;

named! {
    /// How a cell's image stands to its tags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum Status {
        /// Every tag has the image that the manifest and the lock describe.
        Current = "current",
        /// A tag has an earlier image.
        Stale = "stale",
        /// A tag is not there.
        Missing = "missing",
        /// A tag has an image that railyard did not make.
        Foreign = "foreign",
        /// It is not pushed, and is not built.
        Unbuilt = "unbuilt",
    }
}

/// How a cell stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellView {
    /// In a word.
    pub status: Status,
    /// Digest of the image that it should have, where that is known without building.
    pub expected: Option<Digest>,
    /// Its tags.
    pub tags: Vec<TagView>,
    /// Why it is not current.
    pub reasons: Vec<Reason>,
}

/// What a tag has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagView {
    /// The tag.
    pub reference: String,
    /// What it has; `None` where it is not there.
    pub digest: Option<Digest>,
}

named! {
    /// Kinds of reasons.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum ReasonCode {
        /// No image of it was ever seen.
        NeverBuilt = "never-built",
        /// A value is new on an axis.
        VersionAdded = "version-added",
        /// The base has another digest.
        BaseMoved = "base-moved",
        /// The manifest names another base.
        BaseChanged = "base-changed",
        /// A layer is defined otherwise.
        LayerChanged = "layer-changed",
        /// A layer is new.
        LayerAdded = "layer-added",
        /// A layer is gone.
        LayerRemoved = "layer-removed",
        /// An image that a layer is copied from, or runs in, has moved in what counts.
        SourceMoved = "source-moved",
        /// A download has another content or version.
        ToolMoved = "tool-moved",
        /// A cell that this one builds on or copies from has changed.
        UpstreamChanged = "upstream-changed",
        /// A step on the base is defined otherwise.
        SetupChanged = "setup-changed",
        /// The configuration is another.
        ConfigChanged = "config-changed",
        /// The Dockerfile, its context, arguments or target are others.
        DockerfileChanged = "dockerfile-changed",
        /// Railyard itself makes it otherwise now.
        RailyardChanged = "railyard-changed",
        /// A result is older than `max_age`.
        TooOld = "too-old",
        /// Asked for by `--force`.
        Forced = "forced",
        /// A tag that had the image has another now.
        TagMoved = "tag-moved",
        /// A tag must not move, and would: the build will be refused.
        TagFixed = "tag-fixed",
        /// A tag that was there is gone.
        TagDeleted = "tag-deleted",
        /// Its inputs are as they were, but no record of its layers is at hand.
        Unrecorded = "unrecorded",
        /// Railyard did not make what the tag has.
        Foreign = "foreign",
    }
}

/// Why a cell is not current.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// Its kind.
    pub code: ReasonCode,
    /// What it is about: a reference, a layer, a tool, a field.
    pub subject: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

impl Reason {
    /// A reason without old and new.
    pub fn new(code: ReasonCode, subject: impl Into<String>) -> Self {
        Self { code, subject: subject.into(), old: None, new: None }
    }

    /// With what it was and is.
    #[must_use]
    pub fn moved(mut self, old: Option<String>, new: Option<String>) -> Self {
        (self.old, self.new) = (old, new);
        self
    }

    /// Of a step that runs again though its result is known.
    pub fn anew(anew: Anew, subject: &str) -> Self {
        let days = |seconds: u64| format!("{:.1} days", seconds as f64 / 86_400.0);
        match anew {
            Anew::Forced => Self::new(ReasonCode::Forced, subject),
            Anew::TooOld { age, max_age } => Self::new(ReasonCode::TooOld, subject)
                .moved(Some(age.map_or_else(|| "unknown age".to_owned(), days)), Some(days(max_age))),
        }
    }
}

/// Digests as people compare them.
fn short(text: &str) -> &str {
    match text.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 => &text[..text.len() - 52],
        _ => text,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.name())?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, ": {} -> {}", short(old), short(new)),
            (Some(old), None) => write!(f, ": was {}", short(old)),
            (None, Some(new)) => write!(f, ": now {}", short(new)),
            (None, None) => Ok(()),
        }
    }
}

/// What is different between what went into an image and what goes in now; empty when nothing is.
pub fn differences(old: &Ingredients, new: &Ingredients) -> Vec<Reason> {
    let mut reasons = BTreeSet::new();
    base(&mut reasons, old.base.as_ref(), new.base.as_ref());
    setup(&mut reasons, old, new);
    layers(&mut reasons, &old.layers, &new.layers);
    config(&mut reasons, &old.config, &new.config);
    if reasons.is_empty() && old.build_id != new.build_id {
        reasons.insert(Reason::new(ReasonCode::RailyardChanged, ""));
    }
    reasons.into_iter().collect()
}

fn base(reasons: &mut BTreeSet<Reason>, old: Option<&Input>, new: Option<&Input>) {
    match (old, new) {
        (Some(old), Some(new)) if (old.kind, &old.name) == (new.kind, &new.name) => {
            if old.identity != new.identity {
                let code = match new.kind {
                    InputKind::Cell => ReasonCode::UpstreamChanged,
                    _ => ReasonCode::BaseMoved,
                };
                reasons.insert(Reason::new(code, &new.name).moved(digest(old), digest(new)));
            }
        }
        (None, None) => {}
        (old, new) => {
            let name = |input: Option<&Input>| Some(input.map_or("scratch", |i| &i.name).to_owned());
            reasons.insert(Reason::new(ReasonCode::BaseChanged, "").moved(name(old), name(new)));
        }
    }
}

fn digest(input: &Input) -> Option<String> {
    Some(input.digest.map_or_else(|| "not locked yet".to_owned(), |d| d.to_string()))
}

fn setup(reasons: &mut BTreeSet<Reason>, old: &Ingredients, new: &Ingredients) {
    let longest = old.setup.len().max(new.setup.len());
    for position in 0..longest {
        let (old, new) = (old.setup.get(position), new.setup.get(position));
        if old.map(|s| s.definition) != new.map(|s| s.definition) {
            let script = new.or(old).map_or("", |s| s.script.as_str());
            let line = script.lines().next().unwrap_or("").to_owned();
            reasons.insert(Reason::new(ReasonCode::SetupChanged, format!("step {}: {line}", position + 1)));
        }
    }
}

fn layers(reasons: &mut BTreeSet<Reason>, old: &[LayerIngredient], new: &[LayerIngredient]) {
    let by_name = |layers: &[LayerIngredient]| -> BTreeMap<(String, usize), usize> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for (position, layer) in layers.iter().enumerate() {
            let turn = seen.entry(layer.name.as_str()).or_default();
            found.insert((layer.name.clone(), *turn), position);
            *turn += 1;
        }
        found
    };
    let (olds, news) = (by_name(old), by_name(new));
    for name in olds.keys().filter(|name| !news.contains_key(name)) {
        reasons.insert(Reason::new(ReasonCode::LayerRemoved, &name.0));
    }
    for name in news.keys().filter(|name| !olds.contains_key(name)) {
        reasons.insert(Reason::new(ReasonCode::LayerAdded, &name.0));
    }
    let common = |layers: &BTreeMap<(String, usize), usize>, others: &BTreeMap<(String, usize), usize>| {
        let mut names: Vec<(usize, (String, usize))> = layers
            .iter()
            .filter(|(name, _)| others.contains_key(name))
            .map(|(name, position)| (*position, name.clone()))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    if common(&olds, &news) != common(&news, &olds) {
        reasons.insert(Reason::new(ReasonCode::LayerChanged, "order"));
    }
    for (name, position) in &news {
        if let Some(was) = olds.get(name) {
            layer(reasons, &old[*was], &new[*position]);
        }
    }
}

/// What is different between what went into a layer and what goes in now.
pub fn layer_differences(old: &LayerIngredient, new: &LayerIngredient) -> Vec<Reason> {
    let mut reasons = BTreeSet::new();
    layer(&mut reasons, old, new);
    reasons.into_iter().collect()
}

fn layer(reasons: &mut BTreeSet<Reason>, old: &LayerIngredient, new: &LayerIngredient) {
    if old.key == new.key {
        return;
    }
    let before = reasons.len();
    if old.definition != new.definition || old.inputs.len() != new.inputs.len() {
        reasons.insert(Reason::new(ReasonCode::LayerChanged, &new.name));
    }
    for (was, is) in old.inputs.iter().zip(&new.inputs) {
        if was.identity != is.identity {
            reasons.insert(input(was, is, &new.name));
        }
    }
    if reasons.len() == before && reasons.is_empty() {
        reasons.insert(Reason::new(ReasonCode::RailyardChanged, &new.name));
    }
}

fn input(was: &Input, is: &Input, layer: &str) -> Reason {
    let same = (was.kind, &was.name) == (is.kind, &is.name);
    match is.kind {
        InputKind::Download if same && was.url != is.url => {
            Reason::new(ReasonCode::ToolMoved, &is.name).moved(was.url.clone(), is.url.clone())
        }
        InputKind::Download if same => {
            Reason::new(ReasonCode::ToolMoved, &is.name).moved(digest(was), digest(is))
        }
        InputKind::Cell if same => {
            Reason::new(ReasonCode::UpstreamChanged, &is.name).moved(digest(was), digest(is))
        }
        InputKind::Image | InputKind::Layout if same => {
            Reason::new(ReasonCode::SourceMoved, &is.name).moved(digest(was), digest(is))
        }
        _ => {
            Reason::new(ReasonCode::LayerChanged, layer).moved(Some(was.name.clone()), Some(is.name.clone()))
        }
    }
}

fn config(reasons: &mut BTreeSet<Reason>, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
    let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for field in fields {
        let (was, is) = (old.get(field), new.get(field));
        if was != is {
            let (code, subject) = match field.strip_prefix(DOCKERFILE_FIELD) {
                Some(part) => (ReasonCode::DockerfileChanged, part),
                None => (ReasonCode::ConfigChanged, field.as_str()),
            };
            reasons.insert(Reason::new(code, subject).moved(was.cloned(), is.cloned()));
        }
    }
}
