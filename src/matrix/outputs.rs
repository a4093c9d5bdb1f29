//! Outputs of a run: what a pipeline's later steps are told of a cell, in part known only at the end.

use std::sync::Arc;

use minijinja::value::Value;

const OPEN: char = '\u{3}';
const CLOSE: char = '\u{4}';
const TIMESTAMP: &str = "timestamp";
const REVISION: &str = "revision";

/// The names that only outputs know: `{{ timestamp }}` and `{{ revision }}`, filled in by [`fill_run`].
pub(super) fn run_placeholders() -> [(Arc<str>, Value); 2] {
    [TIMESTAMP, REVISION].map(|name| (name.into(), Value::from(format!("{OPEN}{name}{CLOSE}"))))
}

/// Whether a template may use one of these names.
pub(super) fn mentions_run(template: &str) -> bool {
    template.contains(TIMESTAMP) || template.contains(REVISION)
}

/// Whether a rendered output has the revision in it.
pub fn wants_revision(text: &str) -> bool {
    text.contains(&format!("{OPEN}{REVISION}{CLOSE}"))
}

/// A rendered output with the time of the run (`YYYYMMDDHHMMSS`, UTC) and the revision of the sources.
pub fn fill_run(text: &str, timestamp: &str, revision: &str) -> String {
    text.replace(&format!("{OPEN}{TIMESTAMP}{CLOSE}"), timestamp)
        .replace(&format!("{OPEN}{REVISION}{CLOSE}"), revision)
}
