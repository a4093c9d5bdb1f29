//! The harness of the oracle tests: images are made by railyard and, from an equivalent Dockerfile,
//! by real engines; both are pulled back from the registry, flattened, and compared path by path.
//!
//! Nothing here uses railyard's own library: what reads tars and registries is written once more,
//! so that one mistake cannot hide the other. Every test fails where `dev/env` was not read.

pub mod compare;
pub mod copying;
pub mod engine;
pub mod fixture;
pub mod flatten;
pub mod lab;
pub mod registry;
pub mod server;

/// A setting of `dev/env`.
///
/// # Panics
/// When it is not set: these tests are never skipped.
pub fn setting(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => value,
        _ => panic!(
            "{name} is not set: bring the development environment up with dev/up, then eval \"$(dev/env)\""
        ),
    }
}
