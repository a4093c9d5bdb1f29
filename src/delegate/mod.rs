//! What a delegate's image needs around it: its Kubernetes manifest, and its pin at Harness.
//!
//! [`render()`] and [`patch()`] are pure, text to text. [`Manager`] speaks to Harness Manager. Nothing here
//! builds an image or reads the project.

mod api;
mod error;
mod patch;
mod render;
mod secrets;
mod yaml;

pub use crate::http::ApiCredential;
pub use api::{Latest, Manager, Override, Scope};
pub use error::DelegateError;
pub use patch::{Patched, Target, patch};
pub use render::{Rendering, render};
