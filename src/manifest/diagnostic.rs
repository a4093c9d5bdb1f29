//! A mistake in the manifest, at its place, with a remedy.

use super::Location;

/// A place that belongs to a diagnostic, with a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub at: Location,
    /// What is there, e.g. "first defined here".
    pub text: String,
}

/// One mistake: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable short name of the kind of mistake, e.g. `unknown-key`.
    pub code: &'static str,
    /// A lower-case sentence fragment, with identifiers in backticks.
    pub message: String,
    /// The places, the first being the one that is reported as file, line and column.
    pub labels: Vec<Label>,
    /// What to do next.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic at one place.
    pub fn new(code: &'static str, at: Location, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), labels: vec![Label { at, text: "here".into() }], help: None }
    }

    /// Sets the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the remark of the first place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.text = text.into();
        }
        self
    }

    /// Adds a further place.
    #[must_use]
    pub fn also(mut self, at: Location, text: impl Into<String>) -> Self {
        self.labels.push(Label { at, text: text.into() });
        self
    }
}

/// All mistakes found, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{} in the manifest", if .0.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", .0.len()) })]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Orders by place and drops exact repetitions.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            let place = |d: &Diagnostic| d.labels.first().map(|l| l.at);
            place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message))
        });
        self.0.dedup();
    }
}
