//! Carries a plan out: a pure schedule, a dispatcher on tokio, the steps themselves.

mod abi;
mod archive;
mod assemble;
mod blobs;
mod cache;
mod deliver;
mod dispatcher;
mod download;
mod error;
mod images;
mod inspect;
mod known;
mod log;
mod make;
mod pin;
mod schedule;
mod worker;

pub use archive::{write_docker_archive, write_layout};
pub use assemble::{AssembleError, Base, StackedLayer, assemble};
pub use blobs::{Blobs, Traffic};
pub use cache::Cache;
pub use dispatcher::{Behaviour, RunEnd, dispatch};
pub use download::Downloads;
pub use error::StepError;
pub use images::{ImageFiles, Images, ResolvedImage, layout_digest};
pub use known::known_records;
pub use pin::{External, Pinner, pin_layouts};
pub use schedule::{Limits, Schedule};
pub use worker::{CredentialLookup, Services, Settings, StepReport, Worker};
