//! Layers and entries of PATH that stand once for each item of a list; tools that extend others.

use railyard::manifest::{self, Sources};
use railyard::matrix::{ConcreteContent, ConcreteDownload, ConcretePart, Matrix, Overrides, expand};

const HEAD: &str = r#"
schema = 1
[project]
name = "p"
[axes.bundle]
values = [
  { name = "none", tools = [] },
  { name = "small", tools = ["helm@v3.8.0"] },
  { name = "full", tools = ["helm@v3.8.0", "helm@v2.13.1", "kubectl"] },
]
[tools.client]
url = "https://example.com/{{ tool }}/{{ version }}/{{ arch }}/{{ tool }}"
path = "/opt/{{ tool }}/{{ version }}/{{ tool }}"
mode = "0775"
owner = "1001:0"
[tools]
helm = { extends = "client" }
kubectl = { extends = "other", version = "v1.30.0" }
other = { extends = "client", version = "v0.0.0", url = "https://other.example.com/{{ tool }}.zip", extract = { members = ["{{ tool }}"] } }
"#;

fn expanded(rest: &str) -> Matrix {
    let mut sources = Sources::default();
    sources.add("b.toml", format!("{HEAD}{rest}"));
    let manifest = manifest::parse(sources)
        .unwrap_or_else(|(sources, found)| panic!("{}", manifest::render_plain(&sources, &found)));
    expand(&manifest, &Overrides::default())
        .unwrap_or_else(|found| panic!("{}", manifest::render_plain(&manifest.sources, &found)))
}

/// For each cell the names of its layers.
fn layers(matrix: &Matrix) -> Vec<Vec<&str>> {
    let names = |cell: &railyard::matrix::Cell| {
        cell.layers.iter().map(|layer| matrix.layers[layer.0].name.as_str()).collect()
    };
    matrix.cells.iter().map(names).collect()
}

fn downloads(matrix: &Matrix) -> Vec<&ConcreteDownload> {
    let parts = matrix.layers.iter().flat_map(|layer| match &layer.content {
        ConcreteContent::Parts(parts) => parts.as_slice(),
        ConcreteContent::Run(_) => &[],
    });
    parts
        .filter_map(|part| match part {
            ConcretePart::Download(download) => Some(download),
            _ => None,
        })
        .collect()
}

const IMAGE: &str = r#"
[images.app]
axes = ["bundle"]
base = "scratch"
tags = ["{{ bundle }}"]
layers = ["tools"]
path = ["/first", { each = "bundle.tools", path = "/opt/{{ item | split('@') | first }}" }, "/last"]
"#;

#[test]
fn a_layer_stands_once_for_each_item_and_equal_items_are_one_layer() {
    let matrix =
        expanded(&format!("[layers.tools]\neach = \"bundle.tools\"\ntools = [\"{{{{ item }}}}\"]\n{IMAGE}"));
    assert_eq!(
        layers(&matrix),
        [
            vec![],
            vec!["tools[helm@v3.8.0]"],
            vec!["tools[helm@v3.8.0]", "tools[helm@v2.13.1]", "tools[kubectl]"]
        ]
    );
    assert_eq!(matrix.layers.len(), 3, "the helm of both bundles is one layer");
    let paths: Vec<&[String]> = matrix.cells.iter().map(|cell| cell.config.path.as_slice()).collect();
    assert_eq!(paths[0], ["/first", "/last"]);
    assert_eq!(
        paths[2],
        ["/first", "/opt/helm", "/opt/kubectl", "/last"],
        "of equal entries the first stays"
    );
}

#[test]
fn a_tool_takes_what_it_does_not_say_from_another() {
    let matrix =
        expanded(&format!("[layers.tools]\neach = \"bundle.tools\"\ntools = [\"{{{{ item }}}}\"]\n{IMAGE}"));
    let found = downloads(&matrix);
    assert_eq!(found[0].urls, ["https://example.com/helm/v3.8.0/amd64/helm"]);
    assert_eq!(
        (found[0].path.as_str(), found[0].mode, found[0].owner),
        ("/opt/helm/v3.8.0/helm", Some(0o775), (1001, 0))
    );
    assert_eq!(found[1].path, "/opt/helm/v2.13.1/helm");
    assert_eq!(found[2].urls, ["https://other.example.com/kubectl.zip"]);
    assert_eq!(found[2].path, "/opt/kubectl/v1.30.0/kubectl");
    let extract = found[2].extract.as_ref().unwrap();
    assert_eq!(
        (extract.format, extract.members.as_slice()),
        (railyard::matrix::ArchiveName::Zip, &["kubectl".to_owned()][..])
    );
}

#[test]
fn a_tool_can_be_named_with_its_version() {
    let layer = "[layers.tools]\ntools = [\"helm@v3.15.4\", { tool = \"kubectl@v9\", when = \"bundle == 'full'\" }]\n";
    let matrix = expanded(&format!("{layer}{IMAGE}"));
    let paths: Vec<&str> = downloads(&matrix).iter().map(|d| d.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/opt/helm/v3.15.4/helm",
            "/opt/helm/v3.15.4/helm",
            "/opt/helm/v3.15.4/helm",
            "/opt/kubectl/v9/kubectl"
        ]
    );
}

#[test]
fn every_part_of_a_layer_can_speak_of_the_item() {
    let layer = r#"
[axes.row]
values = [{ name = "one", from = "debian:1", wanted = true }, { name = "two", from = "debian:2", wanted = false }]
[layers.tools]
each = "['one', 'two']"
when = "axes.row[item].wanted or bundle == 'full'"
copy = [{ from = "{{ axes.row[item].from }}", paths = ["/{{ item }}"] }]
files = [{ path = "/etc/{{ item }}", content = "{{ item }} of {{ bundle }}" }]
"#;
    let matrix = expanded(&format!("{layer}{IMAGE}"));
    let names = layers(&matrix);
    assert_eq!(names[1], ["tools[one]"]);
    assert_eq!(names[2], ["tools[one]", "tools[two]"]);
    let ConcreteContent::Parts(parts) = &matrix.layers.last().unwrap().content else { panic!("no parts") };
    let ConcretePart::Copy(copy) = &parts[0] else { panic!("no copy") };
    assert_eq!(copy.paths, ["/two"]);
    let ConcretePart::File { content, .. } = &parts[1] else { panic!("no file") };
    assert_eq!(content, "two of full");
}
