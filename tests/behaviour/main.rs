//! What needs no container: manifests, matrices, plans, layers, the store, the schedule, the registry client
//! against servers in this process, and the HTML plan in a browser.

#![allow(clippy::unwrap_used)]

mod browser;
mod build_ends;
mod check;
mod estimate;
mod export_pipelines;
mod full_disk;
mod harness;
mod import_fuzz;
mod import_script;
mod layer;
mod lock_bad;
mod lock_use;
mod manifest_bad;
mod manifest_fuzz;
mod manifest_good;
mod manifest_schema;
mod matrix_bad;
mod matrix_layers;
mod matrix_rows;
mod needed;
mod output;
mod plan;
mod plan_html;
mod plan_keys;
#[path = "../project/mod.rs"]
mod project;
mod registry_client;
mod schedule;
mod server;
mod store_history;
