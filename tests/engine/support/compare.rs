//! Whether two images are equal, and if not, where: each difference with both sides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::flatten::{Node, Tree};

/// An image as a container sees it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of its manifest; empty where there is none.
    pub digest: String,
    /// Its file system.
    pub tree: Tree,
    /// Paths that a layer has without the directories that hold them.
    pub implied: BTreeSet<String>,
    /// Its configuration, with what is empty left out.
    pub config: BTreeMap<String, Value>,
}

/// What may differ.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// These paths and what is below; `/` is everything.
    pub paths: Vec<String>,
    /// Modification times at and below these paths. Those of directories are never compared.
    pub times: Vec<String>,
    /// Extended attributes.
    pub xattrs: bool,
}

impl Rules {
    /// Any times: commands and builders write when they are run.
    pub fn any_time() -> Self {
        Self { times: vec!["/".into()], ..Self::default() }
    }
}

/// The fields of a configuration that decide how a container runs. History, times, layers' digests
/// and what builders write about themselves are left out, and `ArgsEscaped`, which only Windows reads.
pub fn config_of(document: &Value) -> BTreeMap<String, Value> {
    let mut config = BTreeMap::new();
    for field in ["os", "architecture", "variant"] {
        config.insert(field.to_owned(), document[field].clone());
    }
    if let Some(fields) = document["config"].as_object() {
        config.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    config.retain(|name, value| !empty(value) && name != "ArgsEscaped");
    config
}

fn covers(rules: &[String], path: &str) -> bool {
    rules.iter().map(|rule| rule.trim_matches('/')).any(|rule| {
        rule.is_empty()
            || path.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The names of each file that has several.
fn names(tree: &Tree) -> BTreeMap<u64, Vec<&str>> {
    let mut names: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (path, node) in tree {
        names.entry(node.inode).or_default().push(path);
    }
    names.retain(|_, paths| paths.len() > 1);
    names
}

fn describe(node: Option<&Node>, times: bool, names: &[&str]) -> String {
    let Some(node) = node else { return "nothing".into() };
    let mut text = format!("{}{:04o} {}:{}", node.kind, node.mode, node.uid, node.gid);
    if let Some((size, sha256)) = &node.content {
        text += &format!(" {size} bytes sha256:{}", &sha256[..12]);
    }
    if !node.target.is_empty() {
        text += &format!(" -> {}", node.target);
    }
    if times && node.kind != 'd' {
        text += &format!(" time {}", node.mtime);
    }
    for (name, value) in &node.xattrs {
        text += &format!(" {name}={}", hex::encode(value));
    }
    if !names.is_empty() {
        text += &format!(" also named {names:?}");
    }
    text
}

/// Every difference between two images: what `expected` has, then what `found` has.
pub fn differences(expected: &Image, found: &Image, rules: &Rules) -> Vec<String> {
    let mut lines = Vec::new();
    let keys: BTreeSet<&String> = expected.config.keys().chain(found.config.keys()).collect();
    for key in keys {
        let (left, right) = (expected.config.get(key), found.config.get(key));
        if left != right {
            let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            lines.push(format!("config {key}: expected {}, found {}", show(left), show(right)));
        }
    }
    for path in expected.implied.symmetric_difference(&found.implied) {
        let side = if found.implied.contains(path) { "found" } else { "expected" };
        lines.push(format!("/{path}: a layer of {side} lacks the directories that hold it"));
    }
    let (left_names, right_names) = (names(&expected.tree), names(&found.tree));
    let paths: BTreeSet<&String> = expected.tree.keys().chain(found.tree.keys()).collect();
    for path in paths.into_iter().filter(|path| !covers(&rules.paths, path)) {
        let times = !covers(&rules.times, path);
        let side = |tree: &Tree, names: &BTreeMap<u64, Vec<&str>>| {
            let mut node = tree.get(path).cloned();
            if let Some(node) = node.as_mut().filter(|_| rules.xattrs) {
                node.xattrs.clear();
            }
            let others: Vec<&str> =
                node.as_ref().and_then(|n| names.get(&n.inode)).cloned().unwrap_or_default();
            let others: Vec<&str> =
                others.into_iter().filter(|o| o != path && !covers(&rules.paths, o)).collect();
            (describe(node.as_ref(), times, &others), node.and_then(|n| n.content))
        };
        let (left, right) = (side(&expected.tree, &left_names), side(&found.tree, &right_names));
        if left != right {
            lines.push(format!("/{path}: expected {}, found {}", left.0, right.0));
        }
    }
    lines
}

/// Fails with every difference.
#[track_caller]
pub fn assert_equal(expected: &Image, found: &Image, rules: &Rules, what: &str) {
    let lines = differences(expected, found, rules);
    let shown = lines.iter().take(60).map(|line| format!("  {line}\n")).collect::<String>();
    assert!(lines.is_empty(), "{what}: {} differences\n{shown}", lines.len());
}
