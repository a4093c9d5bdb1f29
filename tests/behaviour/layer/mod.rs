//! Layers by behaviour: what is read, merged, copied, placed and written.
//!
//! Archives to be read are made by the `tar` crate and by GNU tar, not by our own writer.

mod abi;
mod artifacts;
mod changes;
mod copying;
mod indexing;
mod merging;
mod placing;
mod properties;
mod support;
