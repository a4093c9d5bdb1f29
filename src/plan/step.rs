//! The nodes of a plan.

use petgraph::graph::{DiGraph, NodeIndex};
use serde::Serialize;

use super::named::named;
use crate::matrix::{CellId, DockerfileId, LayerId};
use crate::oci::{Digest, Reference};

/// Position of a step in its plan; stable for equal inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StepId(pub u32);

impl From<NodeIndex> for StepId {
    fn from(node: NodeIndex) -> Self {
        Self(node.index() as u32)
    }
}

impl From<StepId> for NodeIndex {
    fn from(step: StepId) -> Self {
        Self::new(step.0 as usize)
    }
}

named! {
    /// Which limit a step counts against.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    pub enum Class {
        /// Runs a container.
        Container = "container",
        /// Talks to a registry or another server.
        Transfer = "transfer",
        /// Works in process.
        Cpu = "cpu",
    }
}

/// An image from outside the matrix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsedSource {
    /// In a registry.
    Reference(Reference),
    /// In an OCI image layout.
    Layout(String),
}

impl std::fmt::Display for UsedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reference(reference) => reference.fmt(f),
            Self::Layout(directory) => write!(f, "oci:{directory}"),
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// Manifest and configuration of an image from outside.
    Resolve(UsedSource),
    /// The files of its layers, listed.
    Index(UsedSource),
    /// A layer's files, without any base.
    Artifact(LayerId),
    /// The image that a Dockerfile makes.
    Dockerfile(DockerfileId),
    /// A setup step: the cell that first asked for it and its position in the cell's chain.
    Setup {
        /// The first cell that asked.
        cell: CellId,
        /// Position in the chain.
        position: usize,
    },
    /// An artifact put onto what is beneath it: the first cell that asked and the layer's position.
    Place {
        /// The first cell that asked.
        cell: CellId,
        /// Position in the cell's layers.
        position: usize,
    },
    /// Configuration and manifest of a cell.
    Assemble(CellId),
    /// The built-in check `abi` of a cell: its programs against the libraries of its base.
    Abi(CellId),
    /// Blobs and manifest to the registry, by digest.
    Push(CellId),
    /// The image into the engine.
    Load(CellId),
    /// A check of a cell's image, by position in the cell's checks.
    Check {
        /// The cell.
        cell: CellId,
        /// Position in its checks.
        position: usize,
    },
    /// The cell's tags, moved.
    Tag(CellId),
}

impl StepKind {
    /// The kind's name in documents.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Index(_) => "index",
            Self::Artifact(_) => "artifact",
            Self::Dockerfile(_) => "dockerfile",
            Self::Setup { .. } => "setup",
            Self::Place { .. } => "place",
            Self::Assemble(_) => "assemble",
            Self::Abi(_) => "abi",
            Self::Push(_) => "push",
            Self::Load(_) => "load",
            Self::Check { .. } => "check",
            Self::Tag(_) => "tag",
        }
    }
}

/// A node of the plan.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// For people, e.g. `serverless: npm install…`.
    pub label: String,
    /// Hash of all that decides its result. Equal keys are one step.
    pub key: Digest,
    /// Whether an ingredient of the key is not pinned yet, so that the key will change.
    pub provisional: bool,
    /// Which limit it counts against.
    pub class: Class,
    /// How many cells asked for it (a cell asks once for each use).
    pub asked: u32,
}

impl Step {
    /// Whether a command makes its result, so that equal keys need not make equal bytes: the lock pins
    /// its output.
    pub fn is_command(&self) -> bool {
        match self.kind {
            StepKind::Setup { .. } | StepKind::Dockerfile(_) => true,
            StepKind::Artifact(_) => self.class == Class::Container,
            _ => false,
        }
    }
}

/// Where finished images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivery {
    /// To the registry.
    pub push: bool,
    /// Into the engine.
    pub load: bool,
    /// Whether checks run.
    pub checks: bool,
}

/// The steps of a cell.
#[derive(Debug, Clone)]
pub struct CellSteps {
    /// The cell.
    pub cell: CellId,
    /// Whether it was asked for itself, not only as an upstream of others.
    pub chosen: bool,
    /// Its build id: the key of all that decides its bytes.
    pub build_id: Digest,
    /// The key of its files and configuration: what counts of it where commands run in it or on it and
    /// where it is copied from. Not its history, nor when it was created.
    pub identity: Digest,
    /// The build of its Dockerfile.
    pub dockerfile: Option<StepId>,
    /// The setup chain.
    pub setup: Vec<StepId>,
    /// The placed layers, lowest first.
    pub places: Vec<StepId>,
    /// The artifacts, lowest first.
    pub artifacts: Vec<StepId>,
    /// Assembly.
    pub assemble: StepId,
    /// The last steps of the cell: what it is there for.
    pub last: Vec<StepId>,
}

/// The distinct steps of a matrix and what each needs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Steps; an edge leads from a step to one that needs it.
    pub graph: DiGraph<Step, ()>,
    /// By position as [`CellId`]; `None` for a cell that nobody asked for.
    pub cells: Vec<Option<CellSteps>>,
}

impl Plan {
    /// A step.
    pub fn step(&self, id: StepId) -> &Step {
        &self.graph[NodeIndex::from(id)]
    }

    /// All steps in order.
    pub fn steps(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.graph.node_indices().map(|n| (n.into(), &self.graph[n]))
    }

    /// What a step needs, in order of creation.
    pub fn needs(&self, id: StepId) -> Vec<StepId> {
        let mut needs: Vec<StepId> = self
            .graph
            .neighbors_directed(id.into(), petgraph::Direction::Incoming)
            .map(StepId::from)
            .collect();
        needs.sort_unstable();
        needs.dedup();
        needs
    }

    /// The steps that need a step, in order of creation.
    pub fn dependents(&self, id: StepId) -> Vec<StepId> {
        let mut dependents: Vec<StepId> = self
            .graph
            .neighbors_directed(id.into(), petgraph::Direction::Outgoing)
            .map(StepId::from)
            .collect();
        dependents.sort_unstable();
        dependents.dedup();
        dependents
    }

    /// Steps asked for, each time a cell asks.
    pub fn asked(&self) -> u64 {
        self.graph.node_weights().map(|s| u64::from(s.asked)).sum()
    }
}
