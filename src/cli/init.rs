//! `init`: a manifest to start from, put together from the shipped ones.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, say};
use super::import::write;

/// Images to start from.
struct Family {
    name: &'static str,
    about: &'static str,
    /// Path in the project -> text; the first holds the images.
    files: &'static [(&'static str, &'static str)],
}

/// A file of this project, by its path.
macro_rules! shipped {
    ($path:literal) => {
        ($path, include_str!(concat!("../../", $path)))
    };
}

/// The families, in the order in which they are offered.
const FAMILIES: &[Family] = &[
    Family {
        name: "serverless",
        about: "serverless plugin images: AWS SAM build images with Node.js and the Serverless Framework",
        files: &[shipped!("matrices/serverless-plugin.toml")],
    },
    Family {
        name: "sam",
        about: "SAM plugin images: AWS SAM build images with the plugin and the Docker CLI",
        files: &[shipped!("matrices/sam-plugin.toml")],
    },
    Family {
        name: "delegate",
        about: "custom delegates: bundles of client tools on the minimal and the full delegate",
        files: &[shipped!("matrices/delegate.toml")],
    },
    Family {
        name: "dockerfile",
        about: "images made by Dockerfiles, one built on the other",
        files: &[
            shipped!("matrices/dockerfile.toml"),
            shipped!("images/tooling/.dockerignore"),
            shipped!("images/tooling/Dockerfile"),
            shipped!("images/tooling/README.md"),
            shipped!("images/tooling/bin/inventory"),
            shipped!("images/runner/Dockerfile"),
            shipped!("images/runner/run.sh"),
        ],
    },
    Family {
        name: "ci-images",
        about: "the images of Harness CI, mirrored into a registry of one's own",
        files: &[shipped!("matrices/ci-images.toml")],
    },
];

/// The shipped manifest, which imports the families.
const MAIN: &str = include_str!("../../builds.toml");

/// Options of `init`.
#[derive(Debug, Args)]
pub struct InitOptions {
    /// Families of images to start from, separated by commas; asked for on a terminal.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    family: Vec<String>,
    /// The project's directory.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Write over files that are there.
    #[arg(long)]
    force: bool,
}

/// `railyard init`; `repository` is the push prefix.
pub fn init(options: &InitOptions, repository: Option<&str>) -> Result<(), Exit> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let mut names = options.family.clone();
    let mut prefix = repository.map(str::to_owned);
    if names.is_empty() {
        if !terminal {
            return Err(Exit::Usage(format!(
                "error: which images to start from?\n  help: give --family with any of {}",
                known().join(",")
            )));
        }
        let input = &mut std::io::stdin().lock();
        names = ask_families(input, &mut std::io::stderr())?;
        if prefix.is_none() {
            prefix = ask(
                input,
                &mut std::io::stderr(),
                "Push to which registry and path? [localhost:5000/acme] ",
            )?;
        }
    }
    let files = files(&names, prefix.as_deref())?;
    write(&options.dir, &files, options.force)
}

fn known() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.name).collect()
}

fn ask(input: &mut dyn BufRead, output: &mut dyn Write, question: &str) -> Result<Option<String>, Exit> {
    let failed = |e: std::io::Error| Exit::Environment(format!("error: failed to ask: {e}"));
    write!(output, "{question}").and_then(|()| output.flush()).map_err(failed)?;
    let mut line = String::new();
    if input.read_line(&mut line).map_err(failed)? == 0 {
        return Err(Exit::Interrupted);
    }
    Ok(Some(line.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

/// Asks until the answer names families by number or name; nothing means all.
fn ask_families(input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Vec<String>, Exit> {
    let offered: String = FAMILIES
        .iter()
        .enumerate()
        .map(|(number, family)| format!("  {} {}: {}\n", number + 1, family.name, family.about))
        .collect();
    loop {
        let question = format!("Images to start from:\n{offered}Which? [all] ");
        let Some(answer) = ask(input, output, &question)? else {
            return Ok(known().into_iter().map(str::to_owned).collect());
        };
        let chosen: Option<Vec<String>> = answer
            .split([',', ' '])
            .filter(|word| !word.is_empty())
            .map(|word| {
                let number =
                    word.parse::<usize>().ok().and_then(|number| FAMILIES.get(number.checked_sub(1)?));
                number
                    .or_else(|| FAMILIES.iter().find(|f| f.name == word))
                    .map(|family| family.name.to_owned())
            })
            .collect();
        match chosen {
            Some(names) => return Ok(names),
            None => say(&format!("`{answer}` is none of these: write numbers or names, separated by commas")),
        }
    }
}

/// The files of a project of these families.
fn files(names: &[String], repository: Option<&str>) -> Result<Vec<(String, String)>, Exit> {
    let mut families: Vec<&Family> = Vec::new();
    for name in names {
        let family = FAMILIES.iter().find(|family| family.name == name.trim()).ok_or_else(|| {
            Exit::Usage(format!(
                "error: there is no family `{name}`\n  help: there are {}",
                known().join(", ")
            ))
        })?;
        if !families.iter().any(|known| known.name == family.name) {
            families.push(family);
        }
    }
    let shipped: Vec<(String, String)> = families
        .iter()
        .flat_map(|family| family.files)
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    let used: String = shipped.iter().map(|(_, text)| text.as_str()).collect();
    let mut files = vec![("builds.toml".to_owned(), main_text(&used, repository))];
    files.extend(shipped);
    Ok(files)
}

/// The shipped main file with the variables that are used, and the repository.
fn main_text(used: &str, repository: Option<&str>) -> String {
    let mut text = String::new();
    let mut in_vars = false;
    // What stands outside `[vars]` may use variables too.
    let others: String = MAIN.lines().filter(|line| line.contains("{{")).collect();
    let is_used = |name: &str| {
        let mention = format!("vars.{name}");
        [used, &others].iter().any(|text| {
            text.match_indices(&mention).any(|(at, _)| {
                !text[at + mention.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        })
    };
    for line in MAIN.lines() {
        if line.starts_with('[') {
            in_vars = line.trim() == "[vars]";
        }
        let name = line.split_once('=').map(|(name, _)| name.trim()).filter(|name| !name.starts_with('#'));
        match (name, repository) {
            (Some("target"), Some(repository)) if in_vars => {
                text += &format!("target = {}\n", toml::Value::String(repository.to_owned()));
            }
            (Some(name), _) if in_vars && !is_used(name) => {}
            _ if line.contains("stand-in") => {}
            _ => text += &format!("{line}\n"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Sources, parse};
    use crate::matrix::{Overrides, expand};

    #[test]
    fn every_family_alone_and_all_together_are_whole() {
        let mut choices: Vec<Vec<String>> = known().iter().map(|name| vec![(*name).to_owned()]).collect();
        choices.push(known().into_iter().map(str::to_owned).collect());
        for names in choices {
            let mut sources = Sources::default();
            for (path, text) in files(&names, Some("registry.example.com/team")).unwrap() {
                if path.ends_with(".toml") {
                    sources.add(path, text);
                }
            }
            let manifest = parse(sources).unwrap_or_else(|(_, found)| panic!("{names:?}: {found:?}"));
            let matrix = expand(&manifest, &Overrides::default()).unwrap();
            assert_eq!(matrix.cells.is_empty(), names == ["ci-images"], "{names:?}");
            let pushed = matrix.cells.iter().flat_map(|cell| &cell.references);
            assert!(pushed.map(|r| &r.name.registry).all(|host| host == "registry.example.com"), "{names:?}");
        }
    }

    #[test]
    fn variables_that_nothing_uses_are_left_out() {
        let text = main_text("{{ vars.sam }}", None);
        assert!(text.contains("\nsam = ") && text.contains("\ntarget = "), "{text}");
        assert!(!text.contains("\ngithub = ") && !text.contains("stand-in"), "{text}");
    }

    #[test]
    fn answers_are_numbers_or_names() {
        let asked = |answer: &str| ask_families(&mut answer.as_bytes(), &mut Vec::new());
        assert_eq!(asked("1\n").unwrap(), [FAMILIES[0].name]);
        assert_eq!(asked("what\nserverless\n").unwrap(), ["serverless"]);
        assert_eq!(asked("\n").unwrap(), known());
        assert!(matches!(asked(""), Err(Exit::Interrupted)));
    }
}
