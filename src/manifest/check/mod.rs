//! What the parts of a manifest say about each other.

mod links;
mod names;
mod rows;

pub(super) use links::links;
pub(super) use names::names;
pub(super) use rows::rows;
