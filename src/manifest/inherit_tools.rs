//! `extends` of tools: tools as they are written -> tools with all that they inherit.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{RawTool, told_format, unknown_format};
use super::nearest::did_you_mean;
use super::{Diagnostic, Diagnostics, Download, Extract, Template, Tool};

/// Applies `extends` to all tools, in order of declaration.
///
/// What `path` and URLs lack is reported of tools that nothing extends: a tool that others extend
/// may be no more than what they have in common.
pub(super) fn tools(raw: Vec<RawTool>, problems: &mut Diagnostics) -> Vec<Tool> {
    let parents = parents(&raw, problems);
    let extended: BTreeSet<usize> = parents.iter().flatten().copied().collect();
    (0..raw.len())
        .map(|index| {
            let mut chain = vec![index];
            while let Some(parent) = parents[chain[chain.len() - 1]] {
                chain.push(parent);
            }
            // An unknown or circular parent has been reported: what it would give is not missing.
            let broken = chain.iter().any(|i| raw[*i].extends.is_some() && parents[*i].is_none());
            let whole = chain.iter().rev().map(|i| raw[*i].clone()).reduce(extend);
            let whole = whole.expect("a chain has its own tool");
            finish(whole, broken || extended.contains(&index), problems)
        })
        .collect()
}

/// The parent of each tool; edges that are unknown or close a circle are reported and left out.
fn parents(raw: &[RawTool], problems: &mut Diagnostics) -> Vec<Option<usize>> {
    let by_name: BTreeMap<&str, usize> =
        raw.iter().enumerate().map(|(i, tool)| (tool.name.value.as_str(), i)).collect();
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(raw.len());
    for tool in raw {
        parents.push(tool.extends.as_ref().and_then(|target| {
            let found = by_name.get(target.value.as_str()).copied();
            if found.is_none() {
                let others = by_name.keys().copied().filter(|name| *name != tool.name.value);
                let message = format!("there is no tool `{}`", target.value);
                problems.push(
                    Diagnostic::new("unknown-tool", target.at, message)
                        .label("not defined")
                        .help(did_you_mean(&target.value, others, "tools")),
                );
            }
            found
        }));
    }
    for start in 0..raw.len() {
        let mut path = vec![start];
        while let Some(next) = parents[path[path.len() - 1]] {
            if let Some(first) = path.iter().position(|seen| *seen == next) {
                let circle = path[first..].to_vec();
                report_circle(raw, &circle, problems);
                for tool in circle {
                    parents[tool] = None;
                }
                break;
            }
            path.push(next);
        }
    }
    parents
}

fn report_circle(raw: &[RawTool], circle: &[usize], problems: &mut Diagnostics) {
    let first = circle.first();
    let names: Vec<&str> = circle.iter().chain(first).map(|i| raw[*i].name.value.as_str()).collect();
    let mut places = circle.iter().filter_map(|i| raw[*i].extends.as_ref().map(|target| target.at));
    let Some(at) = places.next() else { return };
    let problem =
        Diagnostic::new("extends-cycle", at, format!("tools extend each other: {}", names.join(" -> ")))
            .label("extends")
            .help("remove one `extends`; what they share can stand in a third tool");
    problems.push(places.fold(problem, |problem, at| problem.also(at, "extends")));
}

/// A version, looked up or written, is one thing; so are URLs.
fn extend(parent: RawTool, child: RawTool) -> RawTool {
    let own_version = child.version.is_some() || child.discovery.is_some();
    let (version, discovery) = match own_version {
        true => (child.version, child.discovery),
        false => (parent.version, parent.discovery),
    };
    let (extract, open_format) = match child.extract.is_some() {
        true => (child.extract, child.open_format),
        false => (parent.extract, parent.open_format),
    };
    RawTool {
        name: child.name,
        extends: child.extends,
        version,
        discovery,
        at: child.at,
        urls: if child.urls.is_empty() { parent.urls } else { child.urls },
        sha256: child.sha256.or(parent.sha256),
        path: child.path.or(parent.path),
        extract,
        open_format,
        mode: child.mode.or(parent.mode),
        owner: child.owner.or(parent.owner),
        no_path: child.no_path,
        no_url: child.no_url,
    }
}

fn finish(whole: RawTool, lenient: bool, problems: &mut Diagnostics) -> Tool {
    if !lenient {
        problems.0.extend(whole.no_path.filter(|_| whole.path.is_none()));
        problems.0.extend(whole.no_url.filter(|_| whole.urls.is_empty()));
    }
    let mut extract = whole.extract;
    if let (Some(place), Some(url)) = (whole.open_format, whole.urls.first()) {
        match told_format(&whole.urls) {
            Some(format) => extract = extract.map(|extract| Extract { format, ..extract }),
            None => problems.push(unknown_format(place, url.at)),
        }
    }
    Tool {
        version: whole.version,
        discovery: whole.discovery,
        download: Download {
            urls: whole.urls,
            sha256: whole.sha256,
            path: whole.path.unwrap_or_else(|| Template { text: String::new(), at: whole.name.at }),
            extract,
            mode: whole.mode,
            owner: whole.owner,
        },
        name: whole.name,
    }
}
