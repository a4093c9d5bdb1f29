//! `docker build …` in a script.

use std::sync::LazyLock;

use regex::Regex;

use super::expansion::{CLOSE, OPEN, raw_words, unquoted};

/// `docker build …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Build {
    pub line: usize,
    /// Variables or texts behind `-t`.
    pub tags: Vec<String>,
    /// The file behind `-f`.
    pub file: Option<String>,
    /// `--build-arg`: name, value.
    pub arguments: Vec<(String, String)>,
    pub target: Option<String>,
}

static BUILD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bdocker\s+(?:buildx\s+|image\s+)?build(?:\s|$)").expect("a pattern"));

/// Where a command to build begins behind its words, on a line that has one.
pub(super) fn build_at(line: &str) -> Option<usize> {
    let line_start = line.trim_start();
    if line_start.starts_with('#') || line_start.starts_with("echo ") {
        return None;
    }
    BUILD.find(line).map(|found| found.end())
}

/// Whether a line builds an image.
pub(super) fn builds(line: &str) -> bool {
    build_at(line).is_some()
}

/// What stands behind `docker build`.
pub(super) fn build(line: usize, text: &str) -> Build {
    let mut build = Build { line, ..Build::default() };
    let is_word = |word: &&str| !matches!(*word, "&&" | "||" | "|" | "&" | ")");
    let mut words = raw_words(text).into_iter().take_while(is_word).map(unquoted);
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if word.starts_with('-') => (option.to_owned(), Some(value.to_owned())),
            _ => (word, None),
        };
        if !matches!(option.as_str(), "-t" | "--tag" | "-f" | "--file" | "--build-arg" | "--target") {
            continue;
        }
        let Some(value) = value.or_else(|| words.next()) else { break };
        match option.as_str() {
            "-t" | "--tag" => build.tags.push(value),
            "-f" | "--file" => build.file = Some(value),
            "--target" => build.target = Some(value),
            _ => match value.split_once('=') {
                Some((name, value)) => build.arguments.push((name.to_owned(), value.to_owned())),
                // Its value is that of the variable.
                None => build.arguments.push((value.clone(), format!("{OPEN}{value}{CLOSE}"))),
            },
        }
    }
    build
}
