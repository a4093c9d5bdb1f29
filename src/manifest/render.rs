//! Diagnostics -> text: a picture of each place for terminals, one line each for everything else.

use std::collections::BTreeMap;
use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use super::location::boundary;
use super::{Diagnostic, Diagnostics, FileId, Label, Sources};

/// Each mistake with an excerpt of the text at each of its places, `width` columns wide.
pub fn render(sources: &Sources, diagnostics: &Diagnostics, colour: bool, width: usize) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    // miette subtracts margins from the width without looking.
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width.max(20)).with_urls(false);
    let mut text = String::new();
    for (position, diagnostic) in diagnostics.0.iter().enumerate() {
        if position > 0 {
            text.push('\n');
        }
        let mut picture = String::new();
        match handler.render_report(&mut picture, &Shown::new(sources, diagnostic)) {
            Ok(()) => text.push_str(&picture),
            // The place is not in the text: the words are still true.
            Err(fmt::Error) => text.push_str(&(plain_line(sources, diagnostic) + "\n")),
        }
    }
    text
}

/// Each mistake on one line: `file:line:column: error[code]: message (help: …)`.
pub fn render_plain(sources: &Sources, diagnostics: &Diagnostics) -> String {
    diagnostics.0.iter().map(|diagnostic| plain_line(sources, diagnostic) + "\n").collect()
}

fn plain_line(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let place = diagnostic.labels.first().map(|label| {
        let (line, column) = sources.line_column(label.at);
        format!("{}:{line}:{column}: ", sources.name(label.at.file))
    });
    let help = diagnostic.help.as_ref().map(|help| format!(" (help: {help})"));
    let line = format!(
        "{}error[{}]: {}{}",
        place.unwrap_or_default(),
        diagnostic.code,
        diagnostic.message,
        help.unwrap_or_default()
    );
    // A message may quote what the author wrote, line ends included.
    line.replace('\n', "\\n").replace('\r', "\\r")
}

/// A diagnostic as miette wants it: the labels of one file, the others as related diagnostics.
#[derive(Debug)]
struct Shown {
    code: Option<&'static str>,
    message: String,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    source: Option<NamedSource<String>>,
    related: Vec<Shown>,
}

impl Shown {
    fn new(sources: &Sources, diagnostic: &Diagnostic) -> Self {
        let mut files: Vec<FileId> = Vec::new();
        let mut by_file: BTreeMap<FileId, Vec<&Label>> = BTreeMap::new();
        for label in &diagnostic.labels {
            if !files.contains(&label.at.file) {
                files.push(label.at.file);
            }
            by_file.entry(label.at.file).or_default().push(label);
        }
        let mut parts = files.iter().map(|file| {
            let labels = by_file.get(file).map(Vec::as_slice).unwrap_or_default();
            Self {
                code: None,
                message: "a place in another file belongs to this".into(),
                help: None,
                labels: labels.iter().enumerate().map(|(i, label)| span(sources, label, i == 0)).collect(),
                source: Some(source(sources, *file)),
                related: Vec::new(),
            }
        });
        let first = parts.next();
        let related = parts.collect();
        let (labels, source) = first.map(|first| (first.labels, first.source)).unwrap_or_default();
        Self {
            code: Some(diagnostic.code),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            labels,
            source,
            related,
        }
    }
}

fn source(sources: &Sources, file: FileId) -> NamedSource<String> {
    let text = sources.text(file);
    // miette finds no place in an empty text.
    NamedSource::new(sources.name(file), if text.is_empty() { "\n".to_owned() } else { text.to_owned() })
}

fn span(sources: &Sources, label: &Label, primary: bool) -> LabeledSpan {
    let text = sources.text(label.at.file);
    let start = boundary(text, label.at.range().start);
    let end = boundary(text, label.at.range().end).max(start);
    // Of a long value the first line is enough.
    let end = text[start..end].find(['\n', '\r']).map_or(end, |n| start + n);
    let words = Some(label.text.clone());
    if primary {
        LabeledSpan::new_primary_with_span(words, start..end)
    } else {
        LabeledSpan::new_with_span(words, start..end)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {}

impl miette::Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(if self.code.is_some() { miette::Severity::Error } else { miette::Severity::Advice })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|shown| shown as &dyn miette::Diagnostic)))
    }
}
