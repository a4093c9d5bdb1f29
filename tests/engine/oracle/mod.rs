//! The oracle: images of railyard against those that engines make of equivalent Dockerfiles.

mod cells;
mod config;
mod copy;
mod delegate;
mod dockerfile;
mod export;
mod matrix;
mod parts;
mod place;
mod sam;
