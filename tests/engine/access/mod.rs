//! Credentials, destinations and tags against real registries of each test's own, and Amazon's
//! services as moto plays them.
//!
//! `dev/env` names the programs. Nothing is skipped: without them every test fails. What a test
//! starts listens on loopback and ends with it.

mod accounts;
mod amazon;
mod destinations;
mod existing;
mod htpasswd;
mod servers;
mod tls;
mod tokens;
