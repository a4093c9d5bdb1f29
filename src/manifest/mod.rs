//! `builds.toml` and what it imports: TOML text -> [`Manifest`], with every mistake at its place.
//!
//! Reads no file and renders no template: [`crate::matrix`] does the latter.

mod diagnostic;
mod location;
mod model;

pub use diagnostic::{Diagnostic, Diagnostics, Label};
pub use location::{FileId, Located, Location, Sources};
pub use model::*;
