//! The grammar of `builds.toml` as data: every table, its keys, and what each key may hold.
//!
//! The one source of truth for names of keys: [`super::shape`] checks documents against it, the
//! decoders may only ask for keys that stand here, and the JSON Schema is generated from it.

mod axis;
mod check;
mod image;
mod layer;
mod mirror;
mod registry;
mod tables;
mod tool;

pub(super) use axis::{AXIS, AXIS_VALUE, TOOL_VERSION, VERSION_SOURCE};
pub(super) use check::{CHECK, CHECK_FILE, CHECK_SIZE, RULE};
pub(super) use image::{DOCKERFILE, IMAGE, MATRIX_IMAGE, PATH_ENTRY, SETUP};
pub(super) use layer::{COPY, DIR, FILE, LAYER, RUN, TOOL_USE};
pub(super) use mirror::MIRROR;
pub(super) use registry::{ACCESS, ECR, REGISTRY, SECRET, VERSION_TAG};
pub(super) use tables::*;
pub(super) use tool::{DOWNLOAD, EXTRACT, TOOL};

/// What a value may be.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, at least this.
    Integer(i64),
    /// A number above zero.
    Positive,
    /// Any number.
    Number,
    /// A text: its form in words (none where it is free), and a pattern for editors.
    Text(&'static str, Option<&'static str>),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// A table whose keys are the author's.
    Map(&'static Kind),
    /// A table of tables by name: `[tools.NAME]`.
    Named(&'static Table),
    /// A table with known keys.
    Table(&'static Table),
    /// Any of these; they differ in their TOML type.
    Either(&'static [Kind]),
}

/// A table with known keys.
#[derive(Debug)]
pub(super) struct Table {
    /// Name for the schema's definitions.
    pub name: &'static str,
    /// What it describes.
    pub doc: &'static str,
    /// Its keys, in the order that people write them.
    pub keys: &'static [Key],
    /// What keys beside these may hold; `None` where there are none.
    pub others: Option<&'static Kind>,
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: &'static Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

impl Table {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
