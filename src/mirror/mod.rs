//! Images copied from one registry into another: all platforms, by digest, every byte as it is.
//!
//! A [`MirrorImage`] says what goes where; [`survey()`] which of them differ; a [`Copier`] brings what
//! is missing, children first and the tag last, so that a copy that was interrupted goes on where it
//! stopped; [`mirror()`] does it for a list and reports. Builds nothing and keeps nothing here.

mod copy;
mod document;
mod error;
mod image;
mod list;
mod referrers;
mod report;
mod run;
mod support;
mod survey;

pub use copy::{Copier, Tally};
pub use error::MirrorError;
pub use image::{MirrorImage, clashes};
pub use list::{Listed, read_catalog, read_list};
pub use report::{MirrorOutcome, MirrorReport, MirrorTotals};
pub use run::{MirrorSettings, Mirrored, mirror, planned};
pub use support::{Release, Support, SupportState, SupportWindow, releases};
pub use survey::{Moved, Surveyed, survey};
