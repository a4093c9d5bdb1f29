//! Cells + lock -> the DAG of distinct steps, with content keys; what a run would do and why.
//!
//! Pure: no IO, no clock. Main type: [`Plan`]. Equal inputs give byte-identical documents.

mod action;
mod builder;
mod document;
mod drift;
mod ingredients;
mod key;
mod reason;
mod step;

pub use action::{Action, Actions, Anew, Known, critical_path, priorities};
pub use builder::{Inputs, plan};
pub use document::{
    CellDocument, InputsDocument, PLAN_SCHEMA, PlanDocument, StepDocument, Totals, View, WhatIf,
};
pub use drift::{Planned, PlannedError};
pub use ingredients::{Ingredients, Input, InputKind, LayerIngredient, SetupIngredient};
pub use key::{KEY_VERSION, check_result};
pub use reason::{CellView, Reason, ReasonCode, Status, TagView, differences, layer_differences};
pub use step::{CellSteps, Class, Delivery, Plan, Step, StepId, StepKind, UsedSource};
