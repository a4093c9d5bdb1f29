//! Commands of a script that need not be understood, and those that are said because they are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::assignment::{DECLARES, is_assignment};
use super::script::is_dockerfile;
use super::shell::{self, Command, Simple};

/// A function's beginning.
pub(super) static FUNCTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^(?:function\s+)?([\w-]+)\s*\(\s*\)").expect("a pattern"));

/// Commands of a script that make nothing of an image, or that are looked at elsewhere.
const KNOWN: &[&str] = &[
    "echo", "printf", "set", "export", "local", "readonly", "declare", "unset", "for", "while", "until",
    "case", "esac", "break", "continue", "exit", "return", "sleep", "cd", "pushd", "popd", "mkdir", "ls",
    "pwd", "true", "false", ":", "[", "[[", "test", "command", "cat", "rm", "trap", "shift", "wait", "date",
    "env", "apt-get", "apt", "apk", "yum", "dnf", "microdnf", "dockerd", "which", "function",
];

/// A line that is not understood, as it is said; `functions` are those of the script.
pub(super) fn unknown(text: &str, functions: &BTreeSet<&str>) -> Option<String> {
    if text.is_empty() || text.starts_with('#') || FUNCTION.is_match(text) {
        return None;
    }
    let mut text = text.trim_end_matches(';').trim();
    while let Some(rest) = ["then ", "else ", "do ", "! ", "{ "].iter().find_map(|k| text.strip_prefix(k)) {
        text = rest.trim();
    }
    let parsed = shell::commands(text, &BTreeMap::new());
    // What a group writes as a whole is no form that is known.
    let writes =
        parsed.is_none() && text.contains('>') && text.split(|c: char| !is_of_path(c)).any(is_dockerfile);
    // Nor is an assignment in one.
    let words: Vec<&str> = if parsed.is_none() { text.split_whitespace().collect() } else { Vec::new() };
    let begins = |word: &str| matches!(word, "&&" | "||" | "{" | "(" | "then" | "do");
    let sets = words.windows(2).any(|pair| begins(pair[0]) && is_assignment(pair[1]));
    let commands = parsed.unwrap_or_else(|| {
        let words = text.split_whitespace().map(|word| shell::Word { text: word.to_owned(), plain: true });
        let words = words.collect();
        vec![Command::Simple(Simple { words, writes: Vec::new(), join: shell::Join::Then, fallback: false })]
    });
    let is_known = |command: &Command| {
        let Command::Simple(Simple { words, writes, .. }) = command else { return true };
        let all: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let mut words = all.iter().copied().skip_while(|word| is_assignment(word));
        let (first, second) = (words.next().unwrap_or(":"), words.next().unwrap_or_default());
        // Those that stand alone have been read; these depend on what is before them.
        let assigns = all.iter().any(|word| is_assignment(word))
            && (all.iter().all(|word| is_assignment(word)) || DECLARES.contains(&first));
        let is_docker = first == "docker"
            && matches!(
                second,
                "login"
                    | "push"
                    | "info"
                    | "build"
                    | "buildx"
                    | "image"
                    | "version"
                    | "images"
                    | "ps"
                    | "logout"
            );
        let is_pattern = first.ends_with(')') || first.ends_with('(');
        let is_brace = matches!(first, "{" | "}" | "then" | "else" | "fi" | "do" | "done" | ";;");
        !assigns
            && !writes.iter().any(|file| is_dockerfile(&file.text))
            && (KNOWN.contains(&first) || functions.contains(first) || is_docker || is_pattern || is_brace)
    };
    (writes || sets || !commands.iter().all(is_known)).then(|| said(text))
}

/// A command that is not carried over.
pub(super) fn said(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    format!("the command `{}`", short.replace(char::is_control, " "))
}

fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./-".contains(c)
}
