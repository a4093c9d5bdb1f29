//! ARCHITECTURE.md's table of modules is what the code does.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a module may import; `None`: everything.
type Table = BTreeMap<String, Option<BTreeSet<String>>>;

/// Names in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn table() -> Table {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| module | holds | may import |")).skip(2);
    let table: Table = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [module, _, imports] = cells[..] else { panic!("three columns: {line}") };
            let module = names(module).into_iter().next().unwrap_or_else(|| panic!("no module: {line}"));
            let imports = match imports.replace('`', "").as_str() {
                "all" => None,
                "nothing" => Some(BTreeSet::new()),
                _ => Some(names(imports)),
            };
            (module, imports)
        })
        .collect();
    assert!(!table.is_empty(), "ARCHITECTURE.md has no table of modules");
    table
}

/// Source files by top-level module.
fn sources() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut found: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    let mut stack = vec![root().join("src")];
    while let Some(directory) = stack.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
                continue;
            }
            let relative = path.strip_prefix(root().join("src")).unwrap().to_owned();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            found.entry(module).or_default().push((relative, code(&text)));
        }
    }
    found.remove("lib");
    found.remove("main");
    found
}

/// A file without its comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Modules that a file names after `crate::`, in groups too.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + matched.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (position, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && depth == 0 && c.is_ascii_alphabetic() => {
                        found.insert(word(&group[position..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.insert(word(rest));
        }
    }
    found
}

#[test]
fn groups_and_single_imports_are_understood() {
    let found =
        imports("use crate::{report, run::{A, oci}};\nlet x = crate::plan::Plan;\nuse crate::engine;");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["engine", "plan", "report", "run"]);
}

#[test]
fn the_page_lists_every_module() {
    let listed: BTreeSet<String> = table().into_keys().collect();
    let there: BTreeSet<String> = sources().into_keys().collect();
    assert_eq!(listed, there);
}

#[test]
fn modules_import_what_the_page_allows() {
    let table = table();
    let mut broken = Vec::new();
    for (module, files) in sources() {
        let Some(Some(allowed)) = table.get(&module) else { continue };
        for (path, code) in files {
            for import in imports(&code) {
                if import != module && table.contains_key(&import) && !allowed.contains(&import) {
                    broken.push(format!("{}: `{module}` imports `{import}`", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "ARCHITECTURE.md does not allow:\n{}", broken.join("\n"));
}

#[test]
fn the_page_allows_no_circle() {
    let table = table();
    let mut left: BTreeSet<&String> = table.keys().collect();
    loop {
        let before = left.len();
        left = left
            .iter()
            .copied()
            .filter(|m| match &table[*m] {
                None => left.iter().any(|other| other != m),
                Some(imports) => imports.iter().any(|i| left.contains(i)),
            })
            .collect();
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "these import each other: {left:?}");
}

/// Files outside of `allowed` that hold one of these texts.
fn users(texts: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let files = sources().into_values().flatten();
    files
        .filter(|(_, code)| texts.iter().any(|text| code.contains(text)))
        .map(|(path, _)| path.display().to_string())
        .filter(|path| !allowed(path))
        .collect()
}

#[test]
fn only_reports_and_the_command_line_print() {
    let printing = ["println!", "print!(", "io::stdout", "io::stderr", "dbg!("];
    let found = users(&printing, |path| path.starts_with("report/") || path.starts_with("cli/"));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn clients_stay_behind_their_traits() {
    let bollard = users(&["bollard::", "use bollard"], |path| path.starts_with("engine/docker/"));
    assert_eq!(bollard, Vec::<String>::new());
    let reqwest = users(&["reqwest::", "use reqwest"], |path| {
        ["http/", "registry/"].iter().any(|module| path.starts_with(module))
    });
    assert_eq!(reqwest, Vec::<String>::new());
    let pure = ["oci/", "manifest/", "matrix/", "lock/", "plan/"];
    let io = users(&["std::fs", "std::env", "SystemTime", "Instant::now"], |path| {
        !pure.iter().any(|module| path.starts_with(module))
    });
    assert_eq!(io, Vec::<String>::new(), "`builds.toml -> Manifest -> Matrix -> Plan` is pure");
}
