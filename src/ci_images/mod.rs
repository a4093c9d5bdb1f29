//! The CI images of a Harness account: which ones its pipelines use, read and set by its API.
//!
//! What is known of them, fields, publication days and how long a release is supported, is data:
//! [`Facts`]. [`ConfigApi`] speaks the API, [`compare()`] holds the account against the defaults. Sends
//! nothing that changes the account unless it is told to; never prints a key.

mod api;
mod calendar;
mod catalog;
mod compare;
mod envelope;
mod error;
mod facts;

pub use crate::http::ApiCredential;
pub use api::{ConfigApi, HttpSettings, Infrastructure};
pub use catalog::fetch_catalog;
pub use compare::{Change, FieldRow, FieldState, compare, resets, updates};
pub use envelope::Config;
pub use error::ApiError;
pub use facts::{Facts, FactsError};
