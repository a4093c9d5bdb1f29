//! `.dockerignore`: which files of a directory are no part of the context.
//!
//! Follows moby/patternmatcher and its `ignorefile`.

use regex::Regex;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{pattern}` is not a pattern")]
pub struct IgnoreError {
    /// Its line, from 1.
    pub line: usize,
    /// As it is written.
    pub pattern: String,
}

/// The patterns of a `.dockerignore`, in order: the last that matches wins.
#[derive(Debug, Clone, Default)]
pub struct Ignore(Vec<Pattern>);

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    /// `!`: what it matches stays.
    keeps: bool,
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// The first line that is no pattern.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let written = line.trim();
            let (keeps, pattern) = match written.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, written),
            };
            let wrong = || IgnoreError { line: index + 1, pattern: written.to_owned() };
            if pattern.is_empty() {
                return Err(wrong());
            }
            let cleaned = clean(pattern);
            let relative = if cleaned.len() > 1 { cleaned.trim_start_matches('/') } else { &cleaned };
            let regex = Regex::new(&expression(relative)).map_err(|_| wrong())?;
            patterns.push(Pattern { regex, keeps });
        }
        Ok(Self(patterns))
    }

    /// Whether a path (relative, with `/`) is left out, itself or with a directory above it.
    pub fn leaves_out(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        let paths: Vec<&str> = above.chain([path]).collect();
        self.0.iter().fold(false, |out, pattern| {
            // A pattern that would change nothing is not tried.
            if pattern.keeps == out && paths.iter().any(|path| pattern.regex.is_match(path)) {
                !pattern.keeps
            } else {
                out
            }
        })
    }

    /// Whether something beneath a directory that is left out may stay.
    pub fn may_keep(&self) -> bool {
        self.0.iter().any(|pattern| pattern.keeps)
    }
}

/// As Go's `path.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn expression(pattern: &str) -> String {
    let mut regex = String::from("(?s)^");
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' if rest.next_if_eq(&'*').is_some() => {
                // `**/` is as `**`.
                let _ = rest.next_if_eq(&'/');
                regex.push_str(if rest.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => match rest.next() {
                Some(next) => regex.push_str(&regex::escape(&next.to_string())),
                None => regex.push_str("\\\\"),
            },
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => regex.extend(['\\', character]),
            other => regex.push(other),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_docker() {
        let cases: [(&str, &[&str], &[&str]); 13] = [
            ("a", &["a", "a/b/c"], &["ab", "b/a"]),
            ("/a/", &["a", "a/b"], &["b/a"]),
            ("*.md\n!README.md", &["x.md"], &["README.md", "d/x.md", "x.mdx"]),
            ("*/temp*", &["a/temp", "a/temperature"], &["temp", "a/b/temp"]),
            ("**/*.go", &["x.go", "a/b/x.go"], &["x.god"]),
            ("d/**", &["d/x", "d/y/z"], &["e/d/x"]),
            ("*\n!src\nsrc/*.tmp", &["x", "src/a.tmp"], &["src", "src/main.rs"]),
            ("# a\n\n  b  ", &["b"], &["a", "# a"]),
            ("a?c\n[x-z]1", &["abc", "y1"], &["ac", "a/c", "w1"]),
            ("a/../b/./c", &["b/c"], &["a"]),
            ("x+y.z", &["x+y.z"], &["xxy.z", "x+yaz"]),
            ("\\*a", &["*a"], &["ba"]),
            ("**", &["a", "a/b"], &[]),
        ];
        for (text, out, stays) in cases {
            let ignore = Ignore::parse(text).unwrap();
            for path in out {
                assert!(ignore.leaves_out(path), "{text:?} leaves out {path}");
            }
            for path in stays {
                assert!(!ignore.leaves_out(path), "{text:?} keeps {path}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_named_with_its_line() {
        for (text, line) in [("a\n!\n", 2), ("[a", 1)] {
            assert_eq!(Ignore::parse(text).unwrap_err().line, line);
        }
    }
}
