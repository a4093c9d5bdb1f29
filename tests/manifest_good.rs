//! A manifest that covers the whole grammar is decoded as it is written.

use railyard::manifest::{self, Manifest, Sources};

fn load(files: &[&str]) -> Manifest {
    let mut sources = Sources::default();
    for file in files {
        let path = format!("{}/tests/good/{file}", env!("CARGO_MANIFEST_DIR"));
        sources.add(*file, std::fs::read_to_string(path).unwrap());
    }
    manifest::parse(sources).unwrap_or_else(|(sources, problems)| {
        panic!("{}", manifest::render(&sources, &problems, false, 100));
    })
}

#[test]
fn whole_grammar() {
    let manifest = load(&["serverless.toml", "shared.toml"]);
    assert_eq!(manifest.project.name.value, "harness-images");
}
