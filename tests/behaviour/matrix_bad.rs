//! One mistake a file that only rendering finds: what is said of it, where, and what to do.

use std::path::{Path, PathBuf};

use railyard::manifest::{self, Diagnostics, Manifest, Sources};
use railyard::matrix::{Overrides, expand};

fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-matrix");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn stem(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

fn parsed(name: &str, text: &str) -> Manifest {
    let mut sources = Sources::default();
    sources.add(name, text);
    manifest::parse(sources).unwrap_or_else(|(sources, problems)| {
        panic!("{}", manifest::render(&sources, &problems, false, 100));
    })
}

fn mistakes(file: &Path) -> (Sources, Diagnostics) {
    let manifest = parsed(&format!("{}.toml", stem(file)), &std::fs::read_to_string(file).unwrap());
    let found = expand(&manifest, &Overrides::default()).err();
    (manifest.sources, found.unwrap_or_else(|| panic!("{} is accepted", file.display())))
}

#[test]
fn every_mistake_is_shown_with_its_place_and_a_remedy() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/bad-matrix");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let fixtures = fixtures();
    assert!(fixtures.len() >= 28, "{} fixtures", fixtures.len());
    for file in fixtures {
        let (sources, problems) = mistakes(&file);
        let text = format!(
            "{}\n{}",
            manifest::render_plain(&sources, &problems),
            manifest::render(&sources, &problems, false, 100)
        );
        settings.bind(|| insta::assert_snapshot!(stem(&file), text));
        assert_eq!(problems.0.len(), 1, "{} has other than one mistake:\n{text}", file.display());
        for problem in &problems.0 {
            assert!(problem.help.is_some(), "{}: no remedy for {}", file.display(), problem.code);
            assert!(!problem.labels.is_empty(), "{}: no place for {}", file.display(), problem.code);
        }
    }
}

#[test]
fn all_mistakes_of_a_manifest_are_found_at_once() {
    let text = r#"
schema = 1
project = { name = "p", repository = "a b/{{ vars.where }}" }
[vars]
where = "x"
[axes.a]
values = [{ name = "1", k = "v" }, { name = "2" }]
[layers.l]
files = [{ path = "{{ a }}/x", content = "{{ nothing }}" }]
[images.i]
axes = ["a"]
base = "scratch"
tags = ["{{ a.k }}", "{{ a }}:"]
layers = ["l"]
labels = { x = "{{ vars.wher }}" }
"#;
    let manifest = parsed("builds.toml", text);
    let found = expand(&manifest, &Overrides::default()).unwrap_err();
    let lines = manifest::render_plain(&manifest.sources, &found);
    for wanted in [
        "builds.toml:3:38: error[malformed-repository]: `a b/x` is not",
        "builds.toml:9:19: error[relative-path]: `1/x` is not an absolute path",
        "builds.toml:13:13: error[undefined]: `a` has no attribute `k` where it is `2`",
        "builds.toml:13:22: error[malformed-tag]: `1:` is not a tag",
        "builds.toml:15:20: error[undefined]: there is no variable `wher` (help: did you mean `where`?)",
    ] {
        assert!(lines.contains(wanted), "{wanted} is missing:\n{lines}");
    }
}

#[test]
fn values_from_outside_are_checked_too() {
    let manifest = parsed(
        "b.toml",
        "schema = 1\n[project]\nname = \"p\"\n[images.i]\nbase = \"scratch\"\ntags = [\"1\"]\n",
    );
    let overrides = Overrides {
        vars: [("nope".to_owned(), "1".to_owned())].into(),
        repository: Some("local host/case".into()),
    };
    let lines = manifest::render_plain(&manifest.sources, &expand(&manifest, &overrides).unwrap_err());
    assert!(lines.contains("error[unknown-variable]: `nope` is set from outside"), "{lines}");
    assert!(lines.contains("error[malformed-repository]: the repository given from outside"), "{lines}");
}
