//! Bytes of a container's output into lines.

use crate::engine::{CUT, LineSink};

/// Longest line handed out, in bytes; the rest of a longer one is dropped.
const LONGEST: usize = 8 * 1024;

/// Cuts one output stream into lines, whatever the frames it comes in.
///
/// Invalid UTF-8 is replaced. A carriage return that ends no line means what it does on a terminal:
/// what stood before it is overwritten, so that a progress bar is one line.
#[derive(Default)]
pub(super) struct LineSplitter {
    line: Vec<u8>,
    carriage_return: bool,
    cut: bool,
}

impl LineSplitter {
    /// Adds bytes and hands out the lines that they end.
    pub(super) fn push(&mut self, bytes: &[u8], lines: &LineSink) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let (text, end) = match piece.split_last() {
                Some((b'\n', text)) => (text, Some(b'\n')),
                Some((b'\r', text)) => (text, Some(b'\r')),
                _ => (piece, None),
            };
            if !text.is_empty() {
                self.add(text);
            }
            match end {
                Some(b'\n') => self.end_line(lines),
                Some(_) => self.carriage_return = true,
                None => {}
            }
        }
    }

    /// Hands out what is left at the end of the stream.
    pub(super) fn finish(&mut self, lines: &LineSink) {
        if !self.line.is_empty() {
            self.end_line(lines);
        }
    }

    fn add(&mut self, text: &[u8]) {
        if std::mem::take(&mut self.carriage_return) {
            self.line.clear();
            self.cut = false;
        }
        let room = LONGEST - self.line.len();
        self.cut |= text.len() > room;
        self.line.extend_from_slice(&text[..text.len().min(room)]);
    }

    fn end_line(&mut self, lines: &LineSink) {
        let mut text = String::from_utf8_lossy(&self.line).into_owned();
        if std::mem::take(&mut self.cut) {
            // A character cut in half became one replacement character.
            text.truncate(text.trim_end_matches('\u{fffd}').len());
            text.push(CUT);
        }
        lines(&text);
        self.line.clear();
        self.carriage_return = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn split(frames: &[&[u8]]) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink: LineSink = {
            let seen = Arc::clone(&seen);
            Box::new(move |line| seen.lock().unwrap().push(line.to_owned()))
        };
        let mut splitter = LineSplitter::default();
        for frame in frames {
            splitter.push(frame, &sink);
        }
        splitter.finish(&sink);
        let lines = seen.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn lines_are_joined_across_frames() {
        assert_eq!(split(&[b"a", b"b\nc\n\nd", b"\xc3", b"\xa9"]), ["ab", "c", "", "dé"]);
    }

    #[test]
    fn carriage_returns_overwrite_or_end_a_line() {
        assert_eq!(split(&[b"10%\r20%\r", b"30%\r\nend\r", b"\n"]), ["30%", "end"]);
        assert_eq!(split(&[b"1\r2\r"]), ["2"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(split(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "é".repeat(10_000);
        let lines = split(&[b"x", long.as_bytes(), long.as_bytes(), b"\nnext\n"]);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].len() <= LONGEST + 3 && lines[0].ends_with("é…"), "{}", lines[0].len());
        assert_eq!(lines[1], "next");
    }
}
