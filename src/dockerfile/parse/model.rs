//! What is understood of a Dockerfile, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Build arguments that need no `ARG`.
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What a Dockerfile is read with.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The stage to build; the last unless set.
    pub target: Option<&'a str>,
    /// `os/architecture` of the result.
    pub platform: &'a str,
}

/// How a name is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UseKind {
    /// `# syntax=`: the frontend.
    Syntax,
    /// `FROM`.
    From,
    /// `COPY --from=`.
    Copy,
    /// `RUN --mount=from=`.
    Mount,
}

/// A name of an image or of a named context, where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name, variables replaced.
    pub text: String,
    /// Bytes in the file.
    pub at: Range<usize>,
    /// How it is used.
    pub kind: UseKind,
}

/// A Dockerfile as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The whole text.
    pub text: String,
    /// What the stages that are needed take from outside, in order of the file; no `scratch`.
    pub names: Vec<Name>,
    /// Which of `names` the stage that is built begins with; `None` for scratch.
    pub base: Option<usize>,
    /// Build arguments that are declared.
    pub args: BTreeSet<String>,
}

impl Dockerfile {
    /// The text with other names: `rename` gives one for each of [`Self::names`].
    ///
    /// Lines stay lines, so that places in BuildKit's messages are those of the file.
    pub fn renamed(&self, rename: impl Fn(&Name) -> Option<String>) -> String {
        let mut text = self.text.clone();
        for name in self.names.iter().rev() {
            if let Some(other) = rename(name) {
                text.replace_range(name.at.clone(), &other);
            }
        }
        text
    }

    /// Whether a build argument is declared, or needs no declaration.
    pub fn takes(&self, arg: &str) -> bool {
        self.args.contains(arg) || PREDEFINED.contains(&arg)
    }
}

/// A mistake in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileError {
    /// What is wrong, as a fragment.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Bytes in the file.
    pub at: Range<usize>,
}
