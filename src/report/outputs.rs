//! What a run hands to the steps after it: `KEY=value` lines, and the artifact file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::event::{CellOutcome, CellSummary, Summary};

/// The longest list that is handed on, in bytes: an environment variable holds no more than 128 KiB.
const LONGEST: usize = 100 * 1024;

/// The form of a file of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// A line `KEY=value` each: Drone's and Harness's.
    Lines,
    /// The same, and values of several lines between delimiters: GitHub's.
    Github,
}

/// What a run hands on: keys with their values, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Key and value, in order.
    pub values: Vec<(String, String)>,
    /// What somebody should know.
    pub notes: Vec<String>,
}

/// The outputs of a run; `own` are those that images define, by cell.
///
/// One good cell alone has `IMAGE`, `DIGEST` and `TAGS`; every run has lists over its good cells
/// and the numbers of cells by outcome.
pub fn outputs(summary: &Summary, own: &BTreeMap<String, Vec<(String, String)>>) -> Outputs {
    let good: Vec<&CellSummary> = summary.cells.iter().filter(|cell| is_good(cell)).collect();
    let mut found = Outputs::default();
    if let ([cell], 1) = (good.as_slice(), summary.cells.len()) {
        let tags: Vec<&str> = cell.references.iter().filter_map(|reference| tag(reference)).collect();
        found.put("IMAGE", cell.references.first().cloned().unwrap_or_default());
        found.put("DIGEST", digest(cell));
        found.put("TAGS", tags.join(","));
    }
    let list = |of: &dyn Fn(&CellSummary) -> String| {
        good.iter().map(|cell| of(cell)).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",")
    };
    found.put("IMAGES", list(&|cell| cell.references.join(",")));
    found.put("DIGESTS", list(&digest));
    let outcomes = [CellOutcome::Built, CellOutcome::Current, CellOutcome::Failed, CellOutcome::Skipped];
    for outcome in outcomes {
        let key = format!("CELLS_{}", outcome.name().to_ascii_uppercase());
        found.put(&key, summary.count(outcome).to_string());
    }
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in good.iter().filter_map(|cell| own.get(&cell.cell)).flatten() {
        let known = values.entry(key).or_default();
        if !known.contains(&value.as_str()) {
            known.push(value);
        }
    }
    for (key, values) in values {
        found.put(key, values.join(","));
    }
    found
}

impl Outputs {
    /// Sets a value; one that an image defines takes the place of railyard's own.
    fn put(&mut self, key: &str, value: String) {
        if value.len() > LONGEST {
            self.notes.push(format!("the output `{key}` is left out: it has {} bytes", value.len()));
            return;
        }
        self.values.retain(|(known, _)| known != key);
        self.values.push((key.to_owned(), value));
    }

    /// The text to append to a file.
    pub fn text(&self, form: OutputForm) -> String {
        let mut text = String::new();
        for (key, value) in &self.values {
            let lines: Vec<&str> = value.lines().collect();
            let _ = match (lines.as_slice(), form) {
                ([] | [_], _) => writeln!(text, "{key}={}", lines.concat()),
                (lines, OutputForm::Lines) => writeln!(text, "{key}={}", lines.join(" ")),
                (lines, OutputForm::Github) => {
                    let end = delimiter(lines);
                    writeln!(text, "{key}<<{end}\n{}\n{end}", lines.join("\n"))
                }
            };
        }
        text
    }
}

/// A line that the value does not have.
fn delimiter(lines: &[&str]) -> String {
    let mut end = "RAILYARD_END".to_owned();
    while lines.contains(&end.as_str()) {
        end.push('_');
    }
    end
}

fn is_good(cell: &CellSummary) -> bool {
    matches!(cell.outcome, CellOutcome::Built | CellOutcome::Current)
}

fn digest(cell: &CellSummary) -> String {
    cell.digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// The tag of a reference that has one.
fn tag(reference: &str) -> Option<&str> {
    let (_, last) = reference.rsplit_once('/').unwrap_or(("", reference));
    last.split_once(':').map(|(_, tag)| tag)
}

/// The artifact file of Drone's Docker plugins, which Harness reads: every tag with its digest.
pub fn artifact_file(summary: &Summary) -> Value {
    let good = summary.cells.iter().filter(|cell| is_good(cell));
    let images: Vec<Value> = good
        .clone()
        .flat_map(|cell| cell.references.iter().map(move |reference| (cell, reference)))
        .map(|(cell, reference)| json!({"image": reference, "digest": digest(cell)}))
        .collect();
    let host = good.flat_map(|cell| &cell.references).next().and_then(|r| r.split('/').next());
    let host = host.unwrap_or("docker.io");
    let registry = match host {
        host if host.contains(".dkr.ecr.") => "ECR",
        host if host.ends_with("gcr.io") => "GCR",
        host if host.ends_with("-docker.pkg.dev") => "GAR",
        host if host.ends_with(".azurecr.io") => "ACR",
        _ => "Docker",
    };
    let url = match host {
        "docker.io" => "https://index.docker.io/".to_owned(),
        host => format!("https://{host}/"),
    };
    json!({"kind": "docker/v1", "data": {"registryType": registry, "registryUrl": url, "images": images}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs_of(value: &str) -> Outputs {
        Outputs { values: vec![("KEY".into(), value.into())], notes: Vec::new() }
    }

    #[test]
    fn values_of_several_lines_are_delimited_where_that_is_possible() {
        assert_eq!(outputs_of("a").text(OutputForm::Github), "KEY=a\n");
        assert_eq!(outputs_of("").text(OutputForm::Lines), "KEY=\n");
        assert_eq!(outputs_of("a\nb").text(OutputForm::Lines), "KEY=a b\n");
        let text = outputs_of("a\nRAILYARD_END").text(OutputForm::Github);
        assert_eq!(text, "KEY<<RAILYARD_END_\na\nRAILYARD_END\nRAILYARD_END_\n");
    }

    #[test]
    fn tags_are_found_beside_ports() {
        assert_eq!(tag("localhost:5000/a/b:c"), Some("c"));
        assert_eq!(tag("localhost:5000/a/b"), None);
    }
}
