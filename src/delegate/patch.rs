//! An existing manifest made fit for a custom image, the rest of it left as it is.

use std::collections::BTreeMap;

use super::DelegateError;
use super::render::quoted;
use super::secrets::{RealSecret, real, without};
use super::yaml::{Edits, Node, parse};
use crate::oci::Reference;

/// The variable by which a delegate does not fetch tools itself.
const NO_DOWNLOADS: &str = "CLIENT_TOOLS_DOWNLOAD_DISABLED";

/// What is patched, and how.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The image, by digest.
    pub image: &'a Reference,
    /// The workload's name; any, unless given.
    pub name: Option<&'a str>,
    /// The container's name.
    pub container: &'a str,
    /// Leave secrets as they are, for text that nobody is shown; otherwise placeholders stand in their
    /// places.
    pub keep_secrets: bool,
}

/// A patched manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patched {
    /// The whole text.
    pub text: String,
    /// What was changed, a line each, in order: "line 12: …".
    pub changes: Vec<String>,
    /// What a reader should know, without any secret.
    pub notes: Vec<String>,
}

/// Names the image by digest in the delegate's container, sets CLIENT_TOOLS_DOWNLOAD_DISABLED there,
/// suspends the upgrader's CronJob, and makes every CronJob `batch/v1`.
///
/// # Errors
/// A text that is no YAML, that has no such container or several, or parts of it that cannot be changed
/// without writing it anew; by their lines.
pub fn patch(text: &str, target: &Target<'_>) -> Result<Patched, DelegateError> {
    let patched = once(text, target)?;
    // Whatever the text looks like: what comes out says what it should.
    match once(&patched.text, target) {
        Ok(again) if again.changes.is_empty() && again.text == patched.text => Ok(patched),
        _ => Err(DelegateError::new(
            "it is written in a way in which it cannot be changed here and there",
            "write its tables and lists in lines, without anchors and tags",
        )),
    }
}

fn once(text: &str, target: &Target<'_>) -> Result<Patched, DelegateError> {
    let documents = parse(text)?;
    let objects: Vec<&Node> = documents.iter().flat_map(flat).collect();
    let mut patch = Patch { edits: Edits::new(text), changes: Vec::new() };
    patch.container(container(&objects, target, &patch.edits)?, target)?;
    let mut upgraders = 0;
    for job in objects.iter().filter(|object| kind(object) == Some("CronJob")) {
        patch.version(job)?;
        if is_upgrader(job) {
            upgraders += 1;
            patch.suspend(job)?;
        }
    }
    let mut notes = Vec::new();
    if upgraders == 0 {
        notes.push("there is no CronJob of an upgrader in it".to_owned());
    }
    let secrets: Vec<RealSecret> = objects.iter().flat_map(|object| real(object)).collect();
    patch.changes.sort_by_key(|(line, _)| *line);
    let changes = patch.changes.into_iter().map(|(line, what)| format!("line {line}: {what}")).collect();
    let mut text = patch.edits.apply();
    if target.keep_secrets {
        notes.extend(secrets.iter().map(|s| format!("{} is a real value: do not commit it", s.subject)));
    } else if !secrets.is_empty() {
        text = concealed(&text, &secrets)?;
        let placed = |s: &RealSecret| {
            format!("{} is a real value: `{}` stands in its place", s.subject, s.placeholder)
        };
        notes.extend(secrets.iter().map(placed));
    }
    Ok(Patched { text, changes, notes })
}

/// Documents are objects, or lists of objects.
fn flat(document: &Node) -> Vec<&Node> {
    match (kind(document), document.get("items")) {
        (Some(kind), Some(items)) if kind.ends_with("List") => items.items().iter().collect(),
        _ => vec![document],
    }
}

fn kind(object: &Node) -> Option<&str> {
    object.get("kind").and_then(Node::text)
}

fn name(object: &Node) -> &str {
    object.at(&["metadata", "name"]).and_then(Node::text).unwrap_or("?")
}

fn containers(pod: Option<&Node>) -> &[Node] {
    pod.and_then(|pod| pod.get("containers")).map_or(&[], Node::items)
}

/// The delegate's container: the one of that name, else the only one of all workloads.
fn container<'n>(
    objects: &[&'n Node],
    target: &Target<'_>,
    edits: &Edits<'_>,
) -> Result<&'n Node, DelegateError> {
    let workloads = objects.iter().filter(|object| {
        matches!(kind(object), Some("Deployment" | "StatefulSet"))
            && target.name.is_none_or(|wanted| name(object) == wanted)
    });
    let all: Vec<(&str, &Node)> = workloads
        .flat_map(|object| {
            containers(object.at(&["spec", "template", "spec"]))
                .iter()
                .map(|container| (name(object), container))
        })
        .collect();
    let named = |container: &Node| container.get("name").and_then(Node::text) == Some(target.container);
    let fitting: Vec<_> = all.iter().filter(|(_, container)| named(container)).collect();
    match (fitting.as_slice(), all.as_slice()) {
        ([(_, only)], _) | ([], [(_, only)]) => Ok(only),
        ([], []) => {
            let of = target.name.map(|name| format!(" of the name `{name}`")).unwrap_or_default();
            Err(DelegateError::new(
                format!("there is no Deployment or StatefulSet{of} with a container in it"),
                "give the manifest of a delegate that runs in Kubernetes",
            ))
        }
        ([], several) => Err(DelegateError::new(
            format!("none of its {} containers is called `{}`", several.len(), target.container),
            "give the container's name by --container",
        )),
        (several, _) => {
            let names: Vec<String> = several
                .iter()
                .map(|(name, container)| format!("`{name}` (line {})", edits.line(container.start())))
                .collect();
            Err(DelegateError::new(
                format!("it has several delegates: {}", names.join(", ")),
                "choose one by --name",
            ))
        }
    }
}

fn is_upgrader(job: &Node) -> bool {
    let pod = job.at(&["spec", "jobTemplate", "spec", "template", "spec"]);
    name(job).contains("upgrader")
        || containers(pod).iter().any(|container| {
            let image = container.get("image").and_then(Node::text).unwrap_or_default();
            let repository = image.split(['@', ':']).next().unwrap_or_default();
            container.get("name").and_then(Node::text) == Some("upgrader")
                || repository.ends_with("/upgrader")
        })
}

struct Patch<'t> {
    edits: Edits<'t>,
    changes: Vec<(usize, String)>,
}

impl Patch<'_> {
    fn changed(&mut self, at: &Node, what: String) {
        self.changes.push((self.edits.line(at.start()), what));
    }

    fn container(&mut self, container: &Node, target: &Target<'_>) -> Result<(), DelegateError> {
        let image = quoted(target.image);
        match container.entry("image") {
            Some((_, value)) if value.text() == Some(target.image.to_string().as_str()) => {}
            Some((key, value)) => {
                self.edits.set(key, value, &image)?;
                self.changed(key, format!("image: {image}"));
            }
            None => {
                self.edits.insert_key(container, "image", &image, &image)?;
                self.changed(container, format!("image: {image}"));
            }
        }
        self.variable(container)
    }

    fn variable(&mut self, container: &Node) -> Result<(), DelegateError> {
        let lines = [format!("name: {NO_DOWNLOADS}"), "value: \"true\"".to_owned()];
        let lines = [lines[0].as_str(), lines[1].as_str()];
        let flow = format!("{{name: {NO_DOWNLOADS}, value: \"true\"}}");
        let said = format!("{NO_DOWNLOADS}=true");
        let Some((key, list)) = container.entry("env").filter(|(_, list)| !list.items().is_empty()) else {
            if let Some((key, list)) = container.entry("env") {
                // Nothing, `null`, `[]`: whatever it is, a list of one stands in its place.
                match list {
                    Node::Sequence { place, .. } => self.edits.fill_list(place.start, &flow)?,
                    other => self.edits.set(key, other, &format!("[{flow}]"))?,
                }
                self.changed(key, said);
                return Ok(());
            }
            let block = format!("\n{{indent}}- {}\n{{indent}}  {}", lines[0], lines[1]);
            self.edits.insert_key(container, "env", &block, &format!("[{flow}]"))?;
            self.changed(container, said);
            return Ok(());
        };
        let is_it = |item: &&Node| item.get("name").and_then(Node::text) == Some(NO_DOWNLOADS);
        let Some(item) = list.items().iter().find(is_it) else {
            self.edits.insert_item(list, &lines, &flow)?;
            self.changed(key, said);
            return Ok(());
        };
        match item.entry("value") {
            Some((_, value)) if value.text() == Some("true") && self.edits.is_quoted(value) => return Ok(()),
            Some((key, value)) => self.edits.set(key, value, "\"true\"")?,
            None if item.get("valueFrom").is_some() => {
                let line = self.edits.line(item.start());
                return Err(DelegateError::new(
                    format!("line {line}: {NO_DOWNLOADS} comes from elsewhere (`valueFrom`)"),
                    "set it to \"true\" there, or write `value: \"true\"` here",
                ));
            }
            None => self.edits.insert_key(item, "value", "\"true\"", "\"true\"")?,
        }
        self.changed(item, said);
        Ok(())
    }

    fn version(&mut self, job: &Node) -> Result<(), DelegateError> {
        if let Some((key, value)) = job.entry("apiVersion")
            && value.text() == Some("batch/v1beta1")
        {
            self.edits.set(key, value, "batch/v1")?;
            self.changed(key, "apiVersion: batch/v1".to_owned());
        }
        Ok(())
    }

    fn suspend(&mut self, job: &Node) -> Result<(), DelegateError> {
        let Some(spec) = job.get("spec") else { return Ok(()) };
        match spec.entry("suspend") {
            Some((_, value)) if value.text() == Some("true") && !self.edits.is_quoted(value) => return Ok(()),
            Some((key, value)) => {
                self.edits.set(key, value, "true")?;
                self.changed(key, "suspend: true".to_owned());
            }
            None => {
                self.edits.insert_key(spec, "suspend", "true", "true")?;
                self.changed(spec, "suspend: true".to_owned());
            }
        }
        Ok(())
    }
}

/// The text with placeholders for secrets: at their places, and wherever else the same value stands.
fn concealed(text: &str, secrets: &[RealSecret]) -> Result<String, DelegateError> {
    // Their places have moved with the changes.
    let documents = parse(text)?;
    let mut edits = Edits::new(text);
    // Several aliases of one anchor are one place, which is called by the first.
    let mut placed: BTreeMap<usize, RealSecret> = BTreeMap::new();
    for secret in documents.iter().flat_map(flat).flat_map(real) {
        placed.entry(secret.place.start).or_insert(secret);
    }
    for secret in placed.into_values() {
        let quotes = if secret.block { "" } else { "\"" };
        edits.put(secret.place, format!("{quotes}{}{quotes}", secret.placeholder));
    }
    let text = without(&edits.apply(), secrets);
    let left = parse(&text)?.iter().flat_map(flat).flat_map(real).next();
    match left {
        None => Ok(text),
        Some(secret) => Err(DelegateError::new(
            format!("{} cannot be taken out of it", secret.subject),
            "write a placeholder there, or patch the file itself with --in-place",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_with_anchors_and_tags_go_as_a_whole_and_the_anchors_stay() {
        let image: Reference =
            format!("localhost:5000/d@sha256:{}", "1".repeat(64)).parse().expect("a reference");
        let target = Target { image: &image, name: None, container: "delegate", keep_secrets: false };
        for (written, wanted) in [
            ("&tok \"abc #def123\"", "&tok \"YOUR_A_TOKEN\""),
            ("!!str &tok 'abc #def123' # kept", "!!str &tok \"YOUR_A_TOKEN\" # kept"),
            ("&tok |\n            abc #def123\n            def123", "&tok |\n            YOUR_A_TOKEN"),
            ("&tok >- # kept\n            abc #def123", "&tok >- # kept\n            YOUR_A_TOKEN"),
        ] {
            let text = |value: &str| {
                format!(
                    "kind: Deployment\nmetadata: {{name: d}}\nspec:\n  template:\n    spec:\n      containers:\n      \
                     - name: delegate\n        image: {image}\n        env:\n        \
                     - {{name: CLIENT_TOOLS_DOWNLOAD_DISABLED, value: \"true\"}}\n        - name: A_TOKEN\n          \
                     value: {value}\n        - name: B_TOKEN\n          value: *tok\n"
                )
            };
            let patched = patch(&text(written), &target).unwrap_or_else(|e| panic!("{written}: {e}"));
            assert_eq!(patched.text, text(wanted));
        }
    }
}
