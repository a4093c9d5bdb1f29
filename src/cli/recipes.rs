//! Reads the Dockerfiles that cells are made by, and their contexts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dockerfile::{Context, Ignore, Name, Settings, UseKind, parse, read_context};
use crate::manifest::{Diagnostic, Diagnostics, FileId, Location, Sources};
use crate::matrix::{ConcreteDockerfile, Matrix, Recipe, Source};

/// Reads all that a matrix names; each file and directory once.
///
/// # Errors
/// Every mistake in a Dockerfile, at its place, and what cannot be read.
pub fn read_recipes(matrix: &mut Matrix, sources: &mut Sources, directory: &Path) -> Result<(), Diagnostics> {
    let platform = matrix.platform.to_string();
    let mut reader = Reader {
        sources,
        directory,
        platform: &platform,
        texts: HashMap::new(),
        contexts: HashMap::new(),
        problems: Diagnostics::default(),
    };
    for made in &mut matrix.dockerfiles {
        made.recipe = reader.recipe(made).map(Arc::new);
    }
    let mut problems = reader.problems;
    problems.sort();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

struct Reader<'a> {
    sources: &'a mut Sources,
    directory: &'a Path,
    platform: &'a str,
    texts: HashMap<PathBuf, FileId>,
    contexts: HashMap<(PathBuf, PathBuf), Arc<Context>>,
    problems: Diagnostics,
}

impl Reader<'_> {
    fn problem(&mut self, at: Location, message: String, help: &str) {
        self.problems.push(Diagnostic::new("dockerfile", at, message).label("named here").help(help));
    }

    fn recipe(&mut self, made: &ConcreteDockerfile) -> Option<Recipe> {
        let spec = &made.spec;
        let root = self.directory.join(&spec.context);
        if !root.is_dir() {
            let message = format!("the context `{}` is no directory", root.display());
            self.problem(made.at, message, "correct `context`: it is relative to the manifest");
            return None;
        }
        let path = root.join(&spec.file);
        let file = self.text(&path, made.at)?;
        let text = self.sources.text(file).to_owned();
        let args = spec.arguments();
        let settings = Settings { args: &args, target: spec.target.as_deref(), platform: self.platform };
        let parsed = parse(&text, settings, &spec.context_names());
        let ignore = ignore_path(&root, &path);
        let context = self.context(&root, &ignore, made.at);
        let dockerfile = match parsed {
            Ok(dockerfile) => dockerfile,
            Err(errors) => {
                for error in errors {
                    let at = place(file, &error.at);
                    let diagnostic = Diagnostic::new("dockerfile", at, error.message).help(error.help);
                    self.problems.push(diagnostic.also(made.at, "built by this"));
                }
                return None;
            }
        };
        for (name, _) in spec.args.iter().filter(|(name, _)| !dockerfile.takes(name)) {
            let message = format!("`args` sets `{name}`, which `{}` does not declare", path.display());
            self.problem(made.at, message, "add `ARG` to the Dockerfile, or take it out of `args`");
        }
        let mut sources = Vec::new();
        let mut failed = false;
        for name in &dockerfile.names {
            match self.source(made, name, file) {
                Some(source) => sources.push(source),
                None => failed = true,
            }
        }
        let context = context?;
        let ignore = Some(ignore).filter(|path| path.is_file());
        (!failed).then_some(Recipe { dockerfile, context, ignore, sources })
    }

    fn source(&mut self, made: &ConcreteDockerfile, name: &Name, file: FileId) -> Option<Source> {
        let wrong = match made.spec.source(&name.text) {
            Ok(Source::Scratch | Source::Dockerfile(_)) => "an empty image".to_owned(),
            Ok(Source::Cell(_) | Source::Layout(_)) if name.kind == UseKind::Syntax => {
                "an image of the matrix".to_owned()
            }
            Ok(source) => return Some(source),
            Err(error) => error.to_string(),
        };
        let message = format!("`{}` cannot be used here: {wrong}", name.text);
        let diagnostic = Diagnostic::new("dockerfile", place(file, &name.at), message)
            .also(made.at, "built by this")
            .help("name an image in a registry, a stage before this, or one of `contexts`");
        self.problems.push(diagnostic);
        None
    }

    /// The text of a Dockerfile, as a source that places are shown in.
    fn text(&mut self, path: &Path, at: Location) -> Option<FileId> {
        if let Some(known) = self.texts.get(path) {
            return Some(*known);
        }
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let id = self.sources.add(path.display().to_string(), text);
                self.texts.insert(path.to_owned(), id);
                Some(id)
            }
            Err(error) => {
                let message = format!("failed to read the Dockerfile `{}`: {error}", path.display());
                self.problem(at, message, "correct `file`: it is relative to the context");
                None
            }
        }
    }

    /// The context without what `ignore_path` names.
    fn context(&mut self, root: &Path, ignore_path: &Path, at: Location) -> Option<Arc<Context>> {
        let key = (root.to_owned(), ignore_path.to_owned());
        if let Some(known) = self.contexts.get(&key) {
            return Some(known.clone());
        }
        let ignore = match std::fs::read_to_string(ignore_path) {
            Ok(text) => Ignore::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ignore::default()),
            Err(error) => {
                let message = format!("failed to read `{}`: {error}", ignore_path.display());
                self.problem(at, message, "make it readable, or remove it");
                return None;
            }
        };
        let ignore = match ignore {
            Ok(ignore) => ignore,
            Err(error) => {
                let message = format!("`{}`: {error}", ignore_path.display());
                self.problem(
                    at,
                    message,
                    "write paths with `*`, `?`, `**` and `[a-z]`, and `!` before what stays",
                );
                return None;
            }
        };
        match read_context(root, &ignore) {
            Ok(context) => {
                let context = Arc::new(context);
                self.contexts.insert(key, context.clone());
                Some(context)
            }
            Err(error) => {
                self.problem(
                    at,
                    format!("the context: {error}"),
                    "correct it, or name it in `.dockerignore`",
                );
                None
            }
        }
    }
}

/// `Dockerfile.dockerignore`, or else `.dockerignore`.
fn ignore_path(root: &Path, dockerfile: &Path) -> PathBuf {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    let own = PathBuf::from(own);
    if own.is_file() { own } else { root.join(".dockerignore") }
}

fn place(file: FileId, range: &std::ops::Range<usize>) -> Location {
    let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Location { file, start: clamp(range.start), end: clamp(range.end) }
}
