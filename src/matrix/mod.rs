//! Axes -> cells: the product, its rows and conditions, and every template rendered.
//!
//! Pure and linear in the number of cells: a template is rendered once per distinct set of the axis
//! values that it mentions. Main type: [`Matrix`]. Must not do IO, nor know digests or the lock.

mod address;
mod cell;
mod context;
mod expand;
mod mirrors;
mod outputs;
mod pattern;
mod product;
mod query;
mod recipe;
mod rules;
mod select;
mod stamp;
mod tags;
mod template;

pub use cell::*;
pub use expand::{Overrides, expand};
pub use mirrors::{ConcreteMirror, mirrors};
pub use outputs::{fill_run, wants_revision};
pub use query::{Listing, Query, queries, subject};
pub use recipe::{ConcreteDockerfile, DockerfileSpec, NetworkName, Recipe};
pub use select::{Selection, SelectionError};
pub use stamp::StampedTag;
