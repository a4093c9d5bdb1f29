//! `extends`: images as they are written -> images with all that they inherit.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{INHERITED, RawImage};
use super::nearest::did_you_mean;
use super::{Diagnostic, Diagnostics, Image, ImageSource, Located, Template};

/// Applies `extends` to all images, in order of declaration; adds the names of those of which too
/// little is known to say more about them.
pub(super) fn images(
    raw: &[RawImage],
    unsure: &mut BTreeSet<String>,
    problems: &mut Diagnostics,
) -> Vec<Image> {
    let by_name: BTreeMap<&str, usize> =
        raw.iter().enumerate().map(|(i, image)| (image.id.value.as_str(), i)).collect();
    let parents = parents(raw, &by_name, problems);
    raw.iter()
        .enumerate()
        .map(|(index, own)| {
            let mut chain = vec![index];
            while let Some(parent) = parents[chain[chain.len() - 1]] {
                chain.push(parent);
            }
            // An unknown or circular parent has been reported: what it would give is not missing.
            let broken =
                chain.iter().any(|i| raw[*i].broken || raw[*i].extends.is_some() && parents[*i].is_none());
            let oldest = raw[chain.pop().unwrap_or(index)].clone();
            let whole =
                chain.iter().rev().fold(written(oldest), |parent, child| extend(parent, &raw[*child]));
            if broken {
                unsure.insert(own.id.value.clone());
            }
            finish(&own.id, whole, broken, problems)
        })
        .collect()
}

/// The parent of each image; edges that are unknown or close a cycle are reported and left out.
fn parents(
    raw: &[RawImage],
    by_name: &BTreeMap<&str, usize>,
    problems: &mut Diagnostics,
) -> Vec<Option<usize>> {
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(raw.len());
    for image in raw {
        parents.push(image.extends.as_ref().and_then(|target| {
            let found = by_name.get(target.value.as_str()).copied();
            if found.is_none() {
                let others = raw.iter().map(|i| i.id.value.as_str()).filter(|name| *name != image.id.value);
                problems.push(
                    Diagnostic::new(
                        "unknown-image",
                        target.at,
                        format!("there is no image `{}`", target.value),
                    )
                    .label("not defined")
                    .help(did_you_mean(&target.value, others, "images")),
                );
            }
            found
        }));
    }
    for start in 0..raw.len() {
        let mut path = vec![start];
        while let Some(next) = parents[path[path.len() - 1]] {
            if let Some(first) = path.iter().position(|seen| *seen == next) {
                let cycle = &path[first..];
                let names: Vec<&str> =
                    cycle.iter().chain([&next]).map(|i| raw[*i].id.value.as_str()).collect();
                report_cycle(raw, cycle, &names, problems);
                for image in cycle {
                    parents[*image] = None;
                }
                break;
            }
            path.push(next);
        }
    }
    parents
}

fn report_cycle(raw: &[RawImage], cycle: &[usize], names: &[&str], problems: &mut Diagnostics) {
    let mut places = cycle.iter().filter_map(|i| raw[*i].extends.as_ref().map(|target| target.at));
    let Some(at) = places.next() else { return };
    let problem =
        Diagnostic::new("extends-cycle", at, format!("images extend each other: {}", names.join(" -> ")))
            .label("extends")
            .help("remove one `extends`; what they share can stand in a third image with `push = false`");
    problems.push(places.fold(problem, |problem, at| problem.also(at, "extends")));
}

/// The oldest image of a chain: there is nothing that `"..."` could stand for.
fn written(mut image: RawImage) -> RawImage {
    for list in [&mut image.layers, &mut image.checks].into_iter().flatten() {
        list.retain(|name| name.value != INHERITED);
    }
    image
}

fn extend(mut parent: RawImage, child: &RawImage) -> RawImage {
    let child = child.clone();
    // A Dockerfile takes the place of a base, and a base that of a Dockerfile.
    if child.dockerfile.is_some() {
        parent.base = None;
        parent.foreign.retain(|(key, _)| *key != "base");
    } else if child.base.is_some() {
        parent.dockerfile = None;
    }
    RawImage {
        id: child.id,
        extends: child.extends,
        axes: child.axes.or(parent.axes),
        name: child.name.or(parent.name),
        tags: child.tags.or(parent.tags),
        version_tags: child.version_tags.or(parent.version_tags),
        destinations: splice_destinations(parent.destinations, child.destinations),
        existing_tags: child.existing_tags.or(parent.existing_tags),
        base: child.base.or(parent.base),
        dockerfile: child.dockerfile.or(parent.dockerfile),
        foreign: child.foreign.into_iter().chain(parent.foreign).collect(),
        setup: child.setup.or(parent.setup),
        layers: splice(parent.layers, child.layers),
        env: merge(parent.env, child.env),
        path: child.path.into_iter().chain(parent.path).collect(),
        user: child.user.or(parent.user),
        workdir: child.workdir.or(parent.workdir),
        // As in a Dockerfile, a new entrypoint makes the old arguments meaningless.
        cmd: if child.entrypoint.is_some() { child.cmd } else { child.cmd.or(parent.cmd) },
        entrypoint: child.entrypoint.or(parent.entrypoint),
        labels: merge(parent.labels, child.labels),
        include: child.include.or(parent.include),
        exclude: child.exclude.or(parent.exclude),
        zip: child.zip.or(parent.zip),
        when: child.when.or(parent.when),
        max_age: child.max_age.or(parent.max_age),
        checks: splice(parent.checks, child.checks),
        push: child.push.or(parent.push),
        outputs: merge(parent.outputs, child.outputs),
        broken: child.broken,
    }
}

/// The child's list with the parent's in the place of `"..."`.
fn splice(
    parent: Option<Vec<Located<String>>>,
    child: Option<Vec<Located<String>>>,
) -> Option<Vec<Located<String>>> {
    let Some(child) = child else { return parent };
    let parent = parent.unwrap_or_default();
    Some(
        child
            .into_iter()
            .flat_map(|name| if name.value == INHERITED { parent.clone() } else { vec![name] })
            .collect(),
    )
}

/// As [`splice`]; where the parent has no list, `"..."` goes on to stand for the project's.
fn splice_destinations(parent: Option<Vec<Template>>, child: Option<Vec<Template>>) -> Option<Vec<Template>> {
    let (Some(child), Some(parent)) = (&child, &parent) else { return child.or(parent) };
    let place = |prefix: &Template| {
        if prefix.text == INHERITED { parent.clone() } else { vec![prefix.clone()] }
    };
    Some(child.iter().flat_map(place).collect())
}

/// Both, in the parent's order; the child's value wins.
fn merge(parent: Vec<(String, Template)>, child: Vec<(String, Template)>) -> Vec<(String, Template)> {
    let mut merged = parent;
    for (name, value) in child {
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = value,
            None => merged.push((name, value)),
        }
    }
    merged
}

fn finish(id: &Located<String>, whole: RawImage, broken: bool, problems: &mut Diagnostics) -> Image {
    let push = whole.push.unwrap_or(true);
    let missing = |key: &str, help: &str| {
        Diagnostic::new("missing-key", id.at, format!("`images.{}` has no `{key}`", id.value))
            .label(format!("`{key}` is missing here"))
            .help(help)
    };
    for (key, at) in whole.dockerfile.iter().flat_map(|_| &whole.foreign) {
        problems.push(
            Diagnostic::new(
                "exclusive-keys",
                *at,
                format!("image `{}` is made by a Dockerfile, so it cannot have `{key}`", id.value),
            )
            .label("does not go with `dockerfile`")
            .help(match *key {
                "base" => "remove it: the Dockerfile's FROM names the base",
                "setup" | "layers" => {
                    "write it in the Dockerfile, or put it into a further image with `base = { image = \"…\" }`"
                }
                _ => "remove it here and write it in the Dockerfile",
            }),
        );
    }
    let (base, base_at) = whole.base.unwrap_or_else(|| {
        if !broken && whole.dockerfile.is_none() {
            problems.push(missing(
                "base",
                "add `base`: a reference, `oci:DIR`, `{ image = \"name\" }` or \"scratch\"; or `dockerfile`",
            ));
        }
        (ImageSource::Scratch, id.at)
    });
    let tags = whole.tags.unwrap_or_default();
    let version_tags = whole.version_tags.unwrap_or_default();
    if push && tags.is_empty() && version_tags.is_empty() && !broken {
        problems
            .push(missing("tags", "add `tags = [\"…\"]`, or `push = false` where only other images use it"));
    }
    let name = whole.name.unwrap_or_else(|| {
        if super::values::is_name(&id.value) && super::values::repository_name(&id.value).is_err() {
            problems.push(
                Diagnostic::new(
                    "malformed-repository",
                    id.at,
                    format!("`{}` cannot be the last part of a repository", id.value),
                )
                .help("add `name = \"…\"`, with lower-case letters and digits, separated by `/`, `.`, `_` or `-`"),
            );
        }
        Template { text: id.value.clone(), at: id.at }
    });
    Image {
        id: id.clone(),
        axes: whole.axes.unwrap_or_default(),
        name,
        tags,
        version_tags,
        destinations: whole.destinations,
        existing_tags: whole.existing_tags,
        base,
        base_at,
        dockerfile: whole.dockerfile,
        setup: whole.setup.unwrap_or_default(),
        layers: whole.layers.unwrap_or_default(),
        env: whole.env,
        path: whole.path,
        user: whole.user,
        workdir: whole.workdir,
        entrypoint: whole.entrypoint,
        cmd: whole.cmd,
        labels: whole.labels,
        include: whole.include.unwrap_or_default(),
        exclude: whole.exclude.unwrap_or_default(),
        zip: whole.zip.unwrap_or_default(),
        when: whole.when,
        checks: whole.checks.unwrap_or_default(),
        max_age: whole.max_age,
        push,
        outputs: whole.outputs,
    }
}
