//! Carries a plan out: a pure schedule, a dispatcher on tokio, the steps themselves.

mod assemble;
mod schedule;

pub use assemble::{AssembleError, Base, StackedLayer, assemble};
pub use schedule::{Limits, Schedule};
