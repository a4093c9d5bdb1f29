//! Names of things, and versions.

use super::{Fault, fault, literal_part};

/// Whether a template can name it: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(in crate::manifest) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether it is a name of a layer, tool, image or check: letters, digits, `_`, `-` and `.`.
pub(in crate::manifest) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A name that templates use: an axis, a variable, an attribute.
pub(in crate::manifest) fn identifier(what: &str, text: &str) -> Result<(), Fault> {
    if is_identifier(text) {
        return Ok(());
    }
    let mut suggestion: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !suggestion.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        suggestion.insert(0, '_');
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not a name that templates can use for {what}"),
        format!("use letters, digits and `_`, e.g. `{suggestion}`"),
    ))
}

/// A name of a layer, tool, image or check.
pub(in crate::manifest) fn name(what: &str, text: &str) -> Result<(), Fault> {
    if is_name(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not a name for {what}"),
        "use letters, digits, `_`, `-` and `.`, starting with a letter or digit",
    ))
}

/// The name of an environment variable.
pub(in crate::manifest) fn variable(text: &str) -> Result<(), Fault> {
    if is_identifier(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not the name of an environment variable"),
        "use letters, digits and `_`, starting with no digit",
    ))
}

/// The key of an output.
pub(in crate::manifest) fn output(text: &str) -> Result<(), Fault> {
    if is_identifier(text) && text.len() <= 128 {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not the key of an output"),
        "use up to 128 letters, digits and `_`, starting with no digit",
    ))
}

/// The name of a label.
pub(in crate::manifest) fn label(text: &str) -> Result<(), Fault> {
    if !text.is_empty() && !text.contains(char::is_whitespace) && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{}` is not the name of a label", text.escape_debug()),
        "write a name without spaces, e.g. `org.opencontainers.image.title`",
    ))
}

/// The name of a secret's file.
pub(in crate::manifest) fn secret_file(text: &str) -> Result<(), Fault> {
    if is_name(text) {
        return Ok(());
    }
    Err(fault(
        "malformed-name",
        format!("`{text}` is not the name of a secret"),
        "it becomes a file under /run/secrets: use letters, digits, `_`, `-` and `.`",
    ))
}

/// A version, as it becomes part of URLs and paths.
pub(in crate::manifest) fn version(text: &str) -> Result<(), Fault> {
    let valid = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'~'));
    if !literal_part(text).1 || valid {
        return Ok(());
    }
    Err(fault(
        "malformed-version",
        format!("`{text}` is not a version"),
        "use letters, digits, `.`, `_`, `+`, `-` and `~`, e.g. `v1.24.3`",
    ))
}
