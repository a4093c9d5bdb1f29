//! Cells -> stages of one Dockerfile. What cells share is one stage.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::config::{config, symbolic};
use super::needs::{closure, sources};
use super::text::{Names, slug, source, value, words};
use super::{ExportedFile, Problem, script};
use crate::lock::Lock;
use crate::manifest::{Chmod, Owner};
use crate::matrix::{
    Cell, CellId, ConcreteCommand, ConcreteContent, ConcreteCopy, ConcreteDownload, ConcretePart, LayerId,
    Matrix, Source,
};
use crate::oci::{Digest, Reference};

/// What an export is made of beside the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Digests of images and downloads.
    pub lock: &'a Lock,
    /// The users of external images, as far as [`bases_with_users`](super::bases_with_users) asks for them.
    pub users: &'a BTreeMap<Reference, String>,
    /// Whether COPY has `--link`, which the frontends of older engines refuse.
    pub link: bool,
}

/// A secret as builders know it.
pub(super) struct Secret {
    /// Names it: the file, with a number where another variable is given in a file of that name.
    pub(super) id: String,
    /// The variable that holds it.
    pub(super) variable: String,
    file: String,
}

/// Stages and files of one Dockerfile.
pub(super) struct Stages<'a> {
    matrix: &'a Matrix,
    inputs: Inputs<'a>,
    names: Names,
    /// Finished stages, each after those that it needs.
    text: Vec<String>,
    /// What a stage is for -> its name.
    known: BTreeMap<String, String>,
    files: Vec<ExportedFile>,
    /// Content and mode -> position of the file.
    file_of: HashMap<(Digest, u32), usize>,
    paths: HashSet<String>,
    /// The next number of a path.
    next_file: HashMap<String, usize>,
    /// The secrets of all commands.
    pub(super) secrets: Vec<Secret>,
    /// An image with a shell, for what is prepared beside the cells.
    shell: Option<Source>,
}

impl<'a> Stages<'a> {
    /// No stages yet; `cells` are those that will be asked for.
    pub(super) fn new(matrix: &'a Matrix, inputs: Inputs<'a>, cells: &[CellId]) -> Self {
        let all = closure(matrix, cells);
        let bases = all.iter().map(|id| &matrix.cells[id.0].base);
        let others = all.iter().flat_map(|id| sources(matrix, &matrix.cells[id.0]).into_iter().skip(1));
        let runs = others.filter(|source| {
            matrix.layers.iter().any(|layer| match &layer.content {
                ConcreteContent::Run(run) => run.image == **source,
                ConcreteContent::Parts(_) => false,
            })
        });
        let shell = bases.chain(runs).find(|source| matches!(source, Source::Reference(_))).cloned();
        Self {
            matrix,
            inputs,
            names: Names::default(),
            text: Vec::new(),
            known: BTreeMap::new(),
            files: Vec::new(),
            file_of: HashMap::new(),
            paths: HashSet::new(),
            next_file: HashMap::new(),
            secrets: Vec::new(),
            shell,
        }
    }

    /// The Dockerfile and its files.
    pub(super) fn finish(self, head: &str) -> Vec<ExportedFile> {
        let mut content = head.to_owned();
        for stage in &self.text {
            content.push('\n');
            content += stage;
        }
        let dockerfile = ExportedFile { path: "Dockerfile".into(), content, mode: 0o644 };
        std::iter::once(dockerfile).chain(self.files).collect()
    }

    /// The stage of a cell.
    pub(super) fn cell(&mut self, id: CellId) -> Result<String, Problem> {
        let cell = &self.matrix.cells[id.0];
        self.cell_stage(id, cell).map_err(|why| Problem { cell: cell.name.clone(), why })
    }

    fn cell_stage(&mut self, id: CellId, cell: &'a Cell) -> Result<String, String> {
        let key = format!("cell {}", id.0);
        if let Some(name) = self.known.get(&key) {
            return Ok(name.clone());
        }
        let mut lines = Vec::new();
        let base = self.source(&cell.base)?;
        lines.extend(self.setup(cell)?);
        for layer in &cell.layers {
            lines.extend(self.layer(*layer)?);
        }
        lines.extend(config(&cell.config)?);
        let values: Vec<&str> = cell.coordinates.iter().map(|(_, value)| &**value).collect();
        let name = format!("{} {}", cell.image, values.join(" "));
        Ok(self.stage(key, name.trim(), &base, &format!("# {}", cell.name), lines))
    }

    /// Adds a stage.
    fn stage(&mut self, key: String, name: &str, base: &str, head: &str, lines: Vec<String>) -> String {
        let name = self.names.give(name);
        let head = if head.is_empty() { String::new() } else { format!("{head}\n") };
        self.text.push(format!(
            "{head}FROM {base} AS {name}\n{}",
            lines.iter().map(|l| format!("{l}\n")).collect::<String>()
        ));
        self.known.insert(key, name.clone());
        name
    }

    /// The name of an image as FROM and COPY --from take it.
    fn source(&mut self, source: &'a Source) -> Result<String, String> {
        match source {
            Source::Scratch => Ok("scratch".into()),
            Source::Cell(id) => self.cell_stage(*id, &self.matrix.cells[id.0]),
            Source::Dockerfile(made) => {
                let spec = &self.matrix.dockerfiles[made.0].spec;
                Err(format!(
                    "it is made by the Dockerfile `{}` of `{}` already; leave it out with `--only`",
                    spec.file, spec.context
                ))
            }
            Source::Layout(directory) => Err(format!(
                "it uses the OCI layout `{directory}`, which a Dockerfile cannot name; push that image to a registry"
            )),
            Source::Reference(reference) => {
                let key = format!("image {reference}");
                if let Some(name) = self.known.get(&key) {
                    return Ok(name.clone());
                }
                let locked =
                    self.inputs.lock.image(reference, &self.matrix.platform).map(|image| image.digest);
                let digest = locked
                    .or(reference.digest)
                    .ok_or_else(|| format!("the lock has no digest of `{reference}`"))?;
                let pinned = Reference { digest: Some(digest), ..reference.clone() };
                let last = reference.name.repository.rsplit('/').next().unwrap_or_default();
                let name = match last.contains(|c: char| c.is_ascii_digit()) {
                    true => last.to_owned(),
                    false => format!("{last} {}", reference.tag.as_deref().unwrap_or_default()),
                };
                Ok(self.stage(key, &name, &pinned.to_string(), "", Vec::new()))
            }
        }
    }

    fn setup(&mut self, cell: &Cell) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        let mut changed = false;
        for command in &cell.setup {
            if let Some(user) = &command.user {
                lines.push(format!("USER {}", value(user)?));
                changed = true;
            } else if changed {
                lines.push(self.user_of(&cell.base)?);
                changed = false;
            }
            lines.extend(self.command(command));
        }
        if changed && cell.config.user.is_none() {
            lines.push(self.user_of(&cell.base)?);
        }
        Ok(lines)
    }

    /// USER with the user that an image has.
    fn user_of(&self, source: &Source) -> Result<String, String> {
        let user = match source {
            Source::Cell(id) => match &self.matrix.cells[id.0].config.user {
                Some(user) => return Ok(format!("USER {}", value(user)?)),
                None => return self.user_of(&self.matrix.cells[id.0].base),
            },
            Source::Reference(reference) => self.inputs.users.get(reference).map_or("", String::as_str),
            Source::Scratch | Source::Layout(_) | Source::Dockerfile(_) => "",
        };
        let user = if user.is_empty() { "0" } else { user };
        Ok(format!("USER {}", value(user)?))
    }

    fn command(&mut self, command: &ConcreteCommand) -> Vec<String> {
        let secrets: Vec<String> =
            command.secrets.iter().map(|(file, variable)| self.secret(file, &variable.value)).collect();
        script::limits(command).into_iter().chain([script::command(command, &secrets)]).collect()
    }

    /// The id of a secret.
    fn secret(&mut self, file: &str, variable: &str) -> String {
        let known = self.secrets.iter().find(|known| known.file == file && known.variable == variable);
        if let Some(known) = known {
            return known.id.clone();
        }
        let taken = |id: &str| self.secrets.iter().any(|known| known.id == id);
        let numbered = (2..).map(|number| format!("{file}-{number}"));
        let id = std::iter::once(file.to_owned()).chain(numbered).find(|id| !taken(id));
        let id = id.expect("numbers do not end");
        self.secrets.push(Secret { id: id.clone(), variable: variable.to_owned(), file: file.to_owned() });
        id
    }

    fn layer(&mut self, id: LayerId) -> Result<Vec<String>, String> {
        let layer = &self.matrix.layers[id.0];
        let mut lines = vec![format!("# layer {}", layer.name)];
        match &layer.content {
            ConcreteContent::Run(run) => {
                let key = format!("layer {}", id.0);
                let (collect, groups) = script::keep(&run.keep);
                let stage = match self.known.get(&key) {
                    Some(stage) => stage.clone(),
                    None => {
                        let base = self.source(&run.image)?;
                        let mut inner = Vec::new();
                        if let Some(user) = &run.command.user {
                            inner.push(format!("USER {}", value(user)?));
                        }
                        inner.extend(self.command(&run.command));
                        inner.extend(["USER 0".to_owned(), collect]);
                        self.stage(key, &format!("layer {}", layer.name), &base, "", inner)
                    }
                };
                lines.extend(groups.iter().map(|(from, parent)| {
                    let options = self.options(Some(&stage), None, None);
                    format!("COPY{options} {}", words(&[&format!("{from}/"), &format!("{parent}/")]))
                }));
            }
            ConcreteContent::Parts(parts) => {
                for part in parts {
                    let line = self.part(&layer.name, part)?;
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }

    fn part(&mut self, layer: &str, part: &'a ConcretePart) -> Result<String, String> {
        match part {
            ConcretePart::Copy(copy) => self.copy(layer, copy),
            ConcretePart::Download(download) => self.download(download),
            ConcretePart::File { path, content, mode, owner } => {
                let last = path.rsplit('/').next().unwrap_or_default();
                let place = self.file(layer, last, content, *mode);
                let options = self.options(None, Some(*owner), None);
                Ok(format!("COPY{options} {}", words(&[&source(&place), path])))
            }
            ConcretePart::Local { source, .. } => Err(format!(
                "it holds the file `{source}` of this machine, which an export does not carry along"
            )),
            ConcretePart::Dir { path, mode, owner } => self.dir(layer, path, *mode, *owner),
        }
    }

    fn options(&self, from: Option<&str>, owner: Option<Owner>, chmod: Option<u32>) -> String {
        let mut options = String::new();
        if self.inputs.link {
            options += " --link";
        }
        if let Some(from) = from {
            options += &format!(" --from={from}");
        }
        if let Some(owner) = owner.filter(|owner| from.is_some() || (owner.uid, owner.gid) != (0, 0)) {
            options += &format!(" --chown={}:{}", owner.uid, owner.gid);
        }
        if let Some(mode) = chmod {
            options += &format!(" --chmod={mode:04o}");
        }
        options
    }

    /// A file of the context with this content; equal ones are one.
    fn file(&mut self, layer: &str, name: &str, content: &str, mode: u32) -> String {
        let known = (Digest::of(content.as_bytes()), mode);
        if let Some(at) = self.file_of.get(&known) {
            return self.files[*at].path.clone();
        }
        let base = format!("files/{}/{name}", slug(layer));
        let number = self.next_file.entry(base.clone()).or_insert(2);
        let mut path = base;
        while !self.paths.insert(path.clone()) {
            path = format!("files/{}-{number}/{name}", slug(layer));
            *number += 1;
        }
        self.file_of.insert(known, self.files.len());
        self.files.push(ExportedFile { path: path.clone(), content: content.to_owned(), mode });
        path
    }

    fn copy(&mut self, layer: &str, copy: &'a ConcreteCopy) -> Result<String, String> {
        let from = self.source(&copy.from)?;
        let places = |path: &str| copy.to.as_deref().unwrap_or(path).to_owned();
        let lines = |stages: &Self, from: &str, prefix: &dyn Fn(usize) -> String, chmod| {
            let options = stages.options(Some(from), copy.owner, chmod);
            match &copy.to {
                Some(to) if copy.paths.len() > 1 => {
                    let mut all: Vec<String> =
                        copy.paths.iter().enumerate().map(|(n, path)| prefix(n) + &source(path)).collect();
                    all.push(to.clone());
                    format!("COPY{options} {}", words(&all.iter().map(String::as_str).collect::<Vec<_>>()))
                }
                _ => {
                    let line = |(n, path): (usize, &String)| {
                        format!("COPY{options} {}", words(&[&(prefix(n) + &source(path)), &places(path)]))
                    };
                    copy.paths.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
                }
            }
        };
        match &copy.chmod {
            None => Ok(lines(self, &from, &|_| String::new(), None)),
            Some(Chmod::Octal(mode)) => Ok(lines(self, &from, &|_| String::new(), Some(*mode))),
            Some(Chmod::Symbolic(clauses)) => {
                // Frontends of older engines know octal modes only.
                let mode = symbolic(clauses);
                let key = format!("chmod {from} {mode} {}", copy.paths.join("\n"));
                let prefix = |n: usize| format!("{}/{n}", script::OUT);
                let stage = match self.known.get(&key) {
                    Some(stage) => stage.clone(),
                    None => {
                        let mut inner = Vec::new();
                        let mut change = Vec::new();
                        for (n, path) in copy.paths.iter().enumerate() {
                            let place = prefix(n) + path;
                            inner.push(format!("COPY --from={from} {}", words(&[&source(path), &place])));
                            change.extend(script::modes(&mode, &place));
                        }
                        inner.push(script::lines(&change));
                        self.helper(key, &format!("mode {layer}"), inner)?
                    }
                };
                Ok(lines(self, &stage, &prefix, None))
            }
        }
    }

    fn download(&mut self, download: &ConcreteDownload) -> Result<String, String> {
        let locked = || self.inputs.lock.downloads.get(&download.shown).map(|locked| locked.sha256);
        let sha256 = download
            .sha256
            .or_else(locked)
            .ok_or_else(|| format!("the lock has no hash of `{}`", download.shown))?;
        if download.shown != download.urls[0] {
            return Err(format!(
                "the URL of `{}` has a part from outside, which may be secret: `{}`",
                download.name, download.shown
            ));
        }
        let hex = sha256.to_string();
        let hex = hex.strip_prefix("sha256:").unwrap_or(&hex);
        let (inner, (from, to)) = script::download(download, hex)?;
        let key = format!("download {}", inner.join("\n"));
        let stage = match self.known.get(&key) {
            Some(stage) => stage.clone(),
            None => self.helper(key, &format!("download {}", download.name), inner)?,
        };
        let (uid, gid) = download.owner;
        let options = self.options(Some(&stage), Some(Owner { uid, gid }), None);
        Ok(format!("COPY{options} {}", words(&[&from, &to])))
    }

    /// A directory, taken over as the content of another: its mode then holds where there is one already.
    fn dir(&mut self, layer: &str, path: &str, mode: u32, owner: Owner) -> Result<String, String> {
        let path = path.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let key = format!("dir {name} {mode:o} {}:{}", owner.uid, owner.gid);
        let stage = match self.known.get(&key) {
            Some(stage) => stage.clone(),
            None => {
                let quoted = super::text::quoted(&format!("{}/{name}", script::OUT));
                let script = script::lines(&[
                    format!("mkdir -p {quoted}"),
                    format!("chown {}:{} {quoted}", owner.uid, owner.gid),
                    format!("chmod {mode:04o} {quoted}"),
                ]);
                self.helper(key, &format!("dir {layer} {name}"), vec![script])?
            }
        };
        let options = self.options(Some(&stage), None, None);
        Ok(format!("COPY{options} {}", words(&[&format!("{}/", script::OUT), &format!("{parent}/")])))
    }

    /// A stage on an image that has a shell.
    fn helper(&mut self, key: String, name: &str, mut lines: Vec<String>) -> Result<String, String> {
        let shell = self.shell.clone().ok_or(
            "it needs a step with a shell (a download, a directory, a symbolic mode), and no image of the export has one",
        )?;
        let Source::Reference(reference) = &shell else {
            return Err("its base is no image of a registry".into());
        };
        let base = match self.known.get(&format!("image {reference}")) {
            Some(base) => base.clone(),
            None => {
                let matrix = self.matrix;
                let found = matrix.cells.iter().flat_map(|cell| sources(matrix, cell)).find(|s| **s == shell);
                self.source(found.expect("it is the source of a cell"))?
            }
        };
        lines.insert(0, "USER 0".into());
        Ok(self.stage(key, name, &base, "", lines))
    }
}
