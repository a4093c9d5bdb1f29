//! Dockerfiles as far as railyard must understand them: which images they take from, so that these
//! can be pinned; and the files that a build sees.
//!
//! Main types: [`Dockerfile`] (text with the places of the images it names) and [`Context`] (a
//! directory after `.dockerignore`). What the instructions do is BuildKit's business. Reads
//! directories, asks nobody.

mod context;
mod heredoc;
mod ignore;
mod instruction;
mod lines;
mod parse;
mod words;

pub use context::{Context, ContextEntry, ContextError, ContextKind, read_context};
pub use ignore::{Ignore, IgnoreError};
pub use parse::{Dockerfile, DockerfileError, Name, Settings, UseKind, parse, taken_by_trigger};
