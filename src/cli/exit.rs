//! How the program ends: exit codes and the last words.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use crate::run::StepError;

/// The code of a command that was interrupted.
pub const INTERRUPTED: u8 = 130;

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
    /// Code 0 though output could not be finished: the reader has gone. Stands for success alone; what
    /// else is wrong decides the code, see `first_of`.
    ReaderGone,
}

impl Exit {
    /// Says the last words and gives the code.
    pub fn report(self) -> ExitCode {
        self.say_words();
        ExitCode::from(match self {
            Self::Failed => 1,
            Self::Usage(_) => 2,
            Self::Environment(_) => 3,
            Self::Interrupted => INTERRUPTED,
            Self::ReaderGone => 0,
        })
    }

    fn say_words(&self) {
        if let Self::Usage(words) | Self::Environment(words) = self {
            say(words);
        }
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

/// The end of parts that were all carried out, whatever became of each: the first that is not good. The
/// words of the others are said.
///
/// # Errors
/// That end.
pub fn first_of(ends: impl IntoIterator<Item = Result<(), Exit>>) -> Result<(), Exit> {
    let bad = ends.into_iter().filter_map(Result::err);
    let (gone, bad): (Vec<Exit>, Vec<Exit>) = bad.partition(|exit| matches!(exit, Exit::ReaderGone));
    let mut bad = bad.into_iter();
    let first = bad.next();
    bad.for_each(|exit| exit.say_words());
    first.or(gone.into_iter().next()).map_or(Ok(()), Err)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_stands_for_success_alone() {
        let end = first_of([Err(Exit::ReaderGone), Ok(()), Err(Exit::Failed), Err(Exit::Usage("x".into()))]);
        assert!(matches!(end, Err(Exit::Failed)), "{end:?}");
        assert!(matches!(first_of([Ok(()), Err(Exit::ReaderGone)]), Err(Exit::ReaderGone)));
        assert!(first_of([Ok(()), Ok(())]).is_ok());
    }
}
