//! HTTP: what all that is fetched is built upon.
//!
//! `Transport` reaches hosts, gives up on connections where nothing moves and puts no URL into an error.
//! Knows no service's own words.

mod address;
mod error;
mod link;
mod meter;
mod retry;
mod secret;
mod transport;

pub(crate) use address::{authority, is_loopback, redirected};
pub use error::causes;
pub(crate) use link::next_page;
pub(crate) use meter::Meter;
pub use meter::Progress;
pub use retry::RetrySettings;
pub(crate) use retry::{may_pass, parse_retry_after};
pub use secret::Secret;
pub(crate) use transport::Transport;
pub use transport::{TlsSettings, TransportError};
