//! How the program ends: exit codes and the last words.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use crate::run::StepError;

/// An end other than success. Its words go to standard error.
#[derive(Debug)]
pub enum Exit {
    /// Code 1: some cell failed. Everything has been said.
    Failed,
    /// Code 2: usage or manifest.
    Usage(String),
    /// Code 3: engine, registry, credentials, files.
    Environment(String),
    /// Code 130: interrupted. Everything has been said.
    Interrupted,
    /// Code 0 though output could not be finished: the reader has gone.
    ReaderGone,
}

impl Exit {
    /// Says the last words and gives the code.
    pub fn report(self) -> ExitCode {
        let (code, words) = match self {
            Self::Failed => (1, None),
            Self::Usage(words) => (2, Some(words)),
            Self::Environment(words) => (3, Some(words)),
            Self::Interrupted => (130, None),
            Self::ReaderGone => (0, None),
        };
        if let Some(words) = words {
            say(&words);
        }
        ExitCode::from(code)
    }

    /// An environment failure out of step errors.
    pub fn steps(errors: &[StepError]) -> Self {
        let lines: Vec<String> = errors
            .iter()
            .map(|e| match &e.help {
                Some(help) => format!("error: {}\n  help: {help}", e.message),
                None => format!("error: {}", e.message),
            })
            .collect();
        Self::Environment(lines.join("\n"))
    }
}

/// Writes results to standard output.
///
/// # Errors
/// When it is closed or full.
pub fn print(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Exit::ReaderGone
        } else {
            Exit::Environment(format!("error: failed to write to standard output: {error}"))
        }
    })
}

/// Writes a line to standard error.
pub fn say(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether standard error takes colours.
pub fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stderr().is_terminal()
}
