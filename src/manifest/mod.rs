//! `builds.toml` and what it imports: TOML text -> [`Manifest`], with every mistake at its place.
//!
//! Reads no file and renders no template: [`crate::matrix`] does the latter.

mod access;
mod address;
mod check;
mod codes;
mod decode;
mod diagnostic;
mod grammar;
mod inherit;
mod inherit_tools;
mod location;
mod model;
mod nearest;
mod parse;
mod reader;
mod render;
mod resolve;
mod schema;
mod shape;
mod template;
mod values;

pub use access::{AccessText, EcrSettings, ExistingTags, RegistryAccess, TagRule, VersionTag};
pub use address::{NO_USER, without_user};
pub use codes::CODES;
pub use diagnostic::{Diagnostic, Diagnostics, Label};
pub use location::{FileId, Located, Location, Sources};
pub use model::*;
pub use nearest::nearest;
pub use parse::{imports, parse};
pub use render::{render, render_plain};
pub use resolve::{FoundVersion, FoundVersions, axis_key, tool_key};
pub use schema::json_schema;
