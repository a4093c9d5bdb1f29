//! HTTP: one client for all that is fetched, and what the client of registries is built upon.
//!
//! [`Http`] sends a [`Request`] until it is answered for good. `Transport` beneath it reaches hosts, gives
//! up on connections where nothing moves and puts no URL into an error. Knows no service's own words.

mod address;
mod client;
mod error;
mod link;
mod meter;
mod request;
mod retry;
mod secret;
mod transport;

#[cfg(test)]
mod tests;

pub(crate) use address::{authority, is_loopback, redirected, shown};
pub use client::{Http, Reply, Sink};
pub use error::{HttpError, causes};
pub(crate) use link::next_page;
pub(crate) use meter::Meter;
pub use meter::Progress;
pub use request::{ApiCredential, Request};
pub use retry::RetrySettings;
pub(crate) use retry::{may_pass, parse_retry_after};
pub use secret::Secret;
pub(crate) use transport::Transport;
pub use transport::{TlsSettings, TransportError};
