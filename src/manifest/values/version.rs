//! Requirements of versions, and the names and patterns by which they are found.

use regex::Regex;
use semver::VersionReq;

use super::{Fault, fault, literal_part};

/// A requirement in Cargo's grammar.
pub(in crate::manifest) fn requirement(text: &str) -> Result<VersionReq, Fault> {
    VersionReq::parse(text).map_err(|error| {
        fault(
            "malformed-requirement",
            format!("`{text}` is no requirement of versions: {error}"),
            "write comparisons separated by commas, e.g. `>=3.38, <4`, `^1.2`, `~1.2.3` or `*`",
        )
    })
}

/// The name of an npm package, with or without a scope.
pub(in crate::manifest) fn package(text: &str) -> Result<String, Fault> {
    let part = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
    };
    let valid = match text.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
        Some(scoped) => scoped.is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(text),
    };
    if valid {
        return Ok(text.to_owned());
    }
    Err(fault(
        "malformed-package",
        format!("`{text}` is not the name of an npm package"),
        "write the name alone, e.g. `serverless` or `@scope/name`; the version goes into `versions`",
    ))
}

/// A regular expression with a group `version`.
pub(in crate::manifest) fn pattern(text: &str) -> Result<String, Fault> {
    let help = "write e.g. `(?<version>.+)-base-image`: it is matched on whole tags";
    let regex = Regex::new(text).map_err(|error| {
        let reason = match &error {
            regex::Error::Syntax(shown) => {
                let last = shown.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
            other => other.to_string(),
        };
        fault("malformed-pattern", format!("`{text}` is no regular expression: {reason}"), help)
    })?;
    if !regex.capture_names().flatten().any(|name| name == "version") {
        return Err(fault("malformed-pattern", format!("`{text}` has no group named `version`"), help));
    }
    Ok(text.to_owned())
}

/// A path of a file.
pub(in crate::manifest) fn file(text: &str) -> Result<(), Fault> {
    let (_, whole) = literal_part(text);
    if whole && (text.is_empty() || text.ends_with('/')) {
        return Err(fault(
            "malformed-path",
            format!("`{text}` is not the path of a file"),
            "write the path of a file, relative to the manifest",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_names_and_no_options() {
        for good in ["serverless", "@scope/name", "JSONStream", "a.b_c~d"] {
            assert!(package(good).is_ok(), "{good}");
        }
        for bad in ["", "-g", "--json", "a b", "a@1", "@scope", "@/x", "@a/b/c", "../x"] {
            assert!(package(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_have_a_group_of_that_name() {
        assert!(pattern("(?<version>.+)-base").is_ok() && pattern("v(?P<version>.+)").is_ok());
        assert!(pattern("(.+)").is_err() && pattern("(?<version>").is_err());
    }
}
