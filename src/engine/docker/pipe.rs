//! From an asynchronous stream to a [`TarSink`] on a blocking thread, with backpressure.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::{EngineError, TarSink};

/// Chunks under way; they are 8 to 64 KiB each.
const DEPTH: usize = 16;

/// A part of the stream. A channel that closes without `End` means that the stream broke off.
enum Part {
    Data(Bytes),
    End,
}

/// The sending end.
#[derive(Clone)]
pub(super) struct PipeWriter(mpsc::Sender<Part>);

impl PipeWriter {
    /// Sends bytes, waiting while the receiver is busy; false when it wants no more.
    pub(super) async fn send(&self, bytes: Bytes) -> bool {
        self.0.send(Part::Data(bytes)).await.is_ok()
    }

    /// Says that the stream is complete. Dropping the writer without it makes the reader fail.
    pub(super) async fn end(self) {
        // A receiver that is gone has seen all it wants.
        let _ = self.0.send(Part::End).await;
    }
}

impl Write for PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Part::Data(Bytes::copy_from_slice(buf)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The receiving end; only for blocking threads.
pub(super) struct PipeReader {
    parts: mpsc::Receiver<Part>,
    chunk: Bytes,
    ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Part::Data(bytes)) => self.chunk = bytes,
                Some(Part::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the engine's stream broke off",
                    ));
                }
            }
        }
        let count = buf.len().min(self.chunk.len());
        buf[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// Makes a connected pair.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, parts) = mpsc::channel(DEPTH);
    (PipeWriter(sender), PipeReader { parts, chunk: Bytes::new(), ended: false })
}

/// A tar sink at work on its thread.
pub(super) struct SinkTask {
    writer: PipeWriter,
    task: JoinHandle<io::Result<()>>,
}

impl SinkTask {
    /// Starts it.
    pub(super) fn start(sink: TarSink) -> Self {
        let (writer, mut reader) = pipe();
        Self { writer, task: tokio::task::spawn_blocking(move || sink(&mut reader)) }
    }

    /// Where to write.
    pub(super) fn writer(&self) -> &PipeWriter {
        &self.writer
    }

    /// Ends the stream well and waits for the sink.
    pub(super) async fn finish(self) -> Result<(), EngineError> {
        self.writer.end().await;
        joined(self.task.await)
    }

    /// Waits for a sink that wants no more before the stream's end: its own error, if it has one.
    pub(super) async fn stopped(self) -> Result<(), EngineError> {
        drop(self.writer);
        joined(self.task.await)
    }
}

/// The outcome of a sink's thread.
pub(super) fn joined(result: Result<io::Result<()>, tokio::task::JoinError>) -> Result<(), EngineError> {
    match result {
        Ok(done) => done.map_err(EngineError::Sink),
        Err(error) => Err(EngineError::Sink(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_an_error_and_one_that_ends_is_not() {
        for ends in [true, false] {
            let (writer, mut reader) = pipe();
            let task = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).map(|_| text)
            });
            assert!(writer.send(Bytes::from_static(b"ab")).await);
            assert!(writer.send(Bytes::from_static(b"c")).await);
            if ends {
                writer.end().await;
            } else {
                drop(writer);
            }
            let read = task.await.unwrap();
            assert_eq!(read.ok().as_deref(), ends.then_some("abc"));
        }
    }
}
