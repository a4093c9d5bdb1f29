//! railyard: a declarative build-matrix engine for container images.
//!
//! `builds.toml -> Manifest -> Matrix -> Plan` is pure; `run` turns a plan into events and
//! outcomes; `cli` wires it to files, the environment and the terminal.

#![warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

pub mod ci_images;
pub mod cli;
pub mod delegate;
pub mod discover;
pub mod dockerfile;
pub mod engine;
pub mod event;
pub mod export;
pub mod http;
pub mod import;
pub mod layer;
pub mod lock;
pub mod manifest;
pub mod matrix;
pub mod mirror;
pub mod oci;
pub mod plan;
pub mod registry;
pub mod report;
pub mod run;
pub mod store;
