//! Do the programs of a tree's upper layers fit the system beneath them.
//!
//! Pure: what the files are has been examined before. Only the C library's family, libstdc++ and
//! libgcc_s are judged: they come with the system, and everything built on another one needs them.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use super::elf::Elf;
use super::entry::Kind;
use super::examine::{Facts, KnownFacts, TreeFile};
use super::linker::Linker;
use super::version::{newest, parts};
use super::{Tree, TreePath};

/// The libraries that are judged, by soname; beside them the dynamic linker itself.
const JUDGED: [&str; 13] = [
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libresolv.so.2",
    "libutil.so.1",
    "libanl.so.1",
    "libmvec.so.1",
    "libthread_db.so.1",
    "libcrypt.so.1",
    "libstdc++.so.6",
    "libgcc_s.so.1",
];

fn is_judged(soname: &str) -> bool {
    JUDGED.contains(&soname) || soname.starts_with("ld-linux") || soname.starts_with("ld64.so")
}

/// What is judged, and where.
#[derive(Debug)]
pub struct AbiSpec<'t> {
    /// The whole image.
    pub tree: &'t Tree,
    /// How many of its layers, from the lowest, are the base's: they are relied on, not judged.
    pub base_layers: usize,
    /// The platform's architecture.
    pub architecture: &'t str,
    /// PATH of the image.
    pub path: &'t str,
    /// `LD_LIBRARY_PATH` of the image.
    pub library_path: &'t str,
    /// Directories that ld.so.conf names.
    pub configured: Vec<TreePath>,
}

/// A judgement in two steps: what it has to know of libraries, then what does not fit.
#[derive(Debug)]
pub struct Abi<'t> {
    spec: AbiSpec<'t>,
    linker: Linker<'t>,
    programs: Vec<Program>,
    /// Directories that programs name themselves: what they load finds its libraries there too.
    inherited: Vec<TreePath>,
}

/// A program or library that is judged.
#[derive(Debug)]
struct Program {
    path: TreePath,
    layer: usize,
    elf: Elf,
}

/// A file that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where it is.
    pub path: TreePath,
    /// The layer that has it; 0 is the lowest of the image.
    pub layer: usize,
    /// Why it does not fit.
    pub problem: Problem,
}

/// Why a file does not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// It is for another architecture.
    Architecture {
        /// Its own.
        found: String,
        /// The image's.
        wanted: String,
    },
    /// The dynamic linker that it asks for is missing.
    Interpreter(String),
    /// Libraries that are missing or too old; at least one.
    Libraries(Vec<Unmet>),
}

/// A library that is missing or too old for a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unmet {
    /// The library.
    pub soname: String,
    /// Where the library is; `None` where it is missing.
    pub library: Option<TreePath>,
    /// Whether the library is the base's.
    pub in_base: bool,
    /// The newest version of each family that is needed and not offered.
    pub needs: Vec<Need>,
}

/// A version that is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// E.g. `GLIBC_2.28`.
    pub version: String,
    /// The newest of its family that is offered.
    pub offered: Option<String>,
}

impl<'t> Abi<'t> {
    /// Takes stock of the programs above the base. `known` has the facts of every ELF file in
    /// those layers.
    pub fn new(spec: AbiSpec<'t>, known: &KnownFacts) -> Self {
        let linker = Linker::new(spec.tree, spec.library_path, spec.configured.clone());
        let programs = programs(spec.tree, spec.base_layers, known);
        let mut inherited = Vec::new();
        for program in programs.iter().filter(|program| program.elf.is_program()) {
            for directory in Linker::own_directories(&program.path, &program.elf) {
                if !inherited.contains(&directory) {
                    inherited.push(directory);
                }
            }
        }
        Self { spec, linker, programs, inherited }
    }

    /// How many files are judged.
    pub fn len(&self) -> usize {
        self.programs.len()
    }

    /// Whether there is nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// The libraries whose facts [`Self::judge`] needs.
    pub fn libraries(&self) -> Vec<TreeFile> {
        let mut files = Vec::new();
        let mut seen = BTreeSet::new();
        for program in &self.programs {
            for (soname, _) in demands(&program.elf) {
                let found = self.linker.search(&program.path, &program.elf, soname);
                let inherited = self.linker.files(&self.inherited, soname);
                files
                    .extend(found.into_iter().chain(inherited).filter(|file| seen.insert(file.path.clone())));
            }
        }
        files
    }

    /// The files that do not fit, the worst first: what stands in PATH, then what is needed newest.
    pub fn judge(&self, known: &KnownFacts) -> Vec<Finding> {
        let path: Vec<TreePath> =
            self.spec.path.split(':').filter_map(|directory| TreePath::parse(directory).ok()).collect();
        let in_path = |file: &TreePath| file.parent().is_some_and(|parent| path.contains(&parent));
        let mut findings: Vec<Finding> = self
            .programs
            .iter()
            .filter_map(|program| {
                let problem = self.problem(program, in_path(&program.path), known)?;
                Some(Finding { path: program.path.clone(), layer: program.layer, problem })
            })
            .collect();
        findings.sort_by_cached_key(|finding| {
            (!in_path(&finding.path), Reverse(finding.problem.gravity()), finding.path.clone())
        });
        findings
    }

    fn problem(&self, program: &Program, in_path: bool, known: &KnownFacts) -> Option<Problem> {
        let elf = &program.elf;
        let found = elf.architecture();
        if found != self.spec.architecture {
            // Packages carry files for several platforms; a layer of nothing else is a mistake.
            let alone = !self.programs.iter().any(|other| {
                other.layer == program.layer && other.elf.architecture() == self.spec.architecture
            });
            let wanted = self.spec.architecture.to_owned();
            return (in_path || alone).then_some(Problem::Architecture { found, wanted });
        }
        if let Some(interpreter) = &elf.interpreter
            && !self.linker.exists(interpreter)
        {
            return Some(Problem::Interpreter(interpreter.clone()));
        }
        let unmet: Vec<Unmet> = demands(elf)
            .filter_map(|(soname, versions)| self.unmet(program, soname, versions, known))
            .collect();
        (!unmet.is_empty()).then_some(Problem::Libraries(unmet))
    }

    fn unmet(
        &self,
        program: &Program,
        soname: &str,
        versions: &[String],
        known: &KnownFacts,
    ) -> Option<Unmet> {
        let loads = |file: &TreeFile| {
            file.elf(known).is_none_or(|library| {
                library.machine == program.elf.machine && library.wide == program.elf.wide
            })
        };
        let lacks = |file: &TreeFile| -> Vec<&String> {
            // A library without versions, as musl's, is taken by the dynamic linker as it is.
            let defined = file.elf(known).map(|library| &library.defined).filter(|d| !d.is_empty());
            let missing = |version: &&String| defined.is_some_and(|defined| !defined.contains(version));
            versions.iter().filter(missing).collect()
        };
        let found = self.linker.search(&program.path, &program.elf, soname).into_iter().find(loads);
        let missing = found.as_ref().map_or(versions.iter().collect(), lacks);
        if found.is_some() && missing.is_empty() {
            return None;
        }
        if !program.elf.is_program() {
            let mut inherited = self.linker.files(&self.inherited, soname).into_iter().filter(loads);
            if inherited.any(|file| lacks(&file).is_empty()) || versions.is_empty() {
                return None;
            }
        }
        let offered = found.as_ref().and_then(|file| file.elf(known)).map(|library| &library.defined);
        Some(Unmet {
            soname: soname.to_owned(),
            in_base: found.as_ref().is_some_and(|file| file.layer < self.spec.base_layers),
            library: found.map(|file| file.path),
            needs: needs(&missing, offered),
        })
    }
}

/// The programs and libraries of the upper layers that are visible in the tree.
fn programs(tree: &Tree, base_layers: usize, known: &KnownFacts) -> Vec<Program> {
    let mut programs = Vec::new();
    for (layer, index) in tree.layers().iter().enumerate().skip(base_layers) {
        for entry in index.entries() {
            let Kind::File { sha256, .. } = entry.kind else { continue };
            let Some(Facts::Elf(elf)) = known.get(&sha256) else { continue };
            if elf.loadable && tree.get(&entry.path).is_some_and(|node| node.layer == layer) {
                programs.push(Program { path: entry.path.clone(), layer, elf: elf.clone() });
            }
        }
    }
    programs
}

/// The judged libraries that a file needs, with the versions it needs of them.
fn demands(elf: &Elf) -> impl Iterator<Item = (&str, &[String])> {
    elf.needed.iter().filter(|soname| is_judged(soname)).map(|soname| {
        let versions = elf.versions.iter().find(|(library, _)| library == soname);
        (soname.as_str(), versions.map_or(&[][..], |(_, versions)| versions.as_slice()))
    })
}

/// Of each family the newest version that is missing.
fn needs(missing: &[&String], offered: Option<&Vec<String>>) -> Vec<Need> {
    let families: BTreeSet<&str> = missing.iter().map(|version| parts(version).0).collect();
    let need = |family: &str| {
        let version = newest(missing.iter().copied(), family).unwrap_or(family);
        let family = if family.starts_with("GLIBC_") { "GLIBC" } else { family };
        let offered = offered.and_then(|offered| newest(offered, family)).map(str::to_owned);
        Need { version: version.to_owned(), offered }
    };
    families.into_iter().map(need).collect()
}

impl Unmet {
    /// Whether it says all that another says, and more, or `before` it the same.
    fn covers(&self, other: &Self, before: bool) -> bool {
        let newer = |need: &Need| {
            let (family, numbers) = parts(&need.version);
            self.needs
                .iter()
                .map(|own| parts(&own.version))
                .any(|(own, version)| own == family && (version > numbers || (version == numbers && before)))
        };
        let alike = self.in_base == other.in_base && self.library.is_some() && other.library.is_some();
        alike && other.needs.iter().all(newer)
    }
}

impl Problem {
    /// What is worse is greater: that it cannot run at all, then by what is needed.
    fn gravity(&self) -> (u8, Vec<u32>) {
        match self {
            Self::Architecture { .. } => (2, Vec::new()),
            Self::Interpreter(_) => (1, Vec::new()),
            Self::Libraries(unmet) => {
                let needs = unmet.iter().flat_map(|unmet| &unmet.needs);
                (0, needs.map(|need| parts(&need.version).1).max().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.path, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Architecture { found, wanted } => write!(f, "is for {found}, the image is for {wanted}"),
            Self::Interpreter(path) => {
                write!(f, "needs the dynamic linker `{path}`, which the image does not have")
            }
            Self::Libraries(unmet) => {
                let missing: Vec<String> =
                    unmet.iter().filter(|unmet| unmet.library.is_none()).map(ToString::to_string).collect();
                let old = unmet.iter().enumerate().filter(|(at, one)| {
                    let covers = |(other, by): (usize, &Unmet)| other != *at && by.covers(one, other < *at);
                    one.library.is_some() && !unmet.iter().enumerate().any(covers)
                });
                let mut words: Vec<String> = old.map(|(_, unmet)| format!("needs {unmet}")).collect();
                if !missing.is_empty() {
                    words.push(format!("needs {}, which the image does not have", missing.join(", ")));
                }
                f.write_str(&words.join(", and "))
            }
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<&str> = self.needs.iter().map(|need| need.version.as_str()).collect();
        let versions = versions.join(" and ");
        let Some(library) = &self.library else {
            let versions = if versions.is_empty() { versions } else { format!(" ({versions})") };
            return write!(f, "`{}`{versions}", self.soname);
        };
        let owner = if self.in_base { "the base".to_owned() } else { format!("`{library}`") };
        let offered: Vec<&str> = self.needs.iter().filter_map(|need| need.offered.as_deref()).collect();
        match offered.is_empty() {
            true => write!(f, "{versions}, which {owner} does not offer"),
            false => write!(f, "{versions}, {owner} offers up to {}", offered.join(" and ")),
        }
    }
}
