//! What comes from the environment: the store's place, times, secrets, limits.

use std::collections::HashMap;
use std::path::PathBuf;

use super::ProjectArguments;
use super::exit::Exit;
use crate::engine::SecretValue;
use crate::matrix::{ConcreteCommand, ConcreteContent, Matrix};

/// `--store`, else `railyard` in the user's cache directory.
///
/// # Errors
/// When no home is known.
pub fn store_path(arguments: &ProjectArguments) -> Result<PathBuf, Exit> {
    if let Some(path) = &arguments.store {
        return Ok(path.clone());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let home =
        std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|home| PathBuf::from(home).join(".cache"));
    cache.or(home).map(|path| path.join("railyard")).ok_or_else(|| {
        Exit::Usage("error: neither HOME nor XDG_CACHE_HOME is set\n  help: give --store DIR".into())
    })
}

/// SOURCE_DATE_EPOCH as RFC 3339.
///
/// # Errors
/// When it is set and no number of seconds.
pub fn created() -> Result<Option<String>, Exit> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let timestamp = text.trim().parse::<i64>().ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    match timestamp {
        Some(timestamp) => Ok(Some(timestamp.to_string())),
        None => Err(Exit::Usage(format!("error: SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"))),
    }
}

/// The values of the secrets that commands name, as far as they are set.
pub fn secrets(matrix: &Matrix) -> HashMap<String, SecretValue> {
    let runs = matrix.layers.iter().filter_map(|layer| match &layer.content {
        ConcreteContent::Run(run) => Some(&run.command),
        ConcreteContent::Parts(_) => None,
    });
    let setups = matrix.cells.iter().flat_map(|c| c.setup.iter().map(|s| &**s));
    let checks = matrix.cells.iter().flat_map(|c| c.checks.iter().filter_map(|check| check.command.as_ref()));
    let commands: Vec<&ConcreteCommand> = runs.chain(setups).chain(checks).collect();
    let names = commands.iter().flat_map(|c| c.secrets.iter().map(|(_, variable)| &variable.value));
    let built = matrix.dockerfiles.iter().flat_map(|made| made.spec.secrets.iter().map(|(_, name)| name));
    names
        .chain(built)
        .filter_map(|name| Some((name.clone(), SecretValue(std::env::var(name).ok()?))))
        .collect()
}

/// CPUs of this machine.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get)
}
