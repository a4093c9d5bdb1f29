//! Cells + lock -> the DAG of distinct steps, with content keys; what a run would do and why.
//!
//! Pure: no IO, no clock. Main type: [`Plan`]. Equal inputs give byte-identical documents. The
//! [`Schedule`] orders a run, and driven with simulated time it gives the [`Estimate`] of one.

mod action;
mod builder;
mod document;
mod drift;
mod durations;
mod estimate;
mod ingredients;
mod key;
mod named;
mod reason;
mod schedule;
mod secrets;
mod step;

pub use action::{Action, Actions, Anew, Known, critical_path};
pub use builder::{Inputs, local_name, plan};
pub use document::{
    CellDocument, InputsDocument, MirrorAction, MirrorDocument, PLAN_SCHEMA, PlanDocument, StepDocument,
    Totals, UNRECORDED, View, WhatIf,
};
pub use drift::{Planned, PlannedError};
pub use durations::{Durations, Group, Measure, Measured, Wanted, delivery_name, step_name};
pub use estimate::{Estimate, PathStep};
pub use ingredients::{Ingredients, Input, InputKind, LayerIngredient, SetupIngredient};
pub use key::{abi_result, check_result};
pub(crate) use named::named;
pub use reason::{CellView, Reason, ReasonCode, Status, TagView, differences, layer_differences};
pub use schedule::{Limits, Schedule};
pub use secrets::{NeededSecret, cells_behind, needed_secrets};
pub use step::{CellSteps, Class, Delivery, Plan, Step, StepId, StepKind, UsedSource};
