//! One random change, and what reasons for it look like.

use super::dice::Dice;
use super::generate::{axis_value, layer, other, text};
use super::model::{Base, BaseReference, Content, FILES, Model, Part};

/// Kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Content,
    Metadata,
    Config,
    ValueAdded,
    ValueRemoved,
    Attribute,
    AttributeBase,
    LayerAdded,
    LayerRemoved,
    LayerRenamed,
    Download,
    BaseFile,
    BaseOutside,
    BaseTime,
    BaseVariable,
    BaseSplit,
    TagDeleted,
    TagMoved,
    TagForeign,
    Comment,
}

impl Kind {
    /// What a matrix without containers can have.
    pub const PARTS: [Self; 19] = [
        Self::Content,
        Self::BaseFile,
        Self::Config,
        Self::ValueAdded,
        Self::BaseOutside,
        Self::Download,
        Self::LayerAdded,
        Self::BaseSplit,
        Self::Attribute,
        Self::TagDeleted,
        Self::Metadata,
        Self::ValueRemoved,
        Self::BaseTime,
        Self::LayerRemoved,
        Self::TagMoved,
        Self::AttributeBase,
        Self::BaseVariable,
        Self::TagForeign,
        Self::LayerRenamed,
    ];
    /// What is worth a container.
    pub const RUNS: [Self; 6] =
        [Self::Comment, Self::BaseFile, Self::BaseOutside, Self::Content, Self::BaseTime, Self::BaseSplit];

    /// Whether the lock has to be told.
    pub fn needs_update(self) -> bool {
        self.moves_base() || self == Self::Download
    }

    /// Whether a base image moves.
    pub fn moves_base(self) -> bool {
        matches!(
            self,
            Self::BaseFile | Self::BaseOutside | Self::BaseTime | Self::BaseVariable | Self::BaseSplit
        )
    }

    /// Codes of reasons that it may be given.
    pub fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Content | Self::Metadata | Self::Comment => &["layer-changed"],
            Self::Config => &["config-changed"],
            Self::ValueAdded => &["version-added"],
            Self::ValueRemoved => &[],
            Self::Attribute => &["layer-changed", "config-changed"],
            Self::AttributeBase => {
                &["base-changed", "layer-changed", "layer-added", "layer-removed", "config-changed"]
            }
            Self::LayerAdded => &["layer-added"],
            Self::LayerRemoved => &["layer-removed"],
            Self::LayerRenamed => &["layer-added", "layer-removed"],
            Self::Download => &["tool-moved"],
            Self::TagDeleted => &["tag-deleted"],
            Self::TagMoved => &["tag-moved"],
            Self::TagForeign => &["foreign"],
            _ => &["base-moved", "source-moved"],
        }
    }
}

/// A change that was made.
#[derive(Debug, Clone)]
pub struct Change {
    pub kind: Kind,
    /// A reason mentions one of these.
    pub subjects: Vec<String>,
    /// The same change as `plan --if` says it.
    pub suppose: Option<String>,
    /// What it was, for people.
    pub text: String,
}

impl Change {
    fn new(kind: Kind, subjects: Vec<String>) -> Self {
        let text = format!("{kind:?} of {}", subjects.join(", "));
        Self { kind, subjects, suppose: None, text }
    }

    fn supposed(mut self, suppose: String) -> Self {
        self.suppose = Some(suppose);
        self
    }
}

/// Makes a change of this kind; `None` where the matrix has nothing to change so. Tags are not in a
/// matrix: they are tampered with where it is built.
pub fn change(kind: Kind, model: &mut Model, dice: &mut Dice) -> Option<Change> {
    match kind {
        Kind::Content => content(model, dice),
        Kind::Comment => comment(model, dice),
        Kind::Metadata => metadata(model, dice),
        Kind::Config => config(model, dice),
        Kind::ValueAdded => value_added(model, dice),
        Kind::ValueRemoved => value_removed(model, dice),
        Kind::Attribute | Kind::AttributeBase => attribute(kind, model, dice),
        Kind::LayerAdded => layer_added(model, dice),
        Kind::LayerRemoved => layer_removed(model, dice),
        Kind::LayerRenamed => layer_renamed(model, dice),
        Kind::Download => download(model, dice),
        Kind::TagDeleted | Kind::TagMoved | Kind::TagForeign => Some(Change::new(kind, Vec::new())),
        _ => base(kind, model, dice),
    }
}

fn used(model: &Model) -> Vec<usize> {
    let mut layers: Vec<usize> = (0..model.images.len()).flat_map(|image| model.all_layers(image)).collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

fn layer_name(layer: usize) -> String {
    format!("l{layer}")
}

fn content(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let has_text = |layer: &usize| match &model.layers[*layer].content {
        Content::Run(_) => true,
        Content::Parts(parts) => parts.iter().any(|part| matches!(part, Part::File { .. })),
    };
    let layers: Vec<usize> = used(model).into_iter().filter(has_text).collect();
    let runs = layers.iter().copied().filter(|at| matches!(model.layers[*at].content, Content::Run(_)));
    let runs: Vec<usize> = runs.collect();
    let picked = dice.pick(if runs.is_empty() { &layers } else { &runs })?;
    let word = dice.word();
    match &mut model.layers[picked].content {
        Content::Run(run) => run.text.word = word,
        Content::Parts(parts) => {
            let file = parts.iter_mut().find_map(|part| match part {
                Part::File { text, .. } => Some(text),
                _ => None,
            });
            file?.word = word;
        }
    }
    Some(Change::new(Kind::Content, vec![layer_name(picked)]))
}

fn comment(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let is_run = |layer: &usize| matches!(model.layers[*layer].content, Content::Run(_));
    let layers: Vec<usize> = used(model).into_iter().filter(is_run).collect();
    let picked = dice.pick(&layers)?;
    if let Content::Run(run) = &mut model.layers[picked].content {
        run.comment = dice.word();
    }
    Some(Change::new(Kind::Comment, vec![layer_name(picked)]))
}

fn metadata(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let mut places = Vec::new();
    for layer in used(model) {
        for (at, part) in model.layers[layer].parts().iter().enumerate() {
            if matches!(part, Part::File { .. } | Part::Dir { .. }) {
                places.push((layer, at));
            }
        }
    }
    let (layer, at) = dice.pick(&places)?;
    let Content::Parts(parts) = &mut model.layers[layer].content else { return None };
    if let Part::File { mode, owner, .. } | Part::Dir { mode, owner } = &mut parts[at] {
        let changed = if dice.chance(50) { mode } else { owner };
        *changed = other(dice, changed);
    }
    Some(Change::new(Kind::Metadata, vec![layer_name(layer)]))
}

fn config(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let with: Vec<usize> =
        (0..model.images.len()).filter(|at| !model.images[*at].config.is_empty()).collect();
    let image = dice.pick(&with)?;
    let config = &mut model.images[image].config;
    let at = dice.below(config.len());
    config[at].1.word = dice.word();
    Some(Change::new(Kind::Config, vec![config[at].0.clone()]))
}

fn used_axes(model: &Model) -> Vec<usize> {
    (0..model.axes.len()).filter(|axis| model.images.iter().any(|image| image.axes.contains(axis))).collect()
}

fn value_added(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let axis = dice.pick(&used_axes(model))?;
    let value = axis_value(dice, model, "vnew");
    model.axes[axis].values.push(value);
    let change = Change::new(Kind::ValueAdded, vec![format!("a{axis} vnew")]);
    Some(if model.axes[axis].plain { change.supposed(format!("axis=a{axis}+vnew")) } else { change })
}

fn value_removed(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let named = |axis: usize, name: &String| {
        model.images.iter().any(|image| {
            let point = image.exclude.iter().flat_map(|point| image.axes.iter().zip(point));
            point.into_iter().any(|(a, value)| *a == axis && value == name)
        })
    };
    let mut removable = Vec::new();
    for axis in used_axes(model).into_iter().filter(|axis| model.axes[*axis].values.len() > 1) {
        for (at, value) in model.axes[axis].values.iter().enumerate() {
            if !named(axis, &value.name) {
                removable.push((axis, at));
            }
        }
    }
    let (axis, at) = dice.pick(&removable)?;
    let value = model.axes[axis].values.remove(at);
    if (0..model.images.len()).any(|image| model.cells(image) == 0) {
        model.axes[axis].values.insert(at, value);
        return None;
    }
    let change = Change::new(Kind::ValueRemoved, vec![format!("a{axis} {}", value.name)]);
    Some(change.supposed(format!("axis=a{axis}-{}", value.name)))
}

fn attribute(kind: Kind, model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let rich: Vec<usize> = used_axes(model).into_iter().filter(|axis| !model.axes[*axis].plain).collect();
    let axis = dice.pick(&rich)?;
    let layers = used(model).into_iter().filter(|layer| model.layers[*layer].axes().contains(&axis));
    let mut subjects: Vec<String> = layers.map(layer_name).collect();
    let bases = model.bases.len();
    let at = dice.below(model.axes[axis].values.len());
    let value = &mut model.axes[axis].values[at];
    if kind == Kind::AttributeBase {
        value.base = (value.base + 1 + dice.below(bases - 1)) % bases;
        subjects.push(Model::reference(value.base));
        // Copies from what is the cell's own base now, or was, come and go.
        subjects.extend(used(model).into_iter().map(layer_name));
    } else {
        value.word = dice.word();
        subjects.push(value.word.clone());
    }
    Some(Change::new(kind, subjects))
}

fn layer_added(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let position = model.layers.len();
    let mut added = layer(dice, model, position);
    let images: Vec<usize> = (0..model.images.len()).collect();
    let image = dice.pick(&images)?;
    if !added.axes().iter().all(|axis| model.images[image].axes.contains(axis)) {
        let text = text(dice, &model.images[image].axes.clone());
        let file = Part::File { text, mode: "0644", owner: "0:0" };
        added.when = None;
        added.content = Content::Parts(vec![file]);
    }
    model.layers.push(added);
    let at = dice.below(model.images[image].layers.len() + 1);
    model.images[image].layers.insert(at, position);
    Some(Change::new(Kind::LayerAdded, vec![layer_name(position)]))
}

fn layer_removed(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let copied = |layer: usize| {
        let parts = model.layers.iter().flat_map(|l| l.parts());
        parts.into_iter().any(|part| matches!(part, Part::CopyImage { layer: it, .. } if *it == layer))
    };
    let mut removable = Vec::new();
    for (image, own) in model.images.iter().enumerate() {
        let layers = own.layers.iter().enumerate().filter(|(_, layer)| **layer != 0 && !copied(**layer));
        removable.extend(layers.map(|(at, _)| (image, at)));
    }
    let (image, at) = dice.pick(&removable)?;
    let layer = model.images[image].layers.remove(at);
    Some(Change::new(Kind::LayerRemoved, vec![layer_name(layer)]))
}

fn layer_renamed(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let picked = dice.pick(&used(model))?;
    let before = model.layer_name(picked);
    model.layers[picked].renamed = true;
    Some(Change::new(Kind::LayerRenamed, vec![before, model.layer_name(picked)]))
}

fn download(model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let mut names = Vec::new();
    for layer in used(model) {
        names.extend(model.layers[layer].parts().iter().filter_map(|part| match part {
            Part::Tool(name) => Some((name.clone(), name.clone(), true)),
            // A download has no name of its own.
            Part::Download(name) => Some((name.clone(), layer_name(layer), false)),
            _ => None,
        }));
    }
    let (name, subject, is_tool) = dice.pick(&names)?;
    let content = dice.word();
    let sha256 = crate::support::registry::sha256(content.as_bytes());
    model.served.insert(name.clone(), content);
    let change = Change::new(Kind::Download, vec![subject]);
    Some(if is_tool { change.supposed(format!("tool={name}@{sha256}")) } else { change })
}

/// Positions of the base images that the matrix takes something from.
fn used_bases(model: &Model) -> Vec<usize> {
    let mut references = Vec::new();
    for image in 0..model.images.len() {
        if let Base::Reference(reference) = model.base(image) {
            references.push(*reference);
        }
        for layer in model.all_layers(image) {
            match &model.layers[layer].content {
                Content::Run(run) => references.push(run.image),
                Content::Parts(parts) => references.extend(parts.iter().filter_map(|part| match part {
                    Part::Copy { from, .. } => Some(*from),
                    _ => None,
                })),
            }
        }
    }
    let mut bases: Vec<usize> = references
        .into_iter()
        .flat_map(|reference| match reference {
            BaseReference::Fixed(base) => vec![base],
            BaseReference::OfAxis(axis) => model.axes[axis].values.iter().map(|value| value.base).collect(),
        })
        .collect();
    bases.sort_unstable();
    bases.dedup();
    bases
}

fn base(kind: Kind, model: &mut Model, dice: &mut Dice) -> Option<Change> {
    let at = dice.pick(&used_bases(model))?;
    let base = &mut model.bases[at];
    let inside = FILES[dice.below(FILES.len() - 1)];
    let path = if kind == Kind::BaseOutside { FILES[FILES.len() - 1] } else { inside };
    let file = base.files.get_mut(path)?;
    match kind {
        Kind::BaseFile if dice.chance(30) => file.mode = 0o600,
        Kind::BaseTime => file.time += 60,
        Kind::BaseVariable => base.variable = dice.word(),
        Kind::BaseSplit => base.split = base.split % 3 + 1,
        _ => file.content = dice.word(),
    }
    let reference = Model::reference(at);
    let mut change = Change::new(kind, vec![reference.clone()]);
    if kind == Kind::BaseFile || kind == Kind::BaseTime {
        change.text += &format!(", {path}");
    }
    Some(change.supposed(format!("base={reference}")))
}
