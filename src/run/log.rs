//! The log file of a step, and its last lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::engine::CUT;
use crate::plan::StepId;

const TAIL: usize = 20;

/// One step's output, on disk and, for its last lines, in memory. Secrets are masked in both.
pub struct StepLog {
    state: Mutex<State>,
    masks: Masks,
}

struct State {
    file: Option<(PathBuf, File)>,
    tail: VecDeque<String>,
}

impl StepLog {
    /// Opens the file; without one (a full disk) the lines are still kept in memory.
    pub fn new(directory: &Path, id: StepId, kind: &str, label: &str, masks: Masks) -> Self {
        let name: String = label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '=') { c } else { '-' })
            .take(60)
            .collect();
        let path = directory.join(format!("{:04}-{kind}-{name}.log", id.0));
        let file = std::fs::create_dir_all(directory).and_then(|()| File::create(&path)).ok();
        Self { state: Mutex::new(State { file: file.map(|f| (path, f)), tail: VecDeque::new() }), masks }
    }

    /// Adds a line and returns it as it was written.
    pub fn line(&self, line: &str) -> String {
        let masked = self.masks.apply(line);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = &mut state.file {
            // A log that cannot be written must not fail the step.
            let _ = writeln!(file, "{masked}");
        }
        if state.tail.len() == TAIL {
            state.tail.pop_front();
        }
        state.tail.push_back(masked.clone());
        masked
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tail.iter().cloned().collect()
    }

    /// The file.
    pub fn path(&self) -> Option<PathBuf> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).file.as_ref().map(|(path, _)| path.clone())
    }
}

/// The shortest line of a longer secret that is masked: a lone brace says nothing.
const SHORTEST: usize = 4;

/// Secrets as they can stand in a line of output: a value of several lines is never in one whole.
#[derive(Clone, Default)]
pub struct Masks(Vec<String>);

impl Masks {
    /// Of these secrets. The longest come first, so that one that holds another is masked whole.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let lines = secrets.into_iter().flat_map(|secret| {
            // A carriage return overwrites what stood before it.
            let ends = ['\n', '\r'];
            let several = secret.trim().contains(ends);
            secret
                .split(ends)
                .map(str::trim)
                .filter(move |line| !line.is_empty() && (!several || line.len() >= SHORTEST))
        });
        let mut masks: Vec<String> = lines.map(str::to_owned).collect();
        masks.sort_by_key(|mask| std::cmp::Reverse(mask.len()));
        masks.dedup();
        Self(masks)
    }

    /// A text without the secrets. Where the rest of a line was cut off, its end may be the beginning of a
    /// secret, which is left out too.
    pub fn apply(&self, text: &str) -> String {
        let masked = self.0.iter().fold(text.to_owned(), |text, mask| text.replace(mask, "***"));
        let Some(line) = masked.strip_suffix(CUT) else { return masked };
        match self.0.iter().filter_map(|mask| begun(line, mask)).max() {
            Some(length) => format!("{}***{CUT}", &line[..line.len() - length]),
            None => masked,
        }
    }
}

/// How many bytes at the end of a line are the beginning of a secret.
fn begun(line: &str, mask: &str) -> Option<usize> {
    let beginnings = mask.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
    beginnings.rev().find(|at| line.ends_with(&mask[..*at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_secret_is_masked() {
        let directory = tempfile::tempdir().unwrap();
        let masks = Masks::new(["{\n  \"key\": \"hush\"\n}\n", "abc", "abcdef\n"]);
        let log = StepLog::new(directory.path(), StepId(1), "artifact", "l", masks);
        assert_eq!(log.line("x \"key\": \"hush\" {"), "x *** {");
        assert_eq!(log.line("abcdef and abc"), "*** and ***");
        assert_eq!(log.tail(), ["x *** {", "*** and ***"]);
        let file = std::fs::read_to_string(log.path().unwrap()).unwrap();
        assert_eq!(file, "x *** {\n*** and ***\n");
    }

    #[test]
    fn the_beginning_of_a_secret_is_masked_where_a_line_was_cut() {
        let masks = Masks::new(["s3cr3t-välue", "other"]);
        for (line, wanted) in [
            ("xs3cr3t-v…", "x***…"),
            ("xs3cr3t-vä…", "x***…"),
            ("xs…", "x***…"),
            ("x s3cr3t-välue…", "x ***…"),
            ("s3cr3t-välue ot…", "*** ***…"),
            ("nothing…x", "nothing…x"),
            ("plain…", "plain…"),
            ("ends with s", "ends with s"),
        ] {
            assert_eq!(masks.apply(line), wanted, "{line}");
        }
    }

    #[test]
    fn what_a_carriage_return_leaves_of_a_secret_is_masked() {
        let masks = Masks::new(["first\rsecond"]);
        assert_eq!(masks.apply("second"), "***");
    }
}
