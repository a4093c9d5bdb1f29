//! Names that are used: are they defined, are they used once.

use std::collections::BTreeMap;

use crate::manifest::decode::{INHERITED, RawImage};
use crate::manifest::nearest::did_you_mean;
use crate::manifest::{
    ABI_CHECK, Copy, Diagnostic, Diagnostics, ImageSource, LayerContent, Located, Location, Manifest, Part,
};

/// Checks every use of a name; lists as they are written, so that a mistake is reported once.
pub(in crate::manifest) fn names(manifest: &Manifest, raw: &[RawImage], problems: &mut Diagnostics) {
    let axes = Known::new("axis", "axes", "unknown-axis", manifest.axes.iter().map(|a| &a.name));
    let tools = Known::new("tool", "tools", "unknown-tool", manifest.tools.iter().map(|t| &t.name));
    let layers = Known::new("layer", "layers", "unknown-layer", manifest.layers.iter().map(|l| &l.name));
    let images = Known::new("image", "images", "unknown-image", manifest.images.iter().map(|i| &i.id));
    let checks = Known::new("check", "checks", "unknown-check", manifest.checks.iter().map(|c| &c.name))
        .built_in(ABI_CHECK);

    for layer in &manifest.layers {
        match &layer.content {
            LayerContent::Run(run) => images.source(&run.image, problems),
            LayerContent::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Copy(Copy { from, .. }) => images.source(from, problems),
                        Part::Tool(used) if used.tool.is_literal() => {
                            tools.check(&Located::new(used.tool.text.clone(), used.tool.at), problems);
                        }
                        Part::Tool(_) => {}
                        Part::Download(_) | Part::File(_) | Part::Dir(_) => {}
                    }
                }
            }
        }
    }
    for image in manifest.rules.iter().flat_map(|rule| rule.images.iter().flatten()) {
        images.check(image, problems);
    }
    for image in raw {
        for axis in image.axes.iter().flatten() {
            axes.check(axis, problems);
        }
        once(&axes, &image.id, image.axes.as_deref().unwrap_or_default(), problems);
        if let Some((source, _)) = &image.base {
            images.source(source, problems);
        }
        for (_, source) in image.dockerfile.iter().flat_map(|made| &made.contexts) {
            images.source(source, problems);
        }
        for (known, list) in [(&layers, &image.layers), (&checks, &image.checks)] {
            for name in list.iter().flatten() {
                if name.value == INHERITED {
                    inherited(image, known, name, problems);
                } else {
                    known.check(name, problems);
                }
            }
        }
    }
    for (image, raw) in manifest.images.iter().zip(raw) {
        once(&layers, &image.id, &image.layers, problems);
        once(&checks, &image.id, &image.checks, problems);
        for list in [&raw.layers, &raw.checks] {
            let dots: Vec<_> = list.iter().flatten().filter(|name| name.value == INHERITED).collect();
            if let (Some(_), [first, second, ..]) = (&raw.extends, dots.as_slice()) {
                problems.push(
                    Diagnostic::new("inherited-twice", second.at, "`\"...\"` stands twice in one list")
                        .label("again here")
                        .also(first.at, "first here")
                        .help("keep one"),
                );
            }
        }
    }
}

fn inherited(image: &RawImage, known: &Known<'_>, name: &Located<String>, problems: &mut Diagnostics) {
    if image.extends.is_none() {
        let message = format!("image `{}` extends no other, so `\"...\"` stands for nothing", image.id.value);
        problems.push(
            Diagnostic::new("nothing-inherited", name.at, message)
                .label(format!("no {} to inherit", known.many))
                .help("add `extends = \"image\"`, or remove `\"...\"`"),
        );
    }
}

/// Reports names that stand twice in a list.
fn once(known: &Known<'_>, image: &Located<String>, list: &[Located<String>], problems: &mut Diagnostics) {
    let mut seen: BTreeMap<&str, Location> = BTreeMap::new();
    for name in list.iter().filter(|name| name.value != INHERITED) {
        if let Some(first) = seen.insert(&name.value, name.at) {
            // Inherited twice by a doubled `"..."`, which is reported itself.
            if first == name.at {
                continue;
            }
            let message = format!("image `{}` lists {} `{}` twice", image.value, known.one, name.value);
            problems.push(
                Diagnostic::new(known.twice(), name.at, message)
                    .label("again here")
                    .also(first, "first here")
                    .help(match known.one {
                        "axis" => "remove one",
                        _ => "remove one; `\"...\"` already holds what is inherited",
                    }),
            );
        }
    }
}

/// The names of one kind that are defined.
pub(super) struct Known<'a> {
    one: &'static str,
    many: &'static str,
    code: &'static str,
    names: Vec<&'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn new(
        one: &'static str,
        many: &'static str,
        code: &'static str,
        names: impl Iterator<Item = &'a Located<String>>,
    ) -> Self {
        Self { one, many, code, names: names.map(|name| name.value.as_str()).collect() }
    }

    /// A name that needs no definition.
    fn built_in(mut self, name: &'a str) -> Self {
        self.names.push(name);
        self
    }

    fn twice(&self) -> &'static str {
        match self.one {
            "axis" => "duplicate-axis",
            "layer" => "duplicate-layer",
            _ => "duplicate-check",
        }
    }

    pub(super) fn check(&self, name: &Located<String>, problems: &mut Diagnostics) {
        if self.names.contains(&name.value.as_str()) {
            return;
        }
        problems.push(
            Diagnostic::new(self.code, name.at, format!("there is no {} `{}`", self.one, name.value))
                .label("not defined")
                .help(did_you_mean(&name.value, self.names.iter().copied(), self.many)),
        );
    }

    fn source(&self, source: &ImageSource, problems: &mut Diagnostics) {
        if let ImageSource::Matrix(name) = source {
            self.check(name, problems);
        }
    }
}
