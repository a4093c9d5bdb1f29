//! Discovered versions, moves of the lock, and locks that the world contradicts, on a real registry, a
//! real npm and a real engine.
//!
//! `dev/env` names them. Nothing is skipped: without them every test fails.

mod artifact;
mod contradicted;
mod moves;
mod server;
mod sources;
