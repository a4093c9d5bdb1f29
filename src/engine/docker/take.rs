//! Taking over what an engine saves: whether the engine's stream failed, or this machine.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::engine::EngineError;

/// Whose fault it was.
#[derive(Debug)]
pub(super) enum TakeError {
    /// The engine's: what it sent broke off or is malformed.
    Stream(io::Error),
    /// This machine's, which could not keep it.
    Sink(io::Error),
}

impl From<io::Error> for TakeError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl TakeError {
    /// An error that names the directory in which a temporary file could not be made.
    pub(super) fn spool(directory: &Path, error: &io::Error) -> Self {
        let message = format!("failed to create a file in `{}`: {error}", directory.display());
        Self::Sink(io::Error::new(error.kind(), message))
    }

    /// As an error of an engine that was to `action`: another try may mend its stream, not this machine.
    pub(super) fn during(self, action: String) -> EngineError {
        match self {
            Self::Sink(error) => EngineError::Sink(error),
            Self::Stream(error) => {
                EngineError::Request { action, message: error.to_string(), retryable: true }
            }
        }
    }
}

/// Copies what the engine sends into a file of this machine, and gives each piece to `see`.
pub(super) fn spool(
    from: &mut (impl Read + ?Sized),
    to: &mut impl Write,
    mut see: impl FnMut(&[u8]),
) -> Result<(), TakeError> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(TakeError::Stream(error)),
        };
        see(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(TakeError::Sink)?;
    }
    to.flush().map_err(TakeError::Sink)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_fault_of_the_engines_stream() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let error = spool(&mut io::repeat(0).take(9), &mut full, |_| {}).unwrap_err().during("save".into());
        assert!(!error.is_retryable(), "{error}");
        let EngineError::Sink(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_stream_that_breaks_off_may_be_tried_again() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let error = spool(&mut Broken, &mut Vec::new(), |_| {}).unwrap_err().during("save".into());
        assert!(error.is_retryable(), "{error}");
    }
}
