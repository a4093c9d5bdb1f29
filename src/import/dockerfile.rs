//! Instructions of a Dockerfile that a script writes, and what its RUN lines do.

use std::sync::LazyLock;

use regex::Regex;

use super::script::Line;

/// An instruction on one line.
#[derive(Debug, Clone)]
pub(super) struct Instruction {
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    pub rest: String,
    pub conditions: Vec<String>,
}

/// The instructions of a file, continued lines joined, comments left out.
pub(super) fn instructions(lines: &[Line]) -> Vec<Instruction> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut open: Option<Instruction> = None;
    for line in lines {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (text, goes_on) = match text.strip_suffix('\\') {
            Some(text) => (text.trim_end_matches('\\').trim_end(), true),
            None => (text, false),
        };
        match open.as_mut() {
            Some(instruction) => {
                instruction.rest.push(' ');
                instruction.rest += text;
            }
            None => {
                let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                open = Some(Instruction {
                    line: line.line,
                    keyword: keyword.to_ascii_uppercase(),
                    rest: rest.trim().to_owned(),
                    conditions: line.conditions.clone(),
                });
            }
        }
        if !goes_on {
            found.extend(open.take());
        }
    }
    found.extend(open);
    found
}

/// What a RUN does, as far as a manifest has a word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Directories with a mode.
    Directories { mode: Option<String>, paths: Vec<String> },
    /// A change of modes.
    Modes { mode: String, paths: Vec<String> },
    /// A download, from the first URL that answers; of an archive only a member.
    Download { urls: Vec<String>, path: String, member: Option<String> },
    /// A global npm package with the settings before it.
    Npm { package: String, version: String, settings: Vec<String> },
    /// A try of what was made.
    Check(String),
}

/// What a RUN does; `None` where some of it is not understood.
pub(super) fn actions(text: &str) -> Option<Vec<Action>> {
    let mut reader = Reader::default();
    for command in commands(text) {
        reader.command(&command)?;
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    actions: Vec<Action>,
    /// Path -> URLs.
    downloads: Vec<(String, Vec<String>)>,
    /// Archive -> directory it is unpacked in.
    unpacked: Vec<(String, String)>,
    settings: Vec<String>,
}

/// Packages that are only there to download others.
const HELPERS: &[&str] = &["wget", "curl", "ca-certificates", "tar", "gzip", "unzip"];

impl Reader {
    fn command(&mut self, words: &[String]) -> Option<()> {
        let first = words.first().map(String::as_str)?;
        let operands =
            || words[1..].iter().filter(|word| !word.starts_with('-')).cloned().collect::<Vec<_>>();
        match first {
            "command" | "[" | "test" | "exit" | "rm" | "true" | "echo" | "cat" | "set" | "cd" | ":" => {}
            "apt-get" | "apt" | "yum" | "dnf" | "microdnf" | "apk" => {
                let packages = operands();
                let helpers = packages[1..].iter().all(|package| HELPERS.contains(&package.as_str()));
                if !matches!(packages.first().map(String::as_str), Some("update" | "clean")) && !helpers {
                    return None;
                }
            }
            "mkdir" => {
                let mode =
                    words.iter().position(|word| word == "-m").and_then(|at| words.get(at + 1)).cloned();
                let paths = operands().into_iter().filter(|path| Some(path) != mode.as_ref()).collect();
                self.actions.push(Action::Directories { mode, paths });
            }
            "chmod" => {
                let (mode, paths) = (words.get(1)?.clone(), words.get(2..)?.to_vec());
                self.actions.push(Action::Modes { mode, paths });
            }
            "wget" | "curl" => {
                let url = words.iter().find(|word| word.starts_with("http"))?.clone();
                let flag = if first == "wget" { "-O" } else { "-o" };
                let path =
                    words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1))?.clone();
                match self.downloads.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, urls)) if urls.contains(&url) => {}
                    Some((_, urls)) => urls.push(url),
                    None => self.downloads.push((path, vec![url])),
                }
            }
            "tar" => {
                let archive =
                    words.iter().find(|word| self.downloads.iter().any(|(path, _)| path == *word))?.clone();
                let to = words.iter().position(|word| word == "-C").and_then(|at| words.get(at + 1))?.clone();
                self.unpacked.push((archive, to));
            }
            "cp" | "mv" | "install" => self.take(&operands())?,
            "npm" if words.get(1).is_some_and(|word| word == "config") => self.settings.push(words.join(" ")),
            "npm" if words.iter().any(|word| word == "-g") => {
                let (package, version) =
                    operands().pop()?.rsplit_once('@').map(|(p, v)| (p.to_owned(), v.to_owned()))?;
                let settings = std::mem::take(&mut self.settings);
                self.actions.push(Action::Npm { package, version, settings });
            }
            "serverless" | "sam" => self.actions.push(Action::Check(words.join(" "))),
            _ => return None,
        }
        Some(())
    }

    /// A file out of an unpacked archive.
    fn take(&mut self, operands: &[String]) -> Option<()> {
        let [from, to] = operands else { return None };
        let (archive, directory) =
            self.unpacked.iter().find(|(_, directory)| from.starts_with(directory.as_str()))?;
        let member = from[directory.len()..].trim_start_matches('/').to_owned();
        let name = member.rsplit('/').next().unwrap_or_default();
        let path = if to.ends_with('/') { format!("{to}{name}") } else { to.clone() };
        let (_, urls) = self.downloads.iter().find(|(path, _)| path == archive)?;
        let action = Action::Download { urls: urls.clone(), path, member: Some(member) };
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
        Some(())
    }

    fn finish(mut self) -> Option<Vec<Action>> {
        for (path, urls) in self.downloads {
            if !self.unpacked.iter().any(|(archive, _)| *archive == path) {
                self.actions.push(Action::Download { urls, path, member: None });
            }
        }
        Some(self.actions)
    }
}

static WORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"&&|\|\||[;()|\n]|(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s;&|()"'])+"#).expect("a pattern")
});

/// The simple commands of a script, each as its words, redirections left out.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    for word in WORD.find_iter(text) {
        let word = word.as_str();
        let last = commands.last_mut().expect("there is always one");
        match word {
            "&&" | "||" | ";" | "(" | ")" | "|" | "\n" => commands.push(Vec::new()),
            "if" | "then" | "elif" | "else" | "fi" | "!" | "do" | "done" if last.is_empty() => {}
            word => last.push(word.replace(['"', '\''], "")),
        }
    }
    for command in &mut commands {
        if let Some(at) = command.iter().position(|word| word.contains('>')) {
            command.truncate(at);
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_and_what_is_taken_out_of_them() {
        let found = actions(
            "if command -v apt-get >/dev/null 2>&1; then apt-get update -y && apt-get install -y wget ca-certificates && \
             wget -O /tmp/d.tgz \"https://example.com/d.tgz\" && tar -xzf /tmp/d.tgz -C /tmp && \
             cp /tmp/docker/docker /usr/local/bin/ && chmod +x /usr/local/bin/docker && rm -rf /tmp/d.tgz; fi",
        );
        let download = Action::Download {
            urls: vec!["https://example.com/d.tgz".into()],
            path: "/usr/local/bin/docker".into(),
            member: Some("docker/docker".into()),
        };
        assert_eq!(found.unwrap()[0], download);
    }

    #[test]
    fn mirrors_are_urls_of_one_download() {
        let found =
            actions("wget -O /x https://a/x && chmod +x /x || (echo second && curl -L -o /x https://b/x)");
        let urls = vec!["https://a/x".to_owned(), "https://b/x".to_owned()];
        assert!(found.unwrap().contains(&Action::Download { urls, path: "/x".into(), member: None }));
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        assert_eq!(actions("apt-get update && apt-get install -y docker.io"), None);
        assert_eq!(actions("make install"), None);
    }
}
