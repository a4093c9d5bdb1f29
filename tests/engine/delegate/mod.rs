//! Custom delegates: lists of tools, the shipped matrix on a real engine and registry, Kubernetes manifests,
//! pins at Harness.
//!
//! `dev/env` names engine, registry and file server. Nothing is skipped: without them these tests fail.

mod build;
mod each;
mod manifest;
mod packages;
mod pin;
