//! Carries a plan out: a dispatcher on tokio, the steps themselves, the record of the run.

mod archive;
mod assemble;
mod blobs;
mod cache;
mod deliver;
mod dispatcher;
mod download;
mod error;
mod fresh;
mod images;
mod known;
mod lock_artifact;
mod log;
mod make;
mod pin;
mod provenance;
mod recorder;
mod survey;
mod worker;

pub use archive::{write_docker_archive, write_layout};
pub use assemble::{AssembleError, Base, StackedLayer, assemble};
pub use blobs::{Blobs, Progress, Traffic, silent};
pub use cache::Cache;
pub use dispatcher::{Behaviour, RunEnd, dispatch};
pub use download::Downloads;
pub use error::StepError;
pub use fresh::{Freshness, force_patterns};
pub use images::{ImageFiles, Images, ResolvedImage, layout_digest};
pub use known::{Knowledge, Sources};
pub use lock_artifact::publish_lock;
pub use pin::{External, Pinner, pin_layouts};
pub use provenance::{Made, Provenance, Provenances, STATEMENT_TYPE, is_fallback_tag};
pub use recorder::{Recorder, measured};
pub use survey::{Orphan, Survey, Surveyor};
pub use worker::{CredentialLookup, Services, Settings, StepReport, Worker};
