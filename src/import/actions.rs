//! What a RUN of a Dockerfile does, as far as a manifest has words for it.

use std::collections::BTreeMap;

use super::expansion::{CLOSE, OPEN};
use super::shell::{Command, Join, Simple, Word, commands};

/// Something that a RUN does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Directories with a mode.
    Directories { mode: Option<String>, paths: Vec<String> },
    /// A change of modes.
    Modes { mode: String, paths: Vec<String> },
    /// A download, from the first URL that answers; of an archive only a member.
    Download { urls: Vec<String>, path: String, member: Option<String> },
    /// Global npm packages with the settings before them: names with versions.
    Npm { packages: Vec<(String, String)>, options: Vec<String>, settings: Vec<String> },
    /// A try of what was made.
    Check(String),
}

/// What a RUN does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Understood {
    pub actions: Vec<Action>,
    /// Packages that it installs for its downloads alone.
    pub helpers: Vec<String>,
    /// Files that it writes where a download fails.
    pub stubs: Vec<String>,
    /// Downloads that it removes where something fails.
    pub removed: Vec<String>,
    /// It goes on where something fails.
    pub is_tolerant: bool,
    /// Some of it stands under a condition that only looks for programs.
    pub is_conditional: bool,
}

/// What a RUN does; `None` where some of it is not understood. `constants` are variables with their values.
pub(super) fn understand(text: &str, constants: &BTreeMap<String, String>) -> Option<Understood> {
    let mut reader = Reader::default();
    reader.all(&commands(text, constants)?)?;
    reader.finish()
}

/// What changes the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Effects {
    actions: Vec<Action>,
    /// Path -> URLs.
    downloads: Vec<(String, Vec<String>)>,
    /// Archive, directory it is unpacked in, whether something was taken out.
    unpacked: Vec<(String, String, bool)>,
    settings: Vec<String>,
    /// Files that are to be removed again.
    written: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Reader {
    effects: Effects,
    stubs: Vec<String>,
    removed: Vec<String>,
    helpers: Vec<String>,
    has_manager: bool,
    is_conditional: bool,
    is_tolerant: bool,
}

/// Packages that are only there to download others.
const HELPERS: &[&str] = &["wget", "curl", "ca-certificates", "tar", "gzip", "unzip"];
/// Lists and caches of package managers, which they leave behind.
const CACHES: &[&str] =
    &["/var/lib/apt/lists", "/var/cache/apt", "/var/cache/apk", "/var/cache/yum", "/var/cache/dnf"];

/// Whether a path lies at or below a directory.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_temporary(path: &str) -> bool {
    is_below(path, "/tmp") || is_below(path, "/var/tmp")
}

/// Whether it can be a path of a manifest.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() > 1
        && !text.contains(|c: char| c.is_control() && c != OPEN && c != CLOSE)
        && !text.split('/').any(|part| matches!(part, "." | ".."))
}

/// Whether a test is true, where it says so itself.
fn known(condition: &Simple) -> Option<bool> {
    let words: Vec<&str> = condition.words.iter().map(|word| word.text.as_str()).collect();
    if condition.words.iter().any(|word| !word.plain || word.text.contains(OPEN)) {
        return None;
    }
    let (is_negated, words) = match words.split_first() {
        Some((&"!", rest)) => (true, rest),
        _ => (false, words.as_slice()),
    };
    let is_true = match words {
        ["[", a, "=" | "==", b, "]"] | ["test", a, "=" | "==", b] => a == b,
        ["[", a, "!=", b, "]"] | ["test", a, "!=", b] => a != b,
        ["[", "-n", a, "]"] | ["test", "-n", a] => !a.is_empty(),
        ["[", "-z", a, "]"] | ["test", "-z", a] => a.is_empty(),
        ["true"] => true,
        ["false"] => false,
        _ => return None,
    };
    Some(is_true != is_negated)
}

/// Whether a test only looks for a program.
fn looks_for_program(condition: &Simple) -> bool {
    let words: Vec<&str> =
        condition.words.iter().map(|word| word.text.as_str()).filter(|word| *word != "!").collect();
    matches!(words.as_slice(), ["command", "-v" | "-V", _] | ["which" | "type" | "hash", _])
}

/// `Some(None)` for a condition that only looks for programs, `None` for one that is not understood.
fn judged(condition: &[Command]) -> Option<Option<bool>> {
    let mut tests = Vec::new();
    for command in condition {
        let Command::Simple(simple) = command else { return None };
        if !simple.writes.is_empty() || !matches!(simple.join, Join::Then | Join::And) {
            return None;
        }
        tests.push(simple);
    }
    if tests.is_empty() {
        return None;
    }
    if tests.iter().all(|test| looks_for_program(test)) {
        return Some(None);
    }
    let known: Option<Vec<bool>> = tests.iter().map(|test| known(test)).collect();
    Some(Some(known?.into_iter().all(|is_true| is_true)))
}

impl Reader {
    fn all(&mut self, commands: &[Command]) -> Option<()> {
        commands.iter().try_for_each(|command| match command {
            Command::Simple(simple) => self.simple(simple),
            Command::If { arms, otherwise } => self.branches(arms, otherwise),
        })
    }

    fn branches(&mut self, arms: &[(Vec<Command>, Vec<Command>)], otherwise: &[Command]) -> Option<()> {
        let mut bodies: Vec<&[Command]> = Vec::new();
        let mut is_certain = false;
        for (condition, body) in arms {
            match judged(condition)? {
                Some(false) => {}
                Some(true) => {
                    bodies.push(body);
                    is_certain = true;
                    break;
                }
                None => bodies.push(body),
            }
        }
        if !is_certain {
            bodies.push(otherwise);
        }
        if let [body] = bodies.as_slice() {
            return self.all(body);
        }
        // Whichever program is there, the same has to come out.
        let mut ends: Vec<Reader> = Vec::new();
        for body in bodies {
            let mut end = self.clone();
            end.all(body)?;
            ends.push(end);
        }
        let before = self.effects.clone();
        for end in ends {
            self.helpers.extend(end.helpers);
            self.has_manager |= end.has_manager;
            self.stubs.extend(end.stubs);
            self.removed.extend(end.removed);
            self.is_tolerant |= end.is_tolerant;
            if end.effects != before {
                if self.effects != before && self.effects != end.effects {
                    return None;
                }
                self.effects = end.effects;
                self.is_conditional = true;
            }
        }
        Some(())
    }

    fn simple(&mut self, command: &Simple) -> Option<()> {
        if command.join == Join::Pipe {
            return None;
        }
        for target in &command.writes {
            if !target.plain || target.text.contains(OPEN) {
                return None;
            }
            let path = target.text.trim_start_matches("./").to_owned();
            if self.effects.downloads.iter().any(|(known, _)| *known == path) {
                if !command.fallback {
                    return None;
                }
                self.stubs.push(path);
            } else {
                self.effects.written.push(path);
            }
        }
        let (first, rest) = command.words.split_first()?;
        let (texts, is_plain): (Vec<&str>, bool) =
            (rest.iter().map(|word| word.text.as_str()).collect(), rest.iter().all(|word| word.plain));
        let runs_others = |word: &Word| !word.plain && (word.text.contains("$(") || word.text.contains('`'));
        let operands: Vec<&str> = texts.iter().copied().filter(|word| !word.starts_with('-')).collect();
        match first.text.as_str() {
            "true" | ":" if command.fallback => {
                self.is_tolerant = true;
                return Some(());
            }
            "echo" | "cat" | "printf" | "true" | ":" | "set" | "exit" if !rest.iter().any(runs_others) => {
                return Some(());
            }
            "rm" => return self.remove(rest, command.fallback),
            _ if !is_plain || !first.plain => return None,
            "cd" => return Some(()),
            "wget" | "curl" => return self.download(&first.text, &texts, command.fallback),
            "chmod" if command.fallback => {
                let of_downloads = operands.iter().skip(1).all(|path| self.is_download(path));
                if !of_downloads {
                    return None;
                }
            }
            // What is done after a failure alone is not told from what is always done.
            _ if command.fallback => return None,
            _ => {}
        }
        match first.text.as_str() {
            "apt-get" | "apt" | "yum" | "dnf" | "microdnf" | "apk" => {
                self.packages(&first.text, &operands)?
            }
            "mkdir" => self.directories(&texts)?,
            "chmod" => {
                let (mode, paths) = texts.split_first()?;
                if mode.starts_with('-') || paths.is_empty() || !paths.iter().all(|path| is_path(path)) {
                    return None;
                }
                let paths = paths.iter().map(|path| (*path).to_owned()).collect();
                self.act(Action::Modes { mode: (*mode).to_owned(), paths });
            }
            "tar" => {
                let [flags, archive, "-C", to] = texts.as_slice() else { return None };
                let is_plain_unpacking = flags.trim_start_matches('-').chars().all(|c| "xzjJvf".contains(c))
                    && flags.contains('x');
                if !is_plain_unpacking || !self.is_download(archive) || !is_temporary(to) {
                    return None;
                }
                self.effects.unpacked.push(((*archive).to_owned(), (*to).to_owned(), false));
            }
            "cp" | "mv" if operands.len() == texts.len() => self.take(&operands)?,
            "npm" => self.npm(&texts)?,
            "serverless" | "sam" => {
                let ["-v" | "--version" | "version" | "-h" | "--help"] = texts.as_slice() else {
                    return None;
                };
                self.act(Action::Check(format!("{} {}", first.text, texts[0])));
            }
            _ => return None,
        }
        Some(())
    }

    fn act(&mut self, action: Action) {
        if !self.effects.actions.contains(&action) {
            self.effects.actions.push(action);
        }
    }

    fn is_download(&self, path: &str) -> bool {
        self.effects.downloads.iter().any(|(known, _)| known == path)
    }

    fn packages(&mut self, manager: &str, operands: &[&str]) -> Option<()> {
        let (verb, packages) = operands.split_first()?;
        let is_lists = match *verb {
            "update" => matches!(manager, "apt-get" | "apt" | "apk"),
            "clean" | "makecache" => true,
            _ => false,
        };
        if !is_lists {
            let is_install = matches!(*verb, "install" | "add") && !packages.is_empty();
            if !is_install || !packages.iter().all(|package| HELPERS.contains(package)) {
                return None;
            }
            self.helpers.extend(packages.iter().map(|package| (*package).to_owned()));
        }
        self.has_manager = true;
        Some(())
    }

    /// Only what was made before in the same RUN can be forgotten, and nothing where it is removed after a
    /// failure alone.
    fn remove(&mut self, operands: &[Word], fallback: bool) -> Option<()> {
        for word in operands {
            let text = word.text.as_str();
            if word.plain && matches!(text, "-f" | "-r" | "-rf" | "-fr" | "-R" | "-Rf" | "--") {
                continue;
            }
            if self.has_manager && CACHES.iter().any(|cache| is_below(text, cache)) && !text.contains('$') {
                continue;
            }
            if !word.plain || word.text.contains(OPEN) {
                return None;
            }
            let path = text.trim_start_matches("./");
            let effects = &mut self.effects;
            if fallback {
                if !effects.downloads.iter().any(|(known, _)| known == path) {
                    return None;
                }
                self.removed.push(path.to_owned());
                continue;
            }
            if effects.written.iter().any(|written| written == path) {
                effects.written.retain(|written| written != path);
            } else if effects.unpacked.iter().any(|(archive, ..)| archive == path) {
                // What was taken out of it stays.
            } else if effects.downloads.iter().any(|(known, _)| known == path) {
                effects.downloads.retain(|(known, _)| known != path);
                self.stubs.retain(|stub| stub != path);
                self.removed.retain(|removed| removed != path);
            } else if !effects.unpacked.iter().any(|(_, to, _)| is_below(path, to) && path != "/tmp") {
                return None;
            }
        }
        Some(())
    }

    fn directories(&mut self, words: &[&str]) -> Option<()> {
        let (mut mode, mut paths) = (None, Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "-p" | "--parents" | "-v" => {}
                "-m" | "-pm" | "--mode" => mode = Some((*words.next()?).to_owned()),
                word if word.starts_with("--mode=") => mode = Some(word["--mode=".len()..].to_owned()),
                word if word.starts_with("-m") => mode = Some(word["-m".len()..].to_owned()),
                path if is_path(path) => paths.push(path.to_owned()),
                _ => return None,
            }
        }
        let is_octal =
            |mode: &String| (1..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if paths.is_empty() || !mode.as_ref().is_none_or(is_octal) {
            return None;
        }
        self.act(Action::Directories { mode, paths });
        Some(())
    }

    /// After a failure the same file from elsewhere; otherwise the last one counts.
    fn download(&mut self, program: &str, words: &[&str], fallback: bool) -> Option<()> {
        let (mut url, mut path) = (None, None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let is_short = word.starts_with('-') && !word.starts_with("--") && word.len() > 1;
            match (program, *word) {
                (_, word) if word.starts_with("http://") || word.starts_with("https://") => {
                    if url.replace(word.to_owned()).is_some() {
                        return None;
                    }
                }
                ("wget", "--quiet" | "--no-verbose" | "-nv") => {}
                ("curl", "--fail" | "--silent" | "--show-error" | "--location" | "--compressed") => {}
                ("curl", "--retry" | "--retry-delay" | "--connect-timeout" | "--max-time") => {
                    words.next()?;
                }
                ("wget", "--tries" | "--timeout" | "-t" | "-T") => {
                    words.next()?;
                }
                ("curl", "--output") | ("wget", "--output-document") => path = Some(*words.next()?),
                ("curl", flags) if is_short && flags[1..].chars().all(|c| "fsSLo".contains(c)) => {
                    if flags.ends_with('o') {
                        path = Some(*words.next()?);
                    } else if flags.contains('o') {
                        return None;
                    }
                }
                ("wget", flags) if is_short && flags[1..].chars().all(|c| "qcO".contains(c)) => {
                    if flags.ends_with('O') {
                        path = Some(*words.next()?);
                    } else if flags.contains('O') {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        let (url, path) = (url?, path.filter(|path| is_path(path) && !path.ends_with('/'))?.to_owned());
        match self.effects.downloads.iter_mut().find(|(known, _)| *known == path) {
            Some((_, urls)) if fallback => {
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
            None if fallback => return None,
            Some((_, urls)) => *urls = vec![url],
            None => self.effects.downloads.push((path, vec![url])),
        }
        Some(())
    }

    /// A file out of an unpacked archive.
    fn take(&mut self, operands: &[&str]) -> Option<()> {
        let [from, to] = operands else { return None };
        let effects = &mut self.effects;
        let mut fitting = effects.unpacked.iter_mut().filter(|(_, directory, _)| is_below(from, directory));
        // Of several archives nobody knows which one had it.
        let (Some((archive, directory, taken)), None) = (fitting.next(), fitting.next()) else { return None };
        let member = from[directory.trim_end_matches('/').len()..].trim_start_matches('/').to_owned();
        let name = member.rsplit('/').next().filter(|name| !name.is_empty())?;
        let path = if to.ends_with('/') { format!("{to}{name}") } else { (*to).to_owned() };
        if !is_path(&path) {
            return None;
        }
        let (_, urls) = effects.downloads.iter().find(|(path, _)| path == archive)?;
        *taken = true;
        let action = Action::Download { urls: urls.clone(), path, member: Some(member) };
        self.act(action);
        Some(())
    }

    fn npm(&mut self, words: &[&str]) -> Option<()> {
        let (verb, rest) = words.split_first()?;
        match *verb {
            "config" if rest.first() == Some(&"set") => {
                self.effects.settings.push(format!("npm {}", words.join(" ")));
                return Some(());
            }
            "cache" if rest.first() == Some(&"clean") => return Some(()),
            "install" | "i" | "add" => {}
            _ => return None,
        }
        let (options, packages): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| word.starts_with('-'));
        if !options.iter().any(|option| matches!(*option, "-g" | "--global")) {
            return None;
        }
        let known = ["-g", "--global", "--no-audit", "--no-fund"];
        let options: Vec<String> =
            options.into_iter().filter(|option| !known.contains(option)).map(str::to_owned).collect();
        let is_simple = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._@/+-=:,\u{1}\u{2}".contains(c))
        };
        let packages: Option<Vec<(String, String)>> = packages
            .into_iter()
            .map(|package| {
                let (name, version) = package.rsplit_once('@')?;
                let is_known = is_simple(name) && is_simple(version) && !name.contains([OPEN, ':', '=']);
                let is_scoped = name.starts_with('@') && name.matches('/').count() == 1;
                let is_name = is_scoped || !name.contains(['/', '@']);
                (is_known && is_name).then(|| (name.to_owned(), version.to_owned()))
            })
            .collect();
        let packages = packages.filter(|packages| !packages.is_empty())?;
        if !options.iter().all(|option| is_simple(option)) {
            return None;
        }
        let settings = std::mem::take(&mut self.effects.settings);
        self.act(Action::Npm { packages, options, settings });
        Some(())
    }

    fn finish(self) -> Option<Understood> {
        let Effects { mut actions, downloads, unpacked, settings, written } = self.effects;
        let is_lost = unpacked.iter().any(|(archive, _, taken)| !taken || !is_temporary(archive));
        // Helpers without a download are wanted for themselves.
        let is_wanted = !self.helpers.is_empty() && downloads.is_empty();
        if is_lost || is_wanted || !settings.is_empty() || !written.is_empty() {
            return None;
        }
        for (path, urls) in downloads {
            if !unpacked.iter().any(|(archive, ..)| *archive == path) {
                actions.push(Action::Download { urls, path, member: None });
            }
        }
        let (mut helpers, mut stubs, mut removed) = (self.helpers, self.stubs, self.removed);
        for names in [&mut helpers, &mut stubs, &mut removed] {
            names.sort();
            names.dedup();
        }
        let (is_conditional, is_tolerant) = (self.is_conditional, self.is_tolerant);
        Some(Understood { actions, helpers, stubs, removed, is_tolerant, is_conditional })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(text: &str) -> Option<Understood> {
        let constants = BTreeMap::from([("ON".to_owned(), "true".to_owned())]);
        understand(text, &constants)
    }

    #[test]
    fn downloads_and_what_is_taken_out_of_them() {
        let found = actions(
            "if command -v apt-get >/dev/null 2>&1; then apt-get update -y && apt-get install -y wget ca-certificates && \
             wget -O /tmp/d.tgz \"https://example.com/d.tgz\" && tar -xzf /tmp/d.tgz -C /tmp && \
             cp /tmp/docker/docker /usr/local/bin/ && chmod +x /usr/local/bin/docker && rm -rf /tmp/docker /tmp/d.tgz; \
             else echo \"none\"; fi",
        )
        .unwrap();
        let download = Action::Download {
            urls: vec!["https://example.com/d.tgz".into()],
            path: "/usr/local/bin/docker".into(),
            member: Some("docker/docker".into()),
        };
        assert_eq!(found.actions[0], download);
        assert_eq!(found.helpers, ["ca-certificates", "wget"]);
        assert!(found.is_conditional);
    }

    #[test]
    fn mirrors_are_urls_of_one_download() {
        let found = actions(
            "wget -O /x https://a/x && chmod +x /x || (echo second && curl -L -o /x https://b/x) || (echo '#!/bin/sh' > /x)",
        )
        .unwrap();
        let urls = vec!["https://a/x".to_owned(), "https://b/x".to_owned()];
        assert!(found.actions.contains(&Action::Download { urls, path: "/x".into(), member: None }));
        assert_eq!(found.stubs, ["/x"]);
    }

    #[test]
    fn what_is_done_after_a_failure_takes_nothing_away() {
        let download = |path: &str, url: &str| Action::Download {
            urls: vec![url.to_owned()],
            path: path.to_owned(),
            member: None,
        };
        for text in [
            "curl -fsSL -o /opt/x https://a/x || rm -f /opt/x",
            "curl -fsSL -o /opt/x https://a/x || { rm -f /opt/x; exit 1; }",
        ] {
            let found = actions(text).unwrap();
            assert_eq!(found.actions, [download("/opt/x", "https://a/x")], "{text}");
            assert_eq!(found.removed, ["/opt/x"]);
        }
        assert!(actions("curl -fo /x https://a/x || true").unwrap().is_tolerant);
        assert_eq!(actions("curl -fo /x https://a/x || rm -rf /opt/secret"), None);
        assert_eq!(actions("echo a > /x || rm /x"), None);
        let found = actions("curl -fo /x https://a/x && curl -fo /x https://b/x").unwrap();
        assert_eq!(found.actions, [download("/x", "https://b/x")], "the second is written over the first");
        assert_eq!(actions("curl -fo /x https://a/x || curl -fo /y https://b/y"), None);
    }

    #[test]
    fn what_is_known_decides_a_branch() {
        let directory = |path: &str| Action::Directories { mode: None, paths: vec![path.into()] };
        let text = "if [ \"$ON\" = true ]; then mkdir /a; else mkdir /b; fi";
        assert_eq!(actions(text).unwrap().actions, [directory("/a")]);
        let text = "if [ \"$ON\" != true ]; then mkdir /a; else mkdir /b; fi";
        assert_eq!(actions(text).unwrap().actions, [directory("/b")]);
    }

    #[test]
    fn all_packages_of_an_installation_are_taken() {
        let found = actions("npm config set a b && npm install -g @a/b@1.0.0 c@2.0.0 --force").unwrap();
        let packages = vec![("@a/b".to_owned(), "1.0.0".to_owned()), ("c".to_owned(), "2.0.0".to_owned())];
        let (options, settings) = (vec!["--force".to_owned()], vec!["npm config set a b".to_owned()]);
        assert_eq!(found.actions, [Action::Npm { packages, options, settings }]);
    }

    #[test]
    fn what_is_written_and_removed_again_is_nothing() {
        let found = actions("echo a > x.yml && echo b >> ./x.yml && serverless -v && rm x.yml").unwrap();
        assert_eq!(found.actions, [Action::Check("serverless -v".into())]);
        let found = actions("curl -fo /tmp/x https://a/x && rm /tmp/x").unwrap();
        assert_eq!(found.actions, []);
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        for text in [
            "apk",
            "apt-get",
            "apt-get update && apt-get install -y docker.io",
            "apt-get update && apt-get install -y curl",
            "apt-get upgrade -y",
            "yum update -y",
            "make install",
            "echo export A=b > /etc/profile.d/x.sh",
            "mkdir -p /a && cat /etc/hosts > /a/hosts",
            "cat /etc/hosts >> /a 2>&1",
            "echo a | tee /a",
            "rm -rf /opt/secret",
            "rm -rf /var/lib/apt/lists/*",
            "rm -f /x && curl -fo /x https://a/x",
            "curl -fo /tmp/x.tgz https://a/x.tgz && tar xf /tmp/x.tgz -C /opt",
            "curl -fo /tmp/x.tgz https://a/x.tgz && tar xf /tmp/x.tgz -C /tmp",
            "curl -fo /tmp/x.tgz https://a/x.tgz && tar xf /tmp/x.tgz -C /tmp && cp /etc/passwd /b",
            "curl -fo /x \"https://a/$(uname -m)\"",
            "curl -fo x https://a/x",
            "curl -H 'A: b' -fo /x https://a/x",
            "wget https://a/x",
            "npm install -g a",
            "npm install -g @a/b",
            "npm install -g a@1 ./b",
            "npm uninstall -g a@1",
            "npm config set a b",
            "mkdir -m u=rwx /a",
            "mkdir a",
            "mkdir /a$B",
            "chmod -R 755 /a",
            "serverless plugin install -n a",
            "if [ -f /x ]; then mkdir /a; fi",
            "if command -v a; then mkdir /a; else mkdir /b; fi",
            "[ -f /x ] && mkdir /a",
            "mkdir /a || mkdir /b",
            "cat <<EOF",
        ] {
            assert_eq!(actions(text), None, "{text}");
        }
    }
}
