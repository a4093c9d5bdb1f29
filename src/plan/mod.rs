//! Cells + lock -> the DAG of distinct steps, with content keys; what a run would do and why.
//!
//! Pure: no IO, no clock. Main type: [`Plan`]. Equal inputs give byte-identical documents.

mod action;
mod builder;
mod document;
mod key;
mod step;

pub use action::{Action, Actions, Known, critical_path, priorities};
pub use builder::{Inputs, plan};
pub use document::{CellDocument, PLAN_SCHEMA, PlanDocument, StepDocument, Totals};
pub use key::{ABI_VERSION, KEY_VERSION};
pub use step::{CellSteps, Class, Delivery, Plan, Step, StepId, StepKind, UsedSource};
