//! Every mistake that is found without rendering templates, as it is shown to people.
//!
//! `tests/bad/NAME.toml` holds one mistake, `many-*.toml` several; what it imports is in
//! `tests/bad/NAME/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use railyard::manifest::{self, Diagnostics, Sources};

fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn stem(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

/// The mistakes of a fixture.
fn mistakes(file: &Path) -> (Sources, Diagnostics) {
    let mut sources = Sources::default();
    let mut add = |path: &Path| {
        let name = path.strip_prefix(bad()).unwrap().to_str().unwrap().replace('\\', "/");
        sources.add(name, std::fs::read_to_string(path).unwrap());
    };
    add(file);
    let imported = file.with_extension("");
    if imported.is_dir() {
        toml_files(&imported).iter().for_each(|path| add(path));
    }
    manifest::parse(sources).err().unwrap_or_else(|| panic!("{} is accepted", file.display()))
}

#[test]
fn every_mistake_is_shown_with_its_place_and_a_remedy() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/bad");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for file in toml_files(&bad()) {
        let (sources, problems) = mistakes(&file);
        let text = format!(
            "{}\n{}",
            manifest::render_plain(&sources, &problems),
            manifest::render(&sources, &problems, false, 100)
        );
        settings.bind(|| insta::assert_snapshot!(stem(&file), text));
        if !stem(&file).starts_with("many-")
            && !stem(&file).ends_with("-several")
            && stem(&file) != "empty-file"
        {
            assert_eq!(problems.0.len(), 1, "{} has other than one mistake", file.display());
        }
        for problem in &problems.0 {
            assert!(problem.help.is_some(), "{}: no remedy for {}", file.display(), problem.code);
        }
    }
}

#[test]
fn every_code_is_listed_and_has_a_fixture() {
    let seen: BTreeSet<&str> =
        toml_files(&bad()).iter().flat_map(|file| mistakes(file).1.0).map(|problem| problem.code).collect();
    let listed: BTreeSet<&str> = manifest::CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(seen, listed);
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let (sources, problems) = mistakes(&bad().join("many-kinds.toml"));
    let plain = manifest::render(&sources, &problems, false, 100);
    let coloured = manifest::render(&sources, &problems, true, 100);
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
}
