//! Which layers cells have: versions of tools, copies that the base makes needless.

use railyard::manifest::{self, FoundVersion, Sources};
use railyard::matrix::{ConcreteContent, ConcretePart, Matrix, Overrides, expand};

const HEAD: &str = "schema = 1\n[project]\nname = \"p\"\nrepository = \"registry.test/p\"\n";

fn parsed(text: &str) -> manifest::Manifest {
    let mut sources = Sources::default();
    sources.add("builds.toml", format!("{HEAD}{text}"));
    manifest::parse(sources).unwrap_or_else(|(sources, problems)| {
        panic!("{}", manifest::render(&sources, &problems, false, 100));
    })
}

fn expanded(manifest: &manifest::Manifest) -> Matrix {
    expand(manifest, &Overrides::default())
        .unwrap_or_else(|problems| panic!("{}", manifest::render(&manifest.sources, &problems, false, 100)))
}

#[test]
fn tools_that_share_a_lookup_have_versions_of_their_own() {
    let mut manifest = parsed(
        "[tools.a]\nversion = { versions = \"*\", source = { url = \"https://host/v\" } }\n\
         urls = [\"https://host/{{ tool }}/{{ version }}\"]\npath = \"/opt/{{ tool }}\"\n[tools.b]\nextends = \"a\"\n\
         [layers.tools]\ntools = [\"a\", \"b\"]\n[images.app]\nbase = \"scratch\"\ntags = [\"1\"]\nlayers = [\"tools\"]\n",
    );
    let found = |tool: &str, version: &str| {
        (format!("tools.{tool}"), vec![FoundVersion { name: version.to_owned(), tag: None }])
    };
    manifest.resolve(&[found("a", "1.30.0"), found("b", "1.31.0")].into()).unwrap();
    let matrix = expanded(&manifest);
    let ConcreteContent::Parts(parts) = &matrix.layers[0].content else { panic!() };
    let urls: Vec<&str> = parts
        .iter()
        .map(|part| match part {
            ConcretePart::Download(download) => download.urls[0].as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(urls, ["https://host/a/1.30.0", "https://host/b/1.31.0"]);
}

/// The layers of an image over `x:1` that has these.
#[track_caller]
fn layers(defined: &str, used: &str) -> Vec<String> {
    let manifest = parsed(&format!(
        "[layers.own]\ncopy = [{{ from = \"registry.test/x:1\", paths = [\"/opt/a\", \"/usr/lib\"] }}]\n{defined}\n\
         [images.app]\nbase = \"registry.test/x:1\"\ntags = [\"1\"]\nlayers = [{used}]\n"
    ));
    let matrix = expanded(&manifest);
    matrix.cells[0].layers.iter().map(|layer| matrix.layers[layer.0].name.clone()).collect()
}

#[test]
fn a_copy_out_of_the_base_is_left_out_until_something_may_have_changed_it() {
    assert_eq!(layers("", "\"own\""), [""; 0]);
    let elsewhere =
        "[layers.else]\nfiles = [{ path = \"/opt/b\", content = \"\" }]\ndirs = [{ path = \"/opt\" }]";
    assert_eq!(layers(elsewhere, "\"else\", \"own\""), ["else"]);
    for content in [
        "files = [{ path = \"/opt/a/b\", content = \"\" }]",
        "files = [{ path = \"/opt/a\", content = \"\" }]",
        "dirs = [{ path = \"/usr/lib/x\" }]",
        "copy = [{ from = \"registry.test/y:1\", paths = [\"/opt\"] }]",
        "copy = [{ from = \"registry.test/y:1\", paths = [\"/etc\"], to = \"/opt/a\" }]",
        "downloads = [{ urls = [\"https://host/x\"], path = \"/opt/a/x\" }]",
        "run = { image = \"registry.test/y:1\", script = \"\", keep = [\"/usr\"] }",
        "files = [{ path = \"{{ base.env.HOME }}/x\", content = \"\" }]",
    ] {
        let changed = layers(&format!("[layers.changed]\n{content}"), "\"changed\", \"own\"");
        assert_eq!(changed, ["changed", "own"], "{content}");
        let later = layers(&format!("[layers.changed]\n{content}"), "\"own\", \"changed\"");
        assert_eq!(later, ["changed"], "{content}");
    }
    let within = "[layers.both]\ncopy = [\n  { from = \"registry.test/y:1\", paths = [\"/opt/a\"] },\n  \
        { from = \"registry.test/x:1\", paths = [\"/opt/a\"] },\n  { from = \"registry.test/x:1\", paths = [\"/etc\"] },\n]\n";
    let manifest = parsed(&format!(
        "{within}[images.app]\nbase = \"registry.test/x:1\"\ntags = [\"1\"]\nlayers = [\"both\"]\n"
    ));
    let matrix = expanded(&manifest);
    let ConcreteContent::Parts(parts) = &matrix.layers[0].content else { panic!() };
    assert_eq!(parts.len(), 2, "the copy of /etc alone is left out: {parts:?}");
}
