//! Texts in a Dockerfile: words, values, arguments, names of stages.

use std::collections::{HashMap, HashSet};

use crate::matrix::{fill_base_env, mentions_base_env};

/// Paths of COPY: as they are where that is safe, else as a JSON array.
pub(super) fn words(paths: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:~,=%".contains(c);
    if paths.iter().all(|path| !path.is_empty() && path.chars().all(plain)) {
        return paths.join(" ");
    }
    let escaped: Vec<String> =
        paths.iter().map(|path| path.replace('\\', "\\\\").replace('$', "\\$")).collect();
    argv(&escaped)
}

/// A path that is a source of COPY, where `*`, `?` and `[` would be patterns.
pub(super) fn source(path: &str) -> String {
    path.chars()
        .map(|c| match c {
            '*' | '?' | '[' => format!("[{c}]"),
            c => c.to_string(),
        })
        .collect()
}

/// An argument vector in exec form.
pub(super) fn argv<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    serde_json::to_string(&items).expect("texts are printable as JSON")
}

/// A quoted value of ENV, LABEL, USER or WORKDIR; variables of the base are those of the builder.
///
/// # Errors
/// When it has several lines.
pub(super) fn value(text: &str) -> Result<String, String> {
    let filled = raw_value(text)?;
    Ok(format!("\"{filled}\""))
}

/// [`value`] without quotes, as part of a quoted text.
pub(super) fn raw_value(text: &str) -> Result<String, String> {
    if text.contains(['\n', '\r']) {
        return Err("a value has several lines, which a Dockerfile cannot say".into());
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Ok(fill_base_env(&escaped, |name| Some(format!("${{{name}}}"))).expect("every name has a variable"))
}

/// An argument vector of ENTRYPOINT or CMD, in which a builder puts no variables.
///
/// # Errors
/// When it needs one.
pub(super) fn fixed_argv(items: &[String]) -> Result<String, String> {
    match items.iter().any(|item| mentions_base_env(item)) {
        true => Err("`entrypoint` or `cmd` uses `base.env`, which a Dockerfile puts into neither".into()),
        false => Ok(argv(items)),
    }
}

/// A text for the shell, quoted.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Lower-case letters, digits and `-`: a name of a stage and of a bake target.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    match slug.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => slug.to_owned(),
        false => format!("x-{slug}"),
    }
}

/// Names of which each is given once.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: HashSet<String>,
    /// The next number behind a slug.
    next: HashMap<String, usize>,
}

impl Names {
    /// The slug of a text, with a number behind it where it is taken.
    pub(super) fn give(&mut self, text: &str) -> String {
        let slug = slug(text);
        let number = self.next.entry(slug.clone()).or_insert(2);
        let mut name = slug.clone();
        // A stage of this name cannot be told from the empty image.
        while name == "scratch" || !self.given.insert(name.clone()) {
            name = format!("{slug}-{number}");
            *number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_words_or_json() {
        assert_eq!(words(&["/a/b", "/c"]), "/a/b /c");
        assert_eq!(words(&["/a b", "/$c"]), r#"["/a b","/\\$c"]"#);
        assert_eq!(source("/a[1]*"), "/a[[]1][*]");
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(value(r#"a "b" $c \"#).unwrap(), r#""a \"b\" \$c \\""#);
        assert!(value("a\nb").is_err());
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn names_are_slugs_and_given_once() {
        let mut names = Names::default();
        assert_eq!(names.give("serverless[runtime=python3.11]"), "serverless-runtime-python3-11");
        assert_eq!(names.give("3.11"), "x-3-11");
        assert_eq!(names.give("scratch"), "scratch-2");
        assert_eq!(names.give("a"), "a");
        assert_eq!(names.give("A"), "a-2");
        assert_eq!(names.give("a-3"), "a-3");
        assert_eq!(names.give("a"), "a-4");
    }

    #[test]
    fn many_equal_names_are_given_at_once() {
        let started = std::time::Instant::now();
        let mut names = Names::default();
        (0..50_000).for_each(|_| drop(names.give("layer")));
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "they were searched for");
    }
}
