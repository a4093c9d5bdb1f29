//! What a pipeline carries along where it does not clone a codebase: manifest, contexts and lock, as texts.

use std::path::{Component, Path, PathBuf};

use crate::cli::ProjectArguments;
use crate::cli::exit::Exit;
use crate::cli::load::Project;
use crate::dockerfile::ContextKind;
use crate::export::Sources;
use crate::matrix::Recipe;
use crate::run::External;

/// The manifest with its imports, and the lock where there is one.
pub(super) fn texts(project: &Project, arguments: &ProjectArguments) -> Result<Sources, Exit> {
    let external = External::of(&project.matrix, &project.chosen);
    let beside =
        external.files.iter().cloned().chain(external.layouts.iter().map(|dir| format!("oci:{dir}")));
    let beside: Vec<String> = beside.map(|name| format!("`{name}`")).collect();
    if !beside.is_empty() {
        return Err(Exit::Usage(format!(
            "error: the cells use {}, which a pipeline cannot carry along\n  help: export with --codebase",
            beside.join(", ")
        )));
    }
    let base = arguments.file.parent().unwrap_or(Path::new(""));
    let mut sources = Sources::default();
    let read = &project.manifest.sources;
    for (name, text) in read.ids().map(|id| (read.name(id), read.text(id))) {
        let path = Path::new(name).strip_prefix(base).unwrap_or(Path::new(name));
        sources.files.push((carried(path)?, text.to_owned()));
    }
    for made in &project.matrix.dockerfiles {
        let Some(recipe) = &made.recipe else { continue };
        for (name, text) in context_texts(&made.spec.context, recipe)? {
            if !sources.files.iter().any(|(known, _)| *known == name) {
                sources.files.push((name, text));
            }
        }
    }
    if let Ok(text) = std::fs::read_to_string(&project.lock_path) {
        let beside = arguments.file.with_file_name("builds.lock");
        let name = carried(beside.strip_prefix(base).unwrap_or(&beside))?;
        // A context may have it too.
        let (same, other) = sources.files.into_iter().partition(|(known, _)| *known == name);
        sources.files = other;
        let same: Vec<(String, String)> = same;
        if same.iter().any(|(_, known)| *known != text) {
            return Err(not_carried(&name, "is part of a context, and another lock is given"));
        }
        sources.files.push((name, text));
    }
    Ok(sources)
}

/// A path below the manifest's directory as the pipeline writes it, without `.`.
fn carried(path: &Path) -> Result<String, Exit> {
    let mut name = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => name.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let why = "lies outside the manifest's directory or is reached over `..`";
                return Err(not_carried(&path.display().to_string(), why));
            }
        }
    }
    let name = name.display().to_string();
    match name.contains(|c: char| c == '\'' || c.is_control()) {
        true => Err(not_carried(&name, "has a quote or a control character in its name")),
        false => Ok(name),
    }
}

fn not_carried(name: &str, why: &str) -> Exit {
    Exit::Usage(format!(
        "error: `{name}` {why}, so the pipeline cannot carry it along\n  help: export with --codebase"
    ))
}

/// The files of a Dockerfile's context, as far as they are texts that a pipeline can write again.
fn context_texts(directory: &str, recipe: &Recipe) -> Result<Vec<(String, String)>, Exit> {
    let (context, directory) = (&recipe.context, Path::new(directory));
    let mut files = Vec::new();
    if let Some(path) = &recipe.ignore {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Exit::Environment(format!("error: failed to read `{}`: {e}", path.display())))?;
        let name = path.strip_prefix(&context.root).map_or(path.clone(), |below| directory.join(below));
        files.push((carried(&name)?, text));
    }
    for (at, entry) in context.entries.iter().enumerate() {
        let name = carried(&directory.join(&entry.path))?;
        // Directories are made for what is in them.
        let below = context.entries.get(at + 1).and_then(|next| next.path.strip_prefix(&entry.path));
        let text = match &entry.kind {
            ContextKind::Directory if entry.mode == 0o755 && below.is_some_and(|b| b.starts_with('/')) => {
                continue;
            }
            ContextKind::File { .. } => std::fs::read_to_string(context.root.join(&entry.path)).ok(),
            ContextKind::Directory | ContextKind::Link(_) => None,
        };
        // Scripts are made executable again, other files are not.
        let mode = |text: &String| if text.starts_with("#!") { 0o755 } else { 0o644 };
        let whole = |text: &String| text.ends_with('\n') && !text.ends_with("\n\n");
        match text.filter(|text| entry.mode == mode(text) && whole(text)) {
            Some(text) => files.push((name, text)),
            None => {
                return Err(not_carried(&name, "is no plain text or script"));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::export::written::put;
    use crate::cli::load::load;
    use crate::oci::Digest;

    fn project(directory: &Path) -> Project {
        load(&arguments(directory)).unwrap_or_else(|_| panic!("{} is a project", directory.display()))
    }

    fn arguments(directory: &Path) -> ProjectArguments {
        ProjectArguments {
            file: directory.join("builds.toml"),
            vars: Vec::new(),
            vars_file: None,
            repository: None,
            lock: None,
            store: None,
            only: Vec::new(),
        }
    }

    /// A project with one Dockerfile, its context and further files.
    fn written(context: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let manifest = format!(
            "schema = 1\n[project]\nname = \"p\"\nrepository = \"localhost:5000/p\"\n\
             [images.app]\ntags = [\"1\"]\ndockerfile = {{ context = \"{context}\" }}\n"
        );
        for (path, text) in [("builds.toml", manifest.as_str())].iter().chain(files) {
            put(&directory.path().join(path), text, 0o644).unwrap_or_else(|_| panic!("{path} is written"));
        }
        directory
    }

    /// The names that a pipeline carries, with the context before and after.
    fn there_and_back(directory: &Path) -> (Vec<String>, [Digest; 2]) {
        let before = project(directory);
        let carried = texts(&before, &arguments(directory)).unwrap_or_else(|_| panic!("it can be carried"));
        let other = tempfile::tempdir().unwrap();
        for (path, text) in &carried.files {
            put(&other.path().join(path), text, 0o644).unwrap_or_else(|_| panic!("{path} is written"));
        }
        let context = |p: &Project| p.matrix.dockerfiles[0].recipe.as_ref().unwrap().context.digest;
        let digests = [context(&before), context(&project(other.path()))];
        (carried.files.into_iter().map(|(path, _)| path).collect(), digests)
    }

    #[test]
    fn the_ignore_file_that_was_used_is_carried_also_where_it_names_itself() {
        let directory = written(
            "ctx",
            &[
                ("ctx/Dockerfile", "FROM scratch\nCOPY keep.txt /\n"),
                ("ctx/Dockerfile.dockerignore", "*\n!keep.txt\n"),
                ("ctx/.dockerignore", "keep.txt\n"),
                ("ctx/keep.txt", "x\n"),
                ("ctx/drop.txt", "x\n"),
            ],
        );
        let (names, [before, after]) = there_and_back(directory.path());
        assert_eq!(names, ["builds.toml", "ctx/Dockerfile", "ctx/Dockerfile.dockerignore", "ctx/keep.txt"]);
        assert_eq!(before, after);
    }

    #[test]
    fn paths_with_dots_are_the_same_files() {
        let dockerfile = "FROM scratch\nCOPY a /\n";
        for (context, below) in [(".", ""), ("./ctx", "ctx/"), ("ctx/.", "ctx/")] {
            let files = [(format!("{below}Dockerfile"), dockerfile), (format!("{below}a"), "x\n")];
            let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            let directory = written(context, &files);
            let (names, [before, after]) = there_and_back(directory.path());
            assert_eq!(names, ["builds.toml".to_owned(), format!("{below}Dockerfile"), format!("{below}a")]);
            assert_eq!(before, after, "{context}");
        }
    }

    #[test]
    fn what_cannot_be_written_again_is_refused() {
        let directory =
            written("ctx/../ctx", &[("ctx/Dockerfile", "FROM scratch\nCOPY a /\n"), ("ctx/a", "x\n")]);
        assert!(texts(&project(directory.path()), &arguments(directory.path())).is_err());
        let directory = written("ctx", &[("ctx/Dockerfile", "FROM scratch\nCOPY a /\n"), ("ctx/a", "x\n")]);
        std::fs::create_dir(directory.path().join("ctx/empty")).unwrap();
        assert!(texts(&project(directory.path()), &arguments(directory.path())).is_err());
    }
}
