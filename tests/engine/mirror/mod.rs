//! Images copied between real registries, and the API of an account's CI images against a server with
//! its documented payloads.
//!
//! `dev/env` names the registry; a second one is started here. Nothing is skipped.

mod account;
mod api;
mod copy;
mod lists;
mod planned;
pub mod proxy;
mod second;
