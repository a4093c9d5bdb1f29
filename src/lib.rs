//! railyard: a declarative build-matrix engine for container images.
//!
//! `builds.toml -> Manifest -> Matrix -> Plan` is pure; `run` turns a plan into events and
//! outcomes; `cli` wires it to files, the environment and the terminal.

pub mod engine;
pub mod layer;
pub mod manifest;
pub mod oci;
pub mod registry;
