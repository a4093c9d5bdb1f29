//! Layers, made in process: index, merged tree, artifact, placement.
//!
//! [`index_layer`] says once what a stored layer has; [`Tree`] merges indexes into what a container
//! would see. An [`ArtifactBuilder`] makes an *artifact*, the files of a layer that know no base;
//! [`place`] says how it must differ to lie on a given tree, and [`write_placed`] writes that.
//! [`Abi`] says which programs of a tree its C and C++ libraries are too old for.
//! [`normalise_changes`] makes a layer of what a step on a base changed.
//!
//! All of it is synchronous and deterministic. Contents are streamed: what must wait lies in a
//! temporary file. Nothing here knows registries, engines or manifests.

mod abi;
mod archive;
mod artifact;
mod blob;
mod changes;
mod codec;
mod copy;
mod digest;
mod elf;
mod entry;
mod error;
mod examine;
mod extract;
mod index;
mod keep;
mod library;
mod linker;
mod path;
mod place;
mod placed;
mod resolve;
mod restore;
mod spool;
mod staging;
mod system;
mod tree;
mod version;

pub use abi::{Abi, AbiSpec, Finding, Need, Problem, Unmet};
pub use artifact::ArtifactBuilder;
pub use blob::LayerBlob;
pub use changes::{ChangesSpec, normalise_changes};
pub use codec::uncompress;
pub use copy::{CopySpec, ModeChange};
pub use digest::{copy_digest, tree_digest};
pub use elf::{Elf, read_elf};
pub use entry::{Entry, Kind, Meta, Placing, Xattr};
pub use error::{LayerError, Standing};
pub use examine::{Examined, Facts, KnownFacts, TreeFile, elf_candidates, examine};
pub use extract::{Archive, ExtractSpec};
pub use index::{LayerIndex, index_layer};
pub use keep::{KeepSpec, Times};
pub use library::{Libraries, Library, find_libraries};
pub use linker::Linker;
pub use path::TreePath;
pub use place::{Placement, place};
pub use placed::write_placed;
pub use restore::{Restoration, write_restored};
pub use system::{System, SystemFiles};
pub use tree::{Node, Tree, Walk};

/// Modification time of files that have none of their own: 1980-01-01 00:00:00 UTC, the earliest
/// that zip archives can say, so that programs which pack such files do not fail.
pub const NORMALISED_MTIME: i64 = 315_532_800;

/// The usual gzip level: nearly as small as 6, in two thirds of the time.
pub const GZIP_LEVEL: u32 = 4;

/// Name and version of what turns contents into blobs; part of the keys of steps, because a
/// change here changes bytes.
pub const NORMALISER: &str = "railyard-layer/1";
