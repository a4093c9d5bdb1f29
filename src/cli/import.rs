//! `import`: other pipelines as a manifest.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use clap::Subcommand;

use super::exit::{Exit, print, say};
use crate::import::{RemarkKind, harness_pipeline};

/// What is imported.
#[derive(Debug, Subcommand)]
pub enum ImportSource {
    /// A Harness pipeline whose steps build images by script, or one of `export harness-pipeline`.
    HarnessPipeline {
        /// The pipeline's YAML.
        pipeline: PathBuf,
        /// Values of a runtime input: `NAME=VALUE,…`; may be given several times.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        inputs: Vec<String>,
        /// The directory to write to, instead of standard output.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Write over files that are there.
        #[arg(long)]
        force: bool,
    },
}

/// `railyard import`.
pub fn import(source: &ImportSource) -> Result<(), Exit> {
    let ImportSource::HarnessPipeline { pipeline, inputs, out, force } = source;
    let name = pipeline.display();
    let text = std::fs::read_to_string(pipeline)
        .map_err(|e| Exit::Usage(format!("error: failed to read `{name}`: {e}")))?;
    let mut values = BTreeMap::new();
    for input in inputs {
        let (key, value) = input
            .split_once('=')
            .ok_or_else(|| Exit::Usage(format!("error: `--set {input}` is not NAME=VALUE")))?;
        values.insert(key.to_owned(), value.to_owned());
    }
    let imported = harness_pipeline(&text, &values).map_err(|e| {
        Exit::Usage(format!("error: {name}:{e}\n  help: give the pipeline's YAML as Harness shows it"))
    })?;
    for remark in &imported.remarks {
        say(&format!("{name}:{remark}"));
    }
    let count = |kind| imported.remarks.iter().filter(|remark| remark.kind == kind).count();
    say(&format!(
        "{} faults, {} parts not carried over, {} notes",
        count(RemarkKind::Fault),
        count(RemarkKind::Left),
        count(RemarkKind::Note)
    ));
    let [first, ..] = imported.files.as_slice() else {
        return Err(Exit::Usage(format!(
            "error: nothing in `{name}` could be carried over\n  help: the lines above say why; `railyard init` writes a manifest to start from"
        )));
    };
    match out {
        None if imported.files.len() == 1 => print(&first.1),
        None => Err(Exit::Usage(format!(
            "error: the pipeline holds {} files\n  help: say where to write them with --out DIR",
            imported.files.len()
        ))),
        Some(directory) => write(directory, &imported.files, *force),
    }
}

fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = path.metadata()?.permissions().mode();
    // Whoever may read it may run it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2)))
}

/// Writes files below a directory, and says so.
///
/// # Errors
/// When one is there and `force` is not set, or a path leads out of the directory.
pub fn write(directory: &Path, files: &[(String, String)], force: bool) -> Result<(), Exit> {
    for (name, _) in files {
        let below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !below {
            return Err(Exit::Usage(format!(
                "error: the file `{name}` would lie outside `{}`",
                directory.display()
            )));
        }
    }
    let there: Vec<String> = files
        .iter()
        .map(|(name, _)| directory.join(name))
        .filter(|path| path.exists())
        .map(|path| format!("`{}`", path.display()))
        .collect();
    if !there.is_empty() && !force {
        return Err(Exit::Usage(format!(
            "error: {} would be written over\n  help: choose another directory, or say --force",
            there.join(", ")
        )));
    }
    for (name, text) in files {
        let path = directory.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text))
            .and_then(|()| if text.starts_with("#!") { make_executable(&path) } else { Ok(()) })
            .map_err(|e| Exit::Environment(format!("error: failed to write `{}`: {e}", path.display())))?;
        say(&format!("wrote {}", path.display()));
    }
    let main = directory.join(&files[0].0);
    say(&format!("next: railyard check --file {}", main.display()));
    Ok(())
}
