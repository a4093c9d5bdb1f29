//! Pipelines that build images by hand -> a manifest, and a report of what they do otherwise.
//!
//! [`harness_pipeline`] reads a Harness pipeline: the variables, and the shell scripts of its steps
//! with the Dockerfiles that these write. What is not understood is said with its line, never
//! guessed. Reads no files, runs nothing.

mod actions;
mod assignment;
mod body;
mod build;
mod dockerfile;
mod expansion;
mod faults;
mod heredoc;
mod images;
mod known;
mod manifest;
mod model;
mod pipeline;
mod resolve;
mod script;
mod shell;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;

pub use yaml::YamlError;

/// What was found in a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Files to write: path and text; the manifest first. Empty where nothing was understood.
    pub files: Vec<(String, String)>,
    /// What somebody should know, by line.
    pub remarks: Vec<Remark>,
}

/// Something about a line of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// Its kind.
    pub kind: RemarkKind,
    /// What there is to say.
    pub text: String,
}

/// Kinds of remarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// A mistake of the pipeline's.
    Fault,
    /// It is not in the manifest.
    Left,
    /// It is in the manifest, but look at it.
    Note,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RemarkKind::Fault => "fault",
            RemarkKind::Left => "not carried over",
            RemarkKind::Note => "note",
        };
        write!(f, "{}: {kind}: {}", self.line, self.text)
    }
}

/// Reads a Harness pipeline; `inputs` are values for its runtime inputs.
///
/// # Errors
/// When the text is no YAML.
pub fn harness_pipeline(text: &str, inputs: &BTreeMap<String, String>) -> Result<Imported, YamlError> {
    let document = yaml::parse(text)?;
    let pipeline = pipeline::read(&document);
    let mut remarks = pipeline.remarks();
    let own = pipeline.steps.iter().find_map(|step| Some((step, heredoc::runs_railyard(&step.script)?)));
    let files = match own {
        Some((step, line)) => {
            // The files are the manifest's, not scripts.
            for step in &pipeline.steps {
                faults::find(&heredoc::carried(&step.script).others, &mut remarks);
            }
            let files = heredoc::carried(&step.script).files;
            if files.is_empty() {
                let text = "the manifest: it is in the codebase that the pipeline clones".to_owned();
                remarks.push(Remark { line, kind: RemarkKind::Left, text });
            }
            files
        }
        None => {
            pipeline.steps.iter().for_each(|step| faults::find(&step.script, &mut remarks));
            let model = images::build(&pipeline, inputs, &mut remarks);
            model.map(|model| vec![("builds.toml".to_owned(), manifest::write(&model))]).unwrap_or_default()
        }
    };
    remarks.sort();
    remarks.dedup();
    Ok(Imported { files, remarks })
}
