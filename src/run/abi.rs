//! The built-in check `abi`: programs above the base against the libraries that the image has.

use std::sync::Arc;
use std::time::Instant;

use super::blobs::Progress;
use super::error::StepError;
use super::images::ImageFiles;
use super::worker::{StepReport, Worker, used};
use crate::layer::{Abi, AbiSpec, Finding, KnownFacts, Problem, System, SystemFiles, TreeFile};
use crate::matrix::{CellId, ConcreteContent, ConcretePart, LayerId, Source};
use crate::oci::{Descriptor, ImageConfig};
use crate::plan::{StepId, abi_result};
use crate::store::{CheckRecord, ImageRecord, Record};

/// How many files a failure names.
const NAMED: usize = 3;
const KEEP_BASE: &str =
    "or keep the previous base: where `railyard update` moved it, restore its entry in the lock";

/// A cell's files with the system beneath them.
struct Judged {
    image: ImageRecord,
    files: ImageFiles,
    /// What the outermost base is, and how many layers it has.
    base: Source,
    base_layers: usize,
    system: System,
}

/// An image from which something came into a cell.
struct Origin {
    /// `copied from` or `made in`.
    how: &'static str,
    source: Source,
}

impl Worker {
    /// Judges a cell's programs; a success is remembered, and shared through the cache repository.
    pub(super) async fn abi(self: &Arc<Self>, id: StepId, cell: CellId) -> Result<StepReport, StepError> {
        let key = abi_result(&self.image(cell)?.manifest.digest, &self.matrix.platform);
        if let Some(Record::Check(known)) = self.store.record(&key)?
            && known.passed
            && !self.settings.no_reuse
        {
            return Ok(StepReport::default());
        }
        let begun = Instant::now();
        let progress = self.progress(id);
        let judged = self.judged(cell, &progress).await?;
        let findings = self.findings(&judged, &progress).await?;
        if !findings.is_empty() {
            return Err(self.refusal(cell, &judged, &findings, &progress).await);
        }
        let record = Record::Check(CheckRecord { passed: true, seconds: begun.elapsed().as_secs_f64() });
        self.store.put_record(&key, &record)?;
        let mut report = StepReport { notices: self.differences(cell, &judged).await, ..Default::default() };
        self.share(id, &key, &record, &mut report).await;
        Ok(report)
    }

    async fn judged(self: &Arc<Self>, cell: CellId, progress: &Progress) -> Result<Judged, StepError> {
        let image = self.image(cell)?.clone();
        let base = self.chain(cell).1.clone();
        let base_layers = match &base {
            Source::Reference(_) | Source::Layout(_) => self.resolved(&used(&base)).await?.layers.len(),
            Source::Scratch | Source::Cell(_) | Source::Dockerfile(_) => 0,
        };
        let files = self.images.stack(&image.layers, progress).await?;
        let beneath = self.images.stack(&image.layers[..base_layers], progress).await?;
        let system = self.system(&beneath, progress).await?;
        Ok(Judged { image, files, base, base_layers, system })
    }

    /// The cell and the cells it is built on, from the top, and what the lowest is built on.
    fn chain(&self, cell: CellId) -> (Vec<CellId>, &Source) {
        let mut cells = vec![cell];
        loop {
            let base = match &self.cell(cells[cells.len() - 1]).base {
                Source::Dockerfile(made) => self.matrix.recipe(*made).base(),
                base => base,
            };
            match base {
                Source::Cell(base) => cells.push(*base),
                other => return (cells, other),
            }
        }
    }

    async fn system(&self, files: &ImageFiles, progress: &Progress) -> Result<System, StepError> {
        let wanted = SystemFiles::find(&files.tree);
        let known = self.inspector.facts(&files.layers, wanted.all(), progress).await?;
        Ok(wanted.read(&known))
    }

    async fn findings(&self, judged: &Judged, progress: &Progress) -> Result<Vec<Finding>, StepError> {
        let ImageFiles { tree, layers } = &judged.files;
        let mut known = KnownFacts::new();
        for (layer, index) in layers.iter().zip(tree.layers()).skip(judged.base_layers) {
            let programs = self.inspector.programs(layer, index, progress).await?;
            known.extend(programs.iter().map(|(content, facts)| (*content, facts.clone())));
        }
        let system = SystemFiles::find(tree);
        known.extend(self.inspector.facts(layers, system.all(), progress).await?);
        let variables = variables(&judged.image)?;
        let variable = |name: &str| {
            let found = variables.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default()
        };
        let spec = AbiSpec {
            tree,
            base_layers: judged.base_layers,
            architecture: &self.matrix.platform.architecture,
            path: variable("PATH"),
            library_path: variable("LD_LIBRARY_PATH"),
            configured: system.configured(&known),
        };
        let abi = Abi::new(spec, &known);
        let libraries = abi.libraries();
        known.extend(self.inspector.facts(layers, &libraries, progress).await?);
        Ok(abi.judge(&known))
    }

    async fn refusal(
        self: &Arc<Self>,
        cell: CellId,
        judged: &Judged,
        findings: &[Finding],
        progress: &Progress,
    ) -> StepError {
        let base = self.source_name(&judged.base);
        let mut lines = vec![format!("`{}` does not fit its base: {}", self.cell(cell).name, findings[0])];
        lines.extend(findings.iter().skip(1).take(NAMED - 1).map(ToString::to_string));
        match findings.len().saturating_sub(NAMED) {
            0 => {}
            1 => lines.push("and 1 more file".to_owned()),
            more => lines.push(format!("and {more} more files")),
        }
        for Origin { how, source } in self.origins(cell, judged, Some(findings)) {
            let system = self.system_of(&source, Some(progress)).await.ok().flatten();
            let system = system.map(|system| format!(", which has {system}")).unwrap_or_default();
            lines.push(format!("{how} `{}`{system}", self.source_name(&source)));
        }
        lines.push(format!("the base is `{base}`, which has {}", judged.system));
        StepError::new(lines.join("\n    ")).help(self.remedy(&findings[0].problem))
    }

    fn remedy(&self, problem: &Problem) -> String {
        let missing = |problem: &Problem| match problem {
            Problem::Interpreter(_) => true,
            Problem::Libraries(unmet) => unmet.iter().any(|unmet| unmet.library.is_none()),
            Problem::Architecture { .. } => false,
        };
        match problem {
            Problem::Architecture { .. } => format!("take it for `{}`", self.matrix.platform),
            _ if missing(problem) => {
                format!("use a base that has it, add it in `setup`, {KEEP_BASE}")
            }
            _ => format!("take it from a companion built on an older system, {KEEP_BASE}"),
        }
    }

    /// What is worth knowing though everything fits: companions with another C library.
    async fn differences(self: &Arc<Self>, cell: CellId, judged: &Judged) -> Vec<String> {
        let mut notices = Vec::new();
        for Origin { how, source } in self.origins(cell, judged, None) {
            let Some(system) = self.system_of(&source, None).await.ok().flatten() else { continue };
            if system.libc.is_none() || judged.system.libc.is_none() || system.libc == judged.system.libc {
                continue;
            }
            let text = format!(
                "files {how} `{}` ({system}) fit the base `{}` ({}), which has another C library",
                self.source_name(&source),
                self.source_name(&judged.base),
                judged.system
            );
            if self.first_said(&text) {
                notices.push(text);
            }
        }
        notices
    }

    /// Where the layers of a cell are from, each once; only those with findings where these are given
    /// and their layers can be told.
    fn origins(&self, cell: CellId, judged: &Judged, findings: Option<&[Finding]>) -> Vec<Origin> {
        let mut layers: Vec<LayerId> = Vec::new();
        let mut top = judged.image.layers.len();
        let mut told = true;
        for cell in self.chain(cell).0 {
            for layer in self.cell(cell).layers.iter().rev() {
                top = top.saturating_sub(1);
                let concerned = |findings: &[Finding]| findings.iter().any(|finding| finding.layer == top);
                if !told || findings.is_none_or(concerned) {
                    layers.push(*layer);
                }
            }
            // A setup step that changed nothing has no layer: what is beneath cannot be counted.
            told &= self.cell(cell).setup.is_empty();
        }
        let mut origins = Vec::new();
        for layer in layers.into_iter().rev() {
            for origin in origins_of(&self.matrix.layers[layer.0].content) {
                let known = |other: &Origin| other.source == origin.source;
                if origin.source != judged.base && !origins.iter().any(known) {
                    origins.push(origin);
                }
            }
        }
        origins
    }

    /// The system of an image that something came from; without `fetch` only where all that must be
    /// known of it is at hand.
    async fn system_of(
        self: &Arc<Self>,
        source: &Source,
        fetch: Option<&Progress>,
    ) -> Result<Option<System>, StepError> {
        let layers: Vec<Descriptor> = match source {
            Source::Scratch | Source::Dockerfile(_) => return Ok(None),
            Source::Cell(cell) => match self.finished_image(*cell) {
                Some(image) => image.layers,
                None => return Ok(None),
            },
            Source::Reference(_) | Source::Layout(_) => self.resolved(&used(source)).await?.layers.clone(),
        };
        for layer in &layers {
            if fetch.is_none() && !self.store.has_index(&layer.digest)? {
                return Ok(None);
            }
        }
        let silent = super::blobs::silent();
        let files = self.images.stack(&layers, fetch.unwrap_or(&silent)).await?;
        let wanted: Vec<TreeFile> = SystemFiles::find(&files.tree).all().cloned().collect();
        if wanted.is_empty() || (fetch.is_none() && !self.inspector.at_hand(&layers, &wanted)?) {
            return Ok(None);
        }
        self.system(&files, fetch.unwrap_or(&silent)).await.map(Some)
    }
}

fn origins_of(content: &ConcreteContent) -> Vec<Origin> {
    match content {
        ConcreteContent::Run(run) => vec![Origin { how: "made in", source: run.image.clone() }],
        ConcreteContent::Parts(parts) => {
            let copies = parts.iter().filter_map(|part| match part {
                ConcretePart::Copy(copy) => Some(copy.from.clone()),
                _ => None,
            });
            copies.map(|source| Origin { how: "copied from", source }).collect()
        }
    }
}

fn variables(image: &ImageRecord) -> Result<Vec<String>, StepError> {
    let config: ImageConfig = serde_json::from_str(&image.config_json)
        .map_err(|e| StepError::new(format!("a recorded configuration is malformed: {e}")))?;
    Ok(config.config.env.unwrap_or_default())
}
