//! Against naive models, on random layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use railyard::layer::{
    ArtifactBuilder, CopySpec, KeepSpec, Meta, Times, Tree, TreePath, place, tree_digest, write_placed,
};
use railyard::oci::Digest;

use super::support::{Layer, Seen, Tarball, builder, check, finish, opener, path, seen, tree};

#[derive(Debug, Clone)]
enum Item {
    File(String, u32),
    Dir(u32),
    Symlink(String),
    Whiteout,
    Opaque,
}

type Items = Vec<(String, Item)>;
/// What a container would see, by path.
type Model = BTreeMap<TreePath, Seen>;

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "a-b", "c.d"]), 1..4).prop_map(|p| p.join("/"))
}

fn item(deletions: bool) -> impl Strategy<Value = Item> {
    let target =
        prop_oneof![name(), name().prop_map(|n| format!("/{n}")), name().prop_map(|n| format!("../{n}"))];
    prop_oneof![
        4 => ("[xyz]{0,3}", prop::sample::select(vec![0o644, 0o755])).prop_map(|(c, m)| Item::File(c, m)),
        4 => prop::sample::select(vec![0o755, 0o700, 0o1777]).prop_map(Item::Dir),
        2 => target.prop_map(Item::Symlink),
        if deletions { 2 } else { 0 } => Just(Item::Whiteout),
        if deletions { 1 } else { 0 } => Just(Item::Opaque),
    ]
}

fn is_file(item: &Item) -> bool {
    matches!(item, Item::File(..) | Item::Symlink(_))
}

/// A layer: no path twice, nothing below a file.
fn layer(deletions: bool) -> impl Strategy<Value = Items> {
    prop::collection::vec((name(), item(deletions)), 0..12).prop_map(|items| {
        let mut kept: Items = Vec::new();
        for (name, item) in items {
            let (here, opaque) = (path(&name), matches!(item, Item::Opaque));
            let clash = kept.iter().any(|(other, there)| {
                let other = path(other);
                let same = other == here;
                (same && !(matches!(there, Item::Whiteout) || matches!(item, Item::Whiteout) || opaque))
                    || (same && opaque && (is_file(there) || matches!(there, Item::Opaque)))
                    || (same && matches!(there, Item::Opaque) && is_file(&item))
                    || (same && matches!((there, &item), (Item::Whiteout, Item::Whiteout)))
                    || (!same && here.starts_with(&other) && is_file(there))
                    || (!same && other.starts_with(&here) && is_file(&item))
            });
            if !clash {
                kept.push((name, item));
            }
        }
        kept
    })
}

fn tarball(items: &Items) -> Vec<u8> {
    let mut tar = Tarball::new();
    for (name, item) in items {
        let (parent, last) = name.rsplit_once('/').map_or(("", name.as_str()), |(p, l)| (p, l));
        let whiteout = if parent.is_empty() { format!(".wh.{last}") } else { format!("{parent}/.wh.{last}") };
        tar = match item {
            Item::File(content, mode) => tar.file_of(name, content, *mode, (1, 2)),
            Item::Dir(mode) => tar.dir_of(name, *mode, (3, 4)),
            Item::Symlink(target) => tar.symlink(name, target),
            Item::Whiteout => tar.file(&whiteout, ""),
            Item::Opaque => tar.file(&format!("{name}/.wh..wh..opq"), ""),
        };
    }
    tar.bytes()
}

fn dir_of(meta: Meta) -> Seen {
    Seen("Directory".into(), meta)
}

fn make_parents(model: &mut Model, at: &TreePath) {
    for dir in at.ancestors() {
        if model.get(&dir).is_none_or(|there| there.0 != "Directory") {
            model.insert(dir, dir_of(Meta::default_dir()));
        }
    }
}

/// Extracts a layer over what is there: deletions first, then the rest.
fn extract(model: &mut Model, items: &Items) {
    for (name, item) in items {
        let here = path(name);
        match item {
            Item::Whiteout => model.retain(|p, _| !p.starts_with(&here)),
            Item::Opaque => model.retain(|p, _| !p.starts_with(&here) || *p == here),
            _ => {}
        }
    }
    for (name, item) in items {
        let here = path(name);
        match item {
            Item::File(..) | Item::Symlink(_) => {
                model.retain(|p, _| !p.starts_with(&here));
            }
            // An opaque mark needs its directory.
            Item::Opaque => make_parents(model, &here.join(b"x")),
            _ => {}
        }
        make_parents(model, &here);
        let seen = match item {
            Item::File(content, mode) => {
                let what = format!("file {} {}", content.len(), Digest::of(content.as_bytes()));
                Seen(what, Meta::new(*mode, 1, 2))
            }
            Item::Dir(mode) => dir_of(Meta::new(*mode, 3, 4)),
            Item::Symlink(target) => {
                let bytes = target.as_bytes();
                Seen(format!("Symlink {{ target: {bytes:?} }}"), Meta::new(0o777, 0, 0))
            }
            Item::Whiteout | Item::Opaque => continue,
        };
        model.insert(here, seen);
    }
}

fn flatten(tree: &Tree) -> Model {
    tree.walk(&TreePath::root()).skip(1).map(|n| (n.path.clone(), seen(&n))).collect()
}

fn layers(count: usize) -> impl Strategy<Value = Vec<Items>> {
    prop::collection::vec(layer(true), 0..count)
}

fn stored(items: &[Items]) -> Vec<Layer> {
    items.iter().map(|items| Layer::of(tarball(items))).collect()
}

fn kept(items: &Items) -> ArtifactBuilder {
    let mut layer = builder();
    let rename = |name: &[u8]| TreePath::parse(name).ok();
    let spec = KeepSpec { rename: &rename, times: Times::Keep, implied: &[] };
    layer.add_tar(tarball(items).as_slice(), &spec).unwrap();
    layer
}

/// Where COPY of the artifact's entries onto `beneath` leads; `None` when it must be refused.
fn copied(beneath: &Tree, artifact: &railyard::layer::LayerIndex) -> Option<Model> {
    let mut model = flatten(beneath);
    let mut places: BTreeMap<TreePath, TreePath> = BTreeMap::from([(TreePath::root(), TreePath::root())]);
    let mut mine: BTreeMap<TreePath, bool> = BTreeMap::new();
    for entry in artifact.entries() {
        let parent = places[&entry.path.parent()?].clone();
        let mut here = parent.join(entry.path.file_name());
        let mut there = beneath.get(&here);
        if entry.is_dir() && there.as_ref().is_some_and(|n| n.kind.word() == "symbolic link") {
            here = beneath.resolve(&here, true).ok()?;
            if here.ancestors().any(|dir| beneath.get(&dir).is_some_and(|n| !n.is_dir())) {
                return None;
            }
            make_parents(&mut model, &here);
            there = beneath.get(&here);
        }
        if there.as_ref().is_some_and(|n| n.is_dir() != entry.is_dir() && (n.is_dir() || entry.is_dir())) {
            return None;
        }
        // Within the layer: one file for one place, nothing below a file.
        let clash = mine.iter().any(|(p, dir)| {
            (*p == here && !(*dir && entry.is_dir()))
                || (*p != here && here.starts_with(p) && !dir)
                || (*p != here && p.starts_with(&here) && !entry.is_dir())
        });
        if clash || here.ancestors().any(|dir| mine.get(&dir) == Some(&false)) {
            return None;
        }
        let known = mine.insert(here.clone(), entry.is_dir()).is_some();
        places.insert(entry.path.clone(), here.clone());
        if entry.is_implied() && (known || there.is_some()) {
            continue;
        }
        let node = railyard::layer::Node {
            path: here.clone(),
            kind: entry.kind.clone(),
            meta: entry.meta.clone(),
            mtime: 0,
            layer: 0,
        };
        model.insert(here, seen(&node));
    }
    Some(model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_what_extraction_gives(items in layers(4)) {
        let mut model = Model::new();
        let mut pushed = Tree::default();
        for (items, layer) in items.iter().zip(stored(&items)) {
            extract(&mut model, items);
            pushed = pushed.push(layer.index);
        }
        prop_assert_eq!(flatten(&pushed), model.clone());
        for path in model.keys() {
            prop_assert_eq!(seen(&pushed.get(path).unwrap()), model[path].clone());
            let held = pushed.children(path).len();
            let expected = model.keys().filter(|p| p.parent().as_ref() == Some(path)).count();
            prop_assert_eq!(held, expected);
        }
    }

    #[test]
    fn bytes_do_not_depend_on_the_order(items in layer(false), seed in any::<u64>()) {
        let mut shuffled = items.clone();
        let mut seed = seed;
        for at in (1..shuffled.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let (one, bytes) = finish(kept(&items));
        let (other, others) = finish(kept(&shuffled));
        prop_assert_eq!(one, other);
        prop_assert_eq!(bytes, others);
    }

    #[test]
    fn placed_layers_give_what_copy_gives(beneath in layers(3), items in layer(false)) {
        let beneath = tree(&stored(&beneath));
        let (blob, bytes) = finish(kept(&items));
        let expected = copied(&beneath, &blob.index);
        let placement = place(&blob.index, &beneath);
        let Some(expected) = expected else {
            prop_assert!(placement.is_err(), "{:?}", placement);
            return Ok(());
        };
        let placement = placement.unwrap();
        let mut out = Vec::new();
        let dir = std::env::temp_dir();
        let written = write_placed(bytes.as_slice(), &blob.index, &placement, &dir, &mut out, 1).unwrap();
        check(&written, &out);
        prop_assert_eq!(flatten(&beneath.push(Arc::new(written.index))), expected.clone());
        if placement.is_identity() {
            prop_assert_eq!(flatten(&beneath.push(Arc::new(blob.index))), expected);
        }
    }

    #[test]
    fn a_copy_of_everything_is_everything(items in layers(4)) {
        let layers = stored(&items);
        let source = tree(&layers);
        let paths = ["/".to_owned()];
        let spec = CopySpec { image: "i", paths: &paths, to: Some("/"), chmod: None, owner: None, parents_mode: None };
        let mut layer = builder();
        layer.copy(&source, opener(&layers), &spec).unwrap();
        let (blob, _) = finish(layer);
        let copied = Tree::new(vec![Arc::new(blob.index)]);
        prop_assert_eq!(flatten(&copied), flatten(&source));
        prop_assert_eq!(tree_digest(&copied, &paths).unwrap(), tree_digest(&source, &paths).unwrap());
    }
}
