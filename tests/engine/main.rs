//! Real engines and a real registry: what railyard builds, pushes and copies there, verified by pulling
//! digests back, and compared with what the engines make of equivalent Dockerfiles.
//!
//! `dev/env` names engines, registry and file server. Nothing is skipped: without them every test fails.

#![allow(clippy::unwrap_used)]

mod access;
mod build;
mod delegate;
mod discover;
mod docker;
mod dockerfile;
mod exact;
mod image;
mod mirror;
mod oracle;
mod pipeline;
#[path = "../project/mod.rs"]
mod project;
mod registry;
mod support;
