//! Discovered versions put in the place of values.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attribute, AxisValue, Diagnostics, Located, Location, Manifest, Template, check};

/// A version that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVersion {
    /// As it is written where it was found.
    pub name: String,
    /// The whole tag that it was taken from, where tags were looked up.
    pub tag: Option<String>,
}

/// What was found for each discovery, by [its key](super::axis_key).
pub type FoundVersions = BTreeMap<String, Vec<FoundVersion>>;

/// The key of an axis among [`FoundVersions`], and in the lock.
pub fn axis_key(name: &str) -> String {
    format!("axes.{name}")
}

/// The key of a tool among [`FoundVersions`], and in the lock.
pub fn tool_key(name: &str) -> String {
    format!("tools.{name}")
}

impl Manifest {
    /// Puts found versions in place: the values of discovered axes, the versions of discovered tools.
    /// A tag is the attribute `tag` of its value.
    ///
    /// # Errors
    /// Rows of `include` and `zip` that do not fit what was found.
    pub fn resolve(&mut self, found: &FoundVersions) -> Result<(), Diagnostics> {
        for axis in &mut self.axes {
            if let Some(discovery) = &axis.discovery
                && let Some(versions) = found.get(&axis_key(&axis.name.value))
            {
                axis.values = versions.iter().map(|version| value(version, discovery.at)).collect();
            }
        }
        for tool in &mut self.tools {
            if let Some(discovery) = &tool.discovery
                && let Some(newest) = found.get(&tool_key(&tool.name.value)).and_then(|list| list.last())
            {
                tool.version = Some(Template { text: newest.name.clone(), at: discovery.at });
            }
        }
        let mut problems = Diagnostics::default();
        check::rows(self, &BTreeSet::new(), &mut problems);
        problems.sort();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

fn value(version: &FoundVersion, at: Location) -> AxisValue {
    let tag = version.tag.clone().map(|tag| ("tag".to_owned(), Attribute::Literal(tag)));
    AxisValue { name: Located::new(version.name.clone(), at), attributes: tag.into_iter().collect() }
}
