//! Builds on a real engine and a real registry, verified by pulling digests back.
//!
//! `dev/env` names both. Nothing is skipped: without them every test fails.

mod abi;
mod again;
mod cache;
mod checks;
mod downloads;
mod failures;
mod full;
mod history;
mod interrupt;
mod killed;
mod knows;
mod lock;
mod locked;
mod matrix;
mod outputs;
mod sam;
mod secrets;
mod stamps;
mod steps;
mod update;
