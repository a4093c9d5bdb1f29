//! Configurations and modes as a Dockerfile says them.

use super::text::{fixed_argv, raw_value, value};
use crate::manifest::ChmodClause;
use crate::matrix::ConfigSpec;

/// A symbolic mode as it was written, more or less.
pub(super) fn symbolic(clauses: &[ChmodClause]) -> String {
    let clause = |clause: &ChmodClause| {
        let letters = |bits: u8, names: [char; 3]| -> String {
            [4, 2, 1].iter().zip(names).filter(|(bit, _)| bits & **bit != 0).map(|(_, name)| name).collect()
        };
        let execute = if clause.execute_if_any { "X" } else { "" };
        format!(
            "{}{}{}{execute}",
            letters(clause.who, ['u', 'g', 'o']),
            clause.op,
            letters(clause.bits, ['r', 'w', 'x'])
        )
    };
    clauses.iter().map(clause).collect::<Vec<_>>().join(",")
}

/// Instructions for a configuration.
pub(super) fn config(spec: &ConfigSpec) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    // One instruction each: what stands in it sees the variables from before it.
    if !spec.labels.is_empty() {
        let pairs = spec.labels.iter().map(|(name, text)| Ok(format!("{}={}", value(name)?, value(text)?)));
        lines.push(format!("LABEL {}", pairs.collect::<Result<Vec<_>, String>>()?.join(" \\\n      ")));
    }
    if let Some(user) = &spec.user {
        lines.push(format!("USER {}", value(user)?));
    }
    if let Some(workdir) = &spec.workdir {
        lines.push(format!("WORKDIR {}", value(workdir)?));
    }
    let mut pairs = Vec::new();
    if !spec.path.is_empty() {
        let entries = spec.path.iter().map(|entry| raw_value(entry)).collect::<Result<Vec<_>, _>>()?;
        pairs.push(format!("PATH=\"{}:${{PATH}}\"", entries.join(":")));
    }
    for (name, text) in &spec.env {
        pairs.push(format!("{name}={}", value(text)?));
    }
    if !pairs.is_empty() {
        lines.push(format!("ENV {}", pairs.join(" \\\n    ")));
    }
    if let Some(entrypoint) = &spec.entrypoint {
        lines.push(format!("ENTRYPOINT {}", fixed_argv(entrypoint)?));
    }
    if let Some(cmd) = &spec.cmd {
        lines.push(format!("CMD {}", fixed_argv(cmd)?));
    }
    Ok(lines)
}
