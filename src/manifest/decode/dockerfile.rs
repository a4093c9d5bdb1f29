//! `dockerfile = { … }` of an image.

use super::command::source;
use super::settings::network;
use crate::manifest::reader::Fields;
use crate::manifest::values::{self, Fault};
use crate::manifest::{DockerfileBuild, Located};

/// Keys of an image that say what the Dockerfile says.
pub(super) const FOREIGN: [&str; 9] =
    ["base", "setup", "layers", "env", "path", "user", "workdir", "entrypoint", "cmd"];

/// What to do instead of a key that `dockerfile` does not have, where people look for it.
pub(in crate::manifest) fn help(table: &str, key: &str) -> Option<&'static str> {
    if table != "dockerfile" {
        return None;
    }
    match key {
        "memory" | "cpus" | "timeout" => Some(
            "an engine builds Dockerfiles without limits for single steps: remove it, or write the step as a `run` layer or `setup` step, which have limits",
        ),
        "cache_from" | "cache_to" | "cache-from" | "cache-to" | "cache" => Some(
            "finished images are shared by their content key: declare `[cache]`, which goes for all steps, and remove this",
        ),
        "ssh" => Some("no SSH agent is passed on: use `secrets`"),
        "labels" | "tags" | "platform" | "platforms" => {
            Some("remove it here: labels and tags are keys of the image, the platform one of `[project]`")
        }
        _ => None,
    }
}

pub(super) fn dockerfile(fields: &Fields<'_>) -> DockerfileBuild {
    let reader = fields.reader();
    let secrets = fields.map("secrets", values::secret_file).filter_map(|(id, value)| {
        let variable = reader.plain(value)?;
        if let Err(fault) = values::variable(&variable.value) {
            reader.fault(variable.at, fault);
        }
        Some((id.value, variable))
    });
    let contexts = fields.map("contexts", context_name).filter_map(|(name, value)| {
        let source = source(fields, value, false)?;
        Some((name, source))
    });
    DockerfileBuild {
        at: fields.at(),
        context: fields.needed("context", directory),
        file: fields.template("file", directory),
        target: fields.template("target", values::anything),
        args: fields
            .template_map("args", values::variable)
            .into_iter()
            .collect::<Vec<(Located<String>, _)>>(),
        contexts: contexts.collect(),
        secrets: secrets.collect(),
        network: network(fields),
    }
}

fn directory(text: &str) -> Result<(), Fault> {
    if !text.is_empty() && !text.contains('\0') {
        return Ok(());
    }
    Err(Fault {
        code: "malformed-path",
        message: "the path is empty".into(),
        help: "name a file or directory, e.g. `images/tooling` or `.`".into(),
    })
}

fn context_name(text: &str) -> Result<(), Fault> {
    let clean =
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '$' | ',' | '"'));
    if clean && text != "scratch" && text.parse::<usize>().is_err() {
        return Ok(());
    }
    Err(Fault {
        code: "malformed-name",
        message: format!("`{text}` cannot be the name of a context"),
        help: "use a word that FROM or COPY --from names, e.g. `base`".into(),
    })
}
