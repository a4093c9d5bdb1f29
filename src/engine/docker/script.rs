//! The small shell script around a run's command: hands over secrets, and packs what is kept.
//!
//! Secrets come by standard input, one line each for the name and for each part of the value, in
//! octal escapes: `read` and `printf` of any POSIX shell do, no program of the image is needed.
//!
//! # Why the container packs its own files
//! The kept paths are packed by the image's own `tar` in the container that has just run the
//! command, and come out through the attached standard output, while all output of the command
//! itself goes to standard error. It needs GNU tar and root, which is asked before anything is
//! sent; where it cannot be, the archive API is used.
//!
//! Measured with 26,000 files of 194 MB, CPU seconds beyond what the removal of such a container
//! costs anyway (1.1 to 1.6 of dockerd):
//!
//! | | dockerd 20.10.24 | dockerd 28.5.2 | client |
//! |---|---|---|---|
//! | tar in the container | 0.8 | 0.3 | 0.2 to 0.5 |
//! | archive API, names rewritten | 1.9 | 5.5 | 0.6; 2.0 with the headers of 28.5.2 |
//! | commit and save of all changes | 11 to 15 | 14 to 20 | 0.5 |
//!
//! The whole machine, in the one round that it was quiet (28.5.2, removal and tar included): 3.2 s
//! for the tar in the container, 10.5 s for the archive API, 19.2 s for commit and save. An `exec`
//! of tar sends the same bytes the same way, with one process and two requests more.

use std::collections::BTreeMap;

use crate::engine::{Collect, EngineError, RunRequest, SecretValue};

/// Where secrets are mounted.
pub(super) const SECRETS: &str = "/run/secrets";

/// Files that an engine mounts into each container.
pub(super) const ENGINE_FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Bytes of a secret in one line; each becomes five, and a line stays under what any shell takes.
const SECRET_PART: usize = 256;

/// Reads names and values until an empty name.
const READ_SECRETS: &str = r#"(umask 077
while IFS= read -r n && [ -n "$n" ]; do
: >"/run/secrets/$n" || exit 125
while IFS= read -r v && [ -n "$v" ]; do printf %b "$v" >>"/run/secrets/$n" || exit 125; done
done) || exit 125
"#;

/// All that the command left running must not change files while they are packed. To the init
/// process of the container -1 is everything but itself.
const END_THE_REST: &str = "kill -s KILL -- -1 2>/dev/null
";

/// One extended header a file less: Docker's own archives have whole seconds too.
const TAR: &str = "tar -C / --format=posix --numeric-owner --xattrs --one-file-system -b 128 \
--pax-option=delete=atime,delete=ctime,delete=mtime --anchored --no-wildcards";

/// What the script says on standard output, as a first line, after a command that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announcement {
    /// The tar follows.
    Tar,
    /// This image cannot pack: use the archive API.
    Archive,
    /// The path with this index is not there.
    Missing(usize),
}

impl Announcement {
    /// Parses the line, without its end.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        match std::str::from_utf8(line).ok()? {
            "tar" => Some(Self::Tar),
            "archive" => Some(Self::Archive),
            other => other.strip_prefix("missing ")?.parse().ok().map(Self::Missing),
        }
    }
}

/// The command to give to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Entrypoint and arguments; empty to start the image as it is.
    pub argv: Vec<String>,
    /// Standard output belongs to the script, beginning with an [`Announcement`].
    pub announces: bool,
}

impl Script {
    /// Wraps the command of `request` where its secrets or kept paths need it.
    pub(super) fn of(request: &RunRequest) -> Self {
        let shell = shell_of(&request.command);
        let secrets = !request.secrets.is_empty();
        let script = match (&request.collect, shell) {
            (Collect::Paths(paths), Some(_)) => Some(packing(secrets, &topmost(paths), paths)),
            _ if secrets => Some(format!("{READ_SECRETS}exec \"$@\" </dev/null\n")),
            _ => None,
        };
        let announces = matches!(request.collect, Collect::Paths(_)) && shell.is_some();
        let argv = match script {
            Some(script) => [shell.unwrap_or("/bin/sh"), "-c", &script, "railyard"]
                .into_iter()
                .map(str::to_owned)
                .chain(request.command.iter().cloned())
                .collect(),
            None => request.command.clone(),
        };
        Self { argv, announces }
    }
}

/// The command's own shell: if the image has it for the command, it has it for the script.
fn shell_of(command: &[String]) -> Option<&str> {
    let first = command.first()?;
    let name = first.rsplit('/').next()?;
    matches!(name, "sh" | "bash" | "dash" | "ash").then_some(first)
}

fn packing(secrets: bool, topmost: &[&str], paths: &[String]) -> String {
    // 3 is the real standard output; the command's goes to standard error.
    let mut script = String::from("exec 3>&1 1>&2\n");
    if secrets {
        script.push_str(READ_SECRETS);
    }
    script.push_str("\"$@\" 3>&- </dev/null || exit $?\n");
    script.push_str(END_THE_REST);
    for (index, path) in paths.iter().enumerate() {
        let path = quoted(&format!("/{}", relative(path)));
        script.push_str(&format!(
            "[ -e {path} ] || [ -L {path} ] || {{ echo missing {index} >&3; exit 0; }}\n"
        ));
    }
    script.push_str("LC_ALL=C; export LC_ALL; unset TAR_OPTIONS\n");
    script.push_str(&format!("set -- {TAR}"));
    for file in ENGINE_FILES {
        script.push_str(&format!(" --exclude={file}"));
    }
    script.push_str(
        "\nif [ \"$(id -u 2>/dev/null)\" = 0 ] && \"$@\" -cf - -T /dev/null >/dev/null 2>&1; then\necho tar >&3\nexec \"$@\" -cf - -T /dev/null --",
    );
    for path in topmost {
        script.push(' ');
        script.push_str(&quoted(relative(path)));
    }
    script.push_str(" >&3 3>&-\nfi\necho archive >&3\n");
    script
}

/// The paths that lie beneath no other one, as given otherwise, in their order.
pub(super) fn topmost(paths: &[String]) -> Vec<&str> {
    let beneath = |path: &str, other: &str| {
        let other = relative(other);
        relative(path).strip_prefix(other).is_some_and(|rest| other.is_empty() || rest.starts_with('/'))
    };
    let mut kept: Vec<&str> = Vec::new();
    for path in paths {
        let repeated = kept.iter().any(|k| relative(k) == relative(path));
        if !repeated && !paths.iter().any(|other| relative(other) != relative(path) && beneath(path, other)) {
            kept.push(path);
        }
    }
    kept
}

/// A path relative to `/`, without a slash at its end; empty for the root itself.
pub(super) fn relative(path: &str) -> &str {
    path.trim_matches('/')
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What to write to standard input for these secrets.
///
/// # Errors
/// When a name cannot be a file name.
pub(super) fn secret_input(secrets: &BTreeMap<String, SecretValue>) -> Result<Vec<u8>, EngineError> {
    let mut input = Vec::new();
    for (name, value) in secrets {
        let fit = !name.starts_with('.')
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !fit {
            return Err(EngineError::Request {
                action: format!("hand over the secret `{name}`"),
                message: "its name has other characters than letters, digits, `.`, `_` and `-`".to_owned(),
                retryable: false,
            });
        }
        input.extend_from_slice(name.as_bytes());
        input.push(b'\n');
        for part in value.0.as_bytes().chunks(SECRET_PART) {
            for byte in part {
                input.extend_from_slice(format!("\\0{byte:03o}").as_bytes());
            }
            input.push(b'\n');
        }
        input.push(b'\n');
    }
    input.push(b'\n');
    Ok(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_repeated_paths_are_packed_once() {
        let paths = ["/a/b", "/a", "/ab", "/a/", "/c/d/"].map(String::from);
        assert_eq!(topmost(&paths), ["/a", "/ab", "/c/d/"]);
        assert_eq!(topmost(&["/".to_owned(), "/etc".to_owned()]), ["/"]);
    }

    #[test]
    fn secrets_are_never_in_plain_text() {
        let secrets = BTreeMap::from([("npm".to_owned(), SecretValue("a'é\n".into()))]);
        assert_eq!(secret_input(&secrets).unwrap(), b"npm\n\\0141\\0047\\0303\\0251\\0012\n\n\n");
        for bad in ["", "a/b", "..", "a b", "a\nb"] {
            let secrets = BTreeMap::from([(bad.to_owned(), SecretValue(String::new()))]);
            assert!(secret_input(&secrets).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
    }

    #[test]
    fn announcements_are_parsed() {
        assert_eq!(Announcement::parse(b"tar"), Some(Announcement::Tar));
        assert_eq!(Announcement::parse(b"missing 12"), Some(Announcement::Missing(12)));
        assert_eq!(Announcement::parse(b"missing x"), None);
    }
}
