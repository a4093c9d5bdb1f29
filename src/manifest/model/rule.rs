//! Rules on cells.

use crate::manifest::{Condition, Located, Location, Template};

/// `[[rules]]`: what is said of cells for which a condition is true.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where it stands.
    pub at: Location,
    /// The images it is about; they exist. `None`: all that have the axes it mentions.
    pub images: Option<Vec<Located<String>>>,
    /// Of which cells it speaks: those where this is true.
    pub when: Condition,
    /// What it does.
    pub level: RuleLevel,
    /// What it says.
    pub message: Template,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleLevel {
    /// Prints its message.
    Warn,
    /// Makes the cell a mistake.
    Reject,
}
