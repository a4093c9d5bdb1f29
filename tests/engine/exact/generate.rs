//! Random matrices.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;
use super::model::{
    Axis, AxisValue, Base, BaseFile, BaseImage, BaseReference, COPIED, Content, FILES, Image, Layer, Model,
    Part, Run, Text,
};

/// The most cells that an image has.
const CELLS: usize = 9;
const MODES: [&str; 3] = ["0644", "0755", "0600"];
const OWNERS: [&str; 2] = ["0:0", "1001:7"];

/// A matrix; with `runs` some layers are made in containers.
pub fn model(dice: &mut Dice, runs: bool) -> Model {
    let mut model = Model { cache: dice.chance(25), ..Model::default() };
    for _ in 0..2 + dice.below(2) {
        model.bases.push(base_image(dice, runs));
    }
    for axis in 0..1 + dice.below(3) {
        let values = (0..1 + dice.below(3)).map(|at| axis_value(dice, &model, &format!("v{at}"))).collect();
        model.axes.push(Axis { plain: axis > 0 && dice.chance(60), values });
    }
    // The first layer is in every image, always; others are copied from where it lies.
    let first = vec![file(dice, Vec::new())];
    model.layers.push(Layer { twin: None, renamed: false, when: None, content: Content::Parts(first) });
    for position in 1..3 + dice.below(3) {
        let layer = layer(dice, &mut model, position);
        model.layers.push(layer);
    }
    if runs {
        for _ in 0..1 + dice.below(2) {
            let layer = run(dice, &model);
            model.layers.push(layer);
        }
    }
    for _ in 0..1 + dice.below(4) {
        image(dice, &mut model, runs);
    }
    if dice.chance(30) {
        twin(dice, &mut model);
    }
    model
}

/// An image once more, with layers that are called otherwise and have the same files.
fn twin(dice: &mut Dice, model: &mut Model) {
    let mut image = dice.pick(&model.images).expect("there are images");
    for layer in &mut image.layers {
        let own = &model.layers[*layer];
        let is_own = |part: &Part| matches!(part, Part::File { .. } | Part::Dir { .. } | Part::Copy { .. });
        if !own.parts().is_empty() && own.parts().iter().all(is_own) {
            let twin = Layer { twin: Some(*layer), ..own.clone() };
            *layer = model.layers.len();
            model.layers.push(twin);
        }
    }
    model.images.push(image);
}

fn base_image(dice: &mut Dice, shell: bool) -> BaseImage {
    let file = |dice: &mut Dice| BaseFile { content: dice.word(), mode: 0o644, time: 1_600_000_000 };
    let files: BTreeMap<&str, BaseFile> = FILES.iter().map(|path| (*path, file(dice))).collect();
    BaseImage { files, split: 1 + dice.below(3), variable: dice.word(), shell }
}

/// A value with attributes of its own.
pub fn axis_value(dice: &mut Dice, model: &Model, name: &str) -> AxisValue {
    AxisValue { name: name.to_owned(), word: dice.word(), base: dice.below(model.bases.len()) }
}

/// A text over some of these axes.
pub fn text(dice: &mut Dice, axes: &[usize]) -> Text {
    let word = dice.word();
    let axes = axes.iter().filter(|_| dice.chance(40)).map(|axis| (*axis, true)).collect::<Vec<_>>();
    Text { word, axes: axes.into_iter().map(|(axis, _)| (axis, dice.chance(60))).collect() }
}

fn file(dice: &mut Dice, axes: Vec<usize>) -> Part {
    let mode = MODES[dice.below(MODES.len())];
    Part::File { text: text(dice, &axes), mode, owner: OWNERS[dice.below(OWNERS.len())] }
}

fn base_reference(dice: &mut Dice, model: &Model, axes: &[usize]) -> BaseReference {
    let rich: Vec<usize> = axes.iter().copied().filter(|axis| !model.axes[*axis].plain).collect();
    match dice.pick(&rich) {
        Some(axis) if dice.chance(50) => BaseReference::OfAxis(axis),
        _ => BaseReference::Fixed(dice.below(model.bases.len())),
    }
}

/// A layer of parts in the order in which they stand in a table, with what it downloads.
pub fn layer(dice: &mut Dice, model: &mut Model, position: usize) -> Layer {
    let axes: Vec<usize> = (0..model.axes.len()).filter(|_| dice.chance(50)).collect();
    let mut parts = Vec::new();
    if dice.chance(60) {
        let from = base_reference(dice, model, &axes);
        parts.push(Part::Copy { from, path: COPIED[dice.below(COPIED.len())], elsewhere: dice.chance(50) });
    }
    for kind in ["tool", "download"] {
        if dice.chance(25) {
            let name = format!("{kind}{position}");
            model.served.insert(name.clone(), dice.word());
            parts.push(if kind == "tool" { Part::Tool(name) } else { Part::Download(name) });
        }
    }
    if parts.is_empty() || dice.chance(40) {
        parts.push(file(dice, axes.clone()));
    }
    if dice.chance(25) {
        parts.push(Part::Dir { mode: MODES[dice.below(2)], owner: OWNERS[dice.below(2)] });
    }
    let when = dice.pick(&axes).filter(|_| dice.chance(30));
    let when = when.map(|axis| {
        let values = &model.axes[axis].values;
        (axis, values[dice.below(values.len())].name.clone())
    });
    Layer { twin: None, renamed: false, when, content: Content::Parts(parts) }
}

fn run(dice: &mut Dice, model: &Model) -> Layer {
    let axes: Vec<usize> = (0..model.axes.len()).filter(|_| dice.chance(30)).collect();
    let image = BaseReference::Fixed(dice.below(model.bases.len()));
    let run = Run { image, reads: dice.chance(50), comment: dice.word(), text: text(dice, &axes) };
    Layer { twin: None, renamed: false, when: None, content: Content::Run(run) }
}

/// One more image, over what is there.
fn image(dice: &mut Dice, model: &mut Model, runs: bool) {
    let mut axes: Vec<usize> = (0..model.axes.len()).filter(|_| dice.chance(70)).collect();
    while axes.iter().map(|axis| model.axes[*axis].values.len()).product::<usize>() > CELLS {
        axes.pop();
    }
    let position = model.images.len();
    let within = |image: &usize| model.images[*image].axes.iter().all(|axis| axes.contains(axis));
    let upstreams: Vec<usize> = (0..position).filter(within).collect();
    let extends = dice.pick(&upstreams).filter(|_| dice.chance(35));
    let base = match dice.pick(&upstreams) {
        Some(upstream) if dice.chance(30) => Base::Image(upstream),
        _ if dice.chance(25) => Base::Scratch,
        _ => Base::Reference(base_reference(dice, model, &axes)),
    };
    let inherited: BTreeSet<usize> =
        extends.map(|parent| model.all_layers(parent)).into_iter().flatten().collect();
    let mut layers: Vec<usize> = (0..model.layers.len())
        .filter(|at| !inherited.contains(at) && usable(model, *at, &axes))
        .filter(|at| *at == 0 || dice.chance(if runs { 70 } else { 50 }))
        .collect();
    if let Some(upstream) = dice.pick(&upstreams).filter(|_| dice.chance(45)) {
        let copied = model.all_layers(upstream).into_iter().filter(|at| is_always_there(&model.layers[*at]));
        let copied: Vec<usize> = copied.collect();
        let part = Part::CopyImage { image: upstream, layer: dice.pick(&copied).unwrap_or(0) };
        layers.push(model.layers.len());
        let content = Content::Parts(vec![part]);
        model.layers.push(Layer { twin: None, renamed: false, when: None, content });
        model.images[upstream].exclude = None;
    }
    let beneath = if let Base::Image(upstream) = base { Some(upstream) } else { None };
    for upstream in [extends, beneath].into_iter().flatten() {
        model.images[upstream].exclude = None;
    }
    let config = config(dice, &axes);
    let push = dice.chance(90);
    let (two_tags, include) = (dice.chance(30), dice.chance(30));
    let exclude = dice.chance(40).then(|| point(dice, model, &axes));
    model.images.push(Image { axes, extends, base, layers, config, exclude: None, include, push, two_tags });
    if exclude.is_some() && model.cells(position) > 1 {
        model.images[position].exclude = exclude;
    }
}

/// Whether an image with these axes can have a layer that was made for others too.
fn usable(model: &Model, layer: usize, axes: &[usize]) -> bool {
    let layer = &model.layers[layer];
    let copies = layer.parts().iter().any(|part| matches!(part, Part::CopyImage { .. }));
    !copies && layer.axes().iter().all(|axis| axes.contains(axis))
}

/// Whether a layer has files in its own directory in every cell.
fn is_always_there(layer: &Layer) -> bool {
    layer.when.is_none() && layer.parts().iter().any(|part| matches!(part, Part::File { .. } | Part::Tool(_)))
}

fn point(dice: &mut Dice, model: &Model, axes: &[usize]) -> Vec<String> {
    axes.iter().map(|axis| dice.pick(&model.axes[*axis].values).expect("axes have values").name).collect()
}

fn config(dice: &mut Dice, axes: &[usize]) -> Vec<(String, Text)> {
    let fields = [("env.ONE", 60), ("env.TWO", 30), ("label.mark", 30), ("path", 30), ("entrypoint", 30)];
    let mut config = Vec::new();
    for (field, percent) in fields {
        if dice.chance(percent) {
            config.push((field.to_owned(), text(dice, axes)));
        }
    }
    config
}

/// Another one of the modes or owners.
pub fn other(dice: &mut Dice, now: &'static str) -> &'static str {
    let all: &[&'static str] = if MODES.contains(&now) { &MODES } else { &OWNERS };
    let others: Vec<&'static str> = all.iter().copied().filter(|text| *text != now).collect();
    others[dice.below(others.len())]
}
