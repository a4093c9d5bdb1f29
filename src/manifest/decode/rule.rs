//! `[[rules]]`.

use crate::manifest::reader::Fields;
use crate::manifest::{Rule, RuleLevel, values};

/// A rule; `None` where a part that it needs is missing or malformed, which has been reported.
pub(super) fn rule(fields: &Fields<'_>) -> Option<Rule> {
    fields.refuse_empty("images");
    let images = fields.texts("images");
    let when = fields.condition("when");
    let level = fields.located("level").and_then(|level| match level.value.as_str() {
        "warn" => Some(RuleLevel::Warn),
        "reject" => Some(RuleLevel::Reject),
        _ => None,
    });
    let message = fields.template("message", values::anything);
    Some(Rule { images, when: when?, level: level?, message: message? })
}
