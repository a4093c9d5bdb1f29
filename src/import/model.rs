//! What a pipeline's images are made of, in the words of a manifest.

/// A manifest in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub name: String,
    /// Push prefix, and the image's name below it.
    pub repository: String,
    pub image: String,
    /// The pipeline's variable that holds the base.
    pub base: String,
    /// Rows of the axis `runtime`: name, base, attributes.
    pub rows: Vec<Row>,
    /// Other axes: name, values.
    pub axes: Vec<(String, Vec<String>)>,
    /// Variables: name, value.
    pub vars: Vec<(String, String)>,
    pub tools: Vec<Tool>,
    pub layers: Vec<Layer>,
    /// Commands that are not understood, taken as they are.
    pub setup: Vec<Setup>,
    pub images: Vec<Image>,
    pub memory: Option<String>,
    pub cpus: Option<String>,
    pub timeout: Option<String>,
    pub checks: Vec<(String, String, Option<String>)>,
    pub outputs: Vec<(String, String)>,
}

/// A row of the axis `runtime`.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub name: String,
    pub base: String,
    pub attributes: Vec<(String, String)>,
}

/// A command on the base.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub user: Option<String>,
    pub env: Vec<(String, String)>,
    pub script: String,
    /// Only in the second image.
    pub extended: bool,
}

/// A tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tool {
    pub name: String,
    pub urls: Vec<String>,
    pub path: String,
    pub member: Option<String>,
    /// Octal, four digits.
    pub mode: String,
}

/// A layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub name: String,
    pub content: Content,
    /// Only in the second image.
    pub extended: bool,
}

/// What makes a layer.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// From, paths, whether they are made executable.
    Copy {
        from: String,
        paths: Vec<String>,
        executable: bool,
    },
    Tool(String),
    Directories(Vec<(String, Option<String>)>),
    /// Builder, script, kept paths.
    Run {
        image: String,
        script: String,
        keep: Vec<String>,
        reads: Option<String>,
    },
}

/// An image; the second extends the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub id: String,
    pub axes: Vec<String>,
    pub tag: String,
    pub env: Vec<(String, String)>,
    pub path: Vec<String>,
    pub user: Option<String>,
    pub entrypoint: Option<String>,
}
