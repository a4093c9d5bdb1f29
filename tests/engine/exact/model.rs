//! A random matrix as data, its text as `builds.toml`, and what it takes from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::support::fixture::{Entry, dir, file};

/// A matrix with its base images and served files. Axes, layers, images and bases are known by
/// their positions.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub axes: Vec<Axis>,
    pub layers: Vec<Layer>,
    pub images: Vec<Image>,
    pub bases: Vec<BaseImage>,
    /// Name -> content of what the file server has.
    pub served: BTreeMap<String, String>,
    /// Whether there is a cache repository.
    pub cache: bool,
}

/// An axis. A plain one has names only; the values of others have the attributes `word` and `base`.
#[derive(Debug, Clone)]
pub struct Axis {
    pub plain: bool,
    pub values: Vec<AxisValue>,
}

#[derive(Debug, Clone)]
pub struct AxisValue {
    pub name: String,
    pub word: String,
    pub base: usize,
}

/// A text with templates over axes: by name, or (`true`) by the attribute `word`.
#[derive(Debug, Clone)]
pub struct Text {
    pub word: String,
    pub axes: Vec<(usize, bool)>,
}

/// A reference to a base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseReference {
    Fixed(usize),
    OfAxis(usize),
}

#[derive(Debug, Clone)]
pub struct Layer {
    /// The layer whose files it has, under another name.
    pub twin: Option<usize>,
    pub renamed: bool,
    /// The layer is there only where the axis has this value.
    pub when: Option<(usize, String)>,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Parts(Vec<Part>),
    Run(Run),
}

#[derive(Debug, Clone)]
pub struct Run {
    pub image: BaseReference,
    pub reads: bool,
    pub comment: String,
    pub text: Text,
}

#[derive(Debug, Clone)]
pub enum Part {
    Copy {
        from: BaseReference,
        path: &'static str,
        elsewhere: bool,
    },
    /// The directory of a layer of an image of the matrix.
    CopyImage {
        image: usize,
        layer: usize,
    },
    Tool(String),
    Download(String),
    File {
        text: Text,
        mode: &'static str,
        owner: &'static str,
    },
    Dir {
        mode: &'static str,
        owner: &'static str,
    },
}

#[derive(Debug, Clone)]
pub enum Base {
    Scratch,
    Reference(BaseReference),
    Image(usize),
}

#[derive(Debug, Clone)]
pub struct Image {
    pub axes: Vec<usize>,
    /// Another image whose base, layers and configuration it has too.
    pub extends: Option<usize>,
    pub base: Base,
    pub layers: Vec<usize>,
    /// `env.NAME`, `label.NAME`, `path`, `entrypoint`.
    pub config: Vec<(String, Text)>,
    /// One point that it does not have.
    pub exclude: Option<Vec<String>>,
    /// The excluded point comes back by a row of `include`.
    pub include: bool,
    pub push: bool,
    pub two_tags: bool,
}

/// A base image: all have the same paths.
#[derive(Debug, Clone)]
pub struct BaseImage {
    pub files: BTreeMap<&'static str, BaseFile>,
    /// How many layers the files are spread over.
    pub split: usize,
    pub variable: String,
    pub shell: bool,
}

#[derive(Debug, Clone)]
pub struct BaseFile {
    pub content: String,
    pub mode: u32,
    pub time: u64,
}

/// Paths of base images that layers copy.
pub const COPIED: [&str; 4] = ["/data/a", "/data/b", "/data/a/one", "/etc/single"];
/// Files of base images, those inside of what may be copied first.
pub const FILES: [&str; 5] = ["data/a/one", "data/a/two", "data/b/three", "etc/single", "other/outside"];

impl BaseImage {
    /// Entries of each of its layers; directories are in all of them.
    pub fn layers(&self) -> Vec<Vec<Entry>> {
        let dirs = ["data", "data/a", "data/b", "etc", "other"];
        (0..self.split)
            .map(|layer| {
                let own = self.files.iter().enumerate().filter(|(at, _)| at % self.split == layer);
                let files = own.map(|(_, (path, f))| file(path, &f.content).mode(f.mode).time(f.time));
                dirs.iter().map(|path| dir(path)).chain(files).collect()
            })
            .collect()
    }
}

impl Text {
    fn render(&self, model: &Model) -> String {
        let mut text = self.word.clone();
        for (axis, attribute) in &self.axes {
            let field = if *attribute && !model.axes[*axis].plain { ".word" } else { "" };
            write!(text, "-{{{{ a{axis}{field} }}}}").unwrap();
        }
        text
    }
}

impl Layer {
    pub fn parts(&self) -> &[Part] {
        match &self.content {
            Content::Parts(parts) => parts,
            Content::Run(_) => &[],
        }
    }

    /// The axes that its templates name.
    pub fn axes(&self) -> BTreeSet<usize> {
        let mut axes: BTreeSet<usize> = self.when.iter().map(|(axis, _)| *axis).collect();
        let mut reference = |reference: &BaseReference| {
            if let BaseReference::OfAxis(axis) = reference {
                axes.insert(*axis);
            }
        };
        match &self.content {
            Content::Run(run) => reference(&run.image),
            Content::Parts(parts) => {
                for part in parts {
                    if let Part::Copy { from, .. } = part {
                        reference(from);
                    }
                }
            }
        }
        let texts = self.parts().iter().filter_map(|part| match part {
            Part::File { text, .. } => Some(text),
            _ => None,
        });
        let run = match &self.content {
            Content::Run(run) => Some(&run.text),
            Content::Parts(_) => None,
        };
        axes.extend(texts.chain(run).flat_map(|text| text.axes.iter().map(|(axis, _)| *axis)));
        axes
    }
}

impl Model {
    /// The layers of an image with those that it inherits.
    pub fn all_layers(&self, image: usize) -> Vec<usize> {
        let image = &self.images[image];
        let mut layers = image.extends.map(|parent| self.all_layers(parent)).unwrap_or_default();
        layers.extend(&image.layers);
        layers
    }

    /// Whether an image sets a field of its configuration, or inherits that by `extends`.
    pub fn sets(&self, image: usize, field: &str) -> bool {
        let image = &self.images[image];
        let own = image.config.iter().any(|(name, _)| name == field);
        own || image.extends.is_some_and(|parent| self.sets(parent, field))
    }

    /// What an image is built on, written or inherited.
    pub fn base(&self, image: usize) -> &Base {
        match self.images[image].extends {
            Some(parent) => self.base(parent),
            None => &self.images[image].base,
        }
    }

    /// How many cells an image has.
    pub fn cells(&self, image: usize) -> usize {
        let image = &self.images[image];
        let product: usize = image.axes.iter().map(|axis| self.axes[*axis].values.len()).product();
        product - usize::from(image.exclude.is_some() && !image.include)
    }

    pub fn reference(base: usize) -> String {
        format!("$REPO/base{base}:1")
    }

    /// The name of a layer in the manifest.
    pub fn layer_name(&self, layer: usize) -> String {
        format!("{}{layer}", if self.layers[layer].renamed { "renamed" } else { "l" })
    }

    fn base_template(reference: BaseReference) -> String {
        match reference {
            BaseReference::Fixed(base) => Self::reference(base),
            BaseReference::OfAxis(axis) => format!("{{{{ a{axis}.base }}}}"),
        }
    }

    /// The manifest, without what stands in every project.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if self.cache {
            text += "[cache]\nrepository = \"$REPO/cache\"\n";
        }
        for (position, axis) in self.axes.iter().enumerate() {
            let values: Vec<String> = axis.values.iter().map(|value| value.render(axis.plain)).collect();
            write!(text, "[axes.a{position}]\nvalues = [{}]\n", values.join(", ")).unwrap();
        }
        let parts = self.layers.iter().enumerate().flat_map(|(at, l)| l.parts().iter().map(move |p| (at, p)));
        for (layer, part) in parts {
            if let Part::Tool(name) = part {
                write!(text, "[tools.{name}]\nversion = \"1\"\nurls = [\"$FILES/{name}\"]\n").unwrap();
                writeln!(text, "path = \"/l{layer}/{name}\"").unwrap();
            }
        }
        for position in 0..self.layers.len() {
            self.render_layer(&mut text, position);
        }
        for position in 0..self.images.len() {
            self.render_image(&mut text, position);
        }
        text
    }

    fn render_layer(&self, text: &mut String, position: usize) {
        let layer = &self.layers[position];
        writeln!(text, "[layers.{}]", self.layer_name(position)).unwrap();
        if let Some((axis, value)) = &layer.when {
            writeln!(text, "when = {:?}", format!("a{axis} == '{value}'")).unwrap();
        }
        let parts = match &layer.content {
            Content::Parts(parts) => parts,
            Content::Run(run) => {
                let reads = if run.reads { ", reads = [\"/data/a\"]" } else { "" };
                let script = format!(
                    "# {}\nmkdir -p /l{position}\ncat /data/a/one >/l{position}/out\necho {} >>/l{position}/out\n",
                    run.comment,
                    run.text.render(self)
                );
                let image = Self::base_template(run.image);
                writeln!(
                    text,
                    "run = {{ image = {image:?}, script = {script:?}, keep = [\"/l{position}\"]{reads} }}"
                )
                .unwrap();
                return;
            }
        };
        let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (at, part) in parts.iter().enumerate() {
            let (list, item) = self.render_part(layer.twin.unwrap_or(position), at, part);
            lists.entry(list).or_default().push(item);
        }
        for (list, items) in lists {
            writeln!(text, "{list} = [{}]", items.join(", ")).unwrap();
        }
    }

    fn render_part(&self, layer: usize, at: usize, part: &Part) -> (&'static str, String) {
        match part {
            Part::Copy { from, path, elsewhere } => {
                let to = if *elsewhere { format!(", to = \"/l{layer}/c{at}\"") } else { String::new() };
                let from = Self::base_template(*from);
                ("copy", format!("{{ from = {from:?}, paths = [\"{path}\"]{to} }}"))
            }
            Part::CopyImage { image, layer: copied } => {
                let to = format!("/l{layer}/i{at}");
                ("copy", format!("{{ image = \"i{image}\", paths = [\"/l{copied}\"], to = \"{to}\" }}"))
            }
            Part::Tool(name) => ("tools", format!("\"{name}\"")),
            Part::Download(name) => {
                ("downloads", format!("{{ urls = [\"$FILES/{name}\"], path = \"/l{layer}/{name}\" }}"))
            }
            Part::File { text, mode, owner } => {
                let content = text.render(self);
                let rest = format!("mode = \"{mode}\", owner = \"{owner}\"");
                ("files", format!("{{ path = \"/l{layer}/f{at}\", content = {content:?}, {rest} }}"))
            }
            Part::Dir { mode, owner } => {
                ("dirs", format!("{{ path = \"/l{layer}/d{at}\", mode = \"{mode}\", owner = \"{owner}\" }}"))
            }
        }
    }

    fn render_image(&self, text: &mut String, position: usize) {
        let image = &self.images[position];
        let axes: Vec<String> = image.axes.iter().map(|axis| format!("\"a{axis}\"")).collect();
        writeln!(text, "[images.i{position}]\nname = \"i{position}\"\naxes = [{}]", axes.join(", ")).unwrap();
        let coordinates: Vec<String> = image.axes.iter().map(|axis| format!("-{{{{ a{axis} }}}}")).collect();
        let mut tags = vec![format!("\"t{}\"", coordinates.concat())];
        if image.two_tags {
            tags.push(format!("\"also{}\"", coordinates.concat()));
        }
        writeln!(text, "tags = [{}]", tags.join(", ")).unwrap();
        let mut layers: Vec<String> =
            image.layers.iter().map(|layer| format!("{:?}", self.layer_name(*layer))).collect();
        match image.extends {
            Some(parent) => {
                layers.insert(0, "\"...\"".into());
                writeln!(text, "extends = \"i{parent}\"").unwrap();
            }
            None => match &image.base {
                Base::Scratch => text.push_str("base = \"scratch\"\n"),
                Base::Reference(base) => writeln!(text, "base = {:?}", Self::base_template(*base)).unwrap(),
                Base::Image(base) => writeln!(text, "base = {{ image = \"i{base}\" }}").unwrap(),
            },
        }
        writeln!(text, "layers = [{}]", layers.join(", ")).unwrap();
        writeln!(text, "push = {}", image.push).unwrap();
        if let Some(point) = &image.exclude {
            let row: Vec<String> =
                image.axes.iter().zip(point).map(|(axis, value)| format!("a{axis} = \"{value}\"")).collect();
            let row = row.join(", ");
            writeln!(text, "exclude = [{{ {row} }}]").unwrap();
            if image.include {
                writeln!(text, "include = [{{ {row} }}]").unwrap();
            }
        }
        self.render_config(text, position);
    }

    fn render_config(&self, text: &mut String, position: usize) {
        let config = &self.images[position].config;
        for (field, value) in config {
            let value = value.render(self);
            match field.as_str() {
                "path" => writeln!(text, "path = [\"/{value}\"]").unwrap(),
                "entrypoint" => writeln!(text, "entrypoint = [\"/bin/sh\", \"{value}\"]").unwrap(),
                _ => {}
            }
        }
        for (prefix, table) in [("env.", "env"), ("label.", "labels")] {
            let own = config.iter().filter_map(|(field, value)| Some((field.strip_prefix(prefix)?, value)));
            let items: Vec<String> =
                own.map(|(name, value)| format!("{name} = {:?}", value.render(self))).collect();
            if !items.is_empty() {
                writeln!(text, "[images.i{position}.{table}]\n{}", items.join("\n")).unwrap();
            }
        }
    }
}

impl AxisValue {
    fn render(&self, plain: bool) -> String {
        let Self { name, word, base } = self;
        match plain {
            true => format!("\"{name}\""),
            false => {
                format!("{{ name = \"{name}\", word = \"{word}\", base = \"{}\" }}", Model::reference(*base))
            }
        }
    }
}
