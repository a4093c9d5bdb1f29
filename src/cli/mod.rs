//! The command line: clap, files and environment, wiring. Decides nothing about images.

mod access;
mod build;
mod ci_images;
mod delegate;
mod exit;
mod export;
mod harness;
mod history;
mod import;
mod init;
mod interrupt;
mod load;
mod lock_file;
mod mirror;
mod mirrors;
mod needed;
mod pipeline;
mod plan;
mod plugin;
mod prepared;
mod recipes;
mod settings;
mod status;
mod suppose;
mod update;
mod versions;
mod world;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
pub use exit::Exit;

/// A declarative build-matrix engine for container images.
#[derive(Debug, Parser)]
#[command(name = "railyard", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    project: ProjectArguments,
}

/// Where the project is and what is changed from outside.
#[derive(Debug, Args)]
struct ProjectArguments {
    /// The manifest.
    #[arg(short, long, global = true, default_value = "builds.toml", env = "RAILYARD_FILE")]
    file: PathBuf,
    /// Sets a variable of `[vars]`.
    #[arg(long = "var", global = true, value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Sets variables of `[vars]` from a TOML file of `name = "value"` lines.
    #[arg(long = "vars", global = true, value_name = "FILE", env = "RAILYARD_VARS")]
    vars_file: Option<PathBuf>,
    /// Push prefix (registry and path), instead of the project's.
    #[arg(long, global = true, env = "RAILYARD_REPOSITORY")]
    repository: Option<String>,
    /// The lock; `builds.lock` beside the manifest unless given.
    #[arg(long, global = true, value_name = "FILE", env = "RAILYARD_LOCK")]
    lock: Option<PathBuf>,
    /// The local store; a directory in the user's cache unless given.
    #[arg(long, global = true, value_name = "DIR", env = "RAILYARD_STORE")]
    store: Option<PathBuf>,
    /// Only these cells: `image=GLOB,AXIS=GLOB,…`; may be given several times.
    #[arg(long, global = true, value_name = "CONDITIONS")]
    only: Vec<String>,
}

impl ProjectArguments {
    /// The manifest's directory, which its files are relative to.
    fn directory(&self) -> &std::path::Path {
        self.file.parent().unwrap_or(std::path::Path::new(""))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the manifest and reports every mistake.
    Check {
        /// One line a mistake: `file:line:column: error[code]: message`.
        #[arg(long)]
        plain: bool,
    },
    /// Prints the JSON Schema of the manifest, for editors.
    Schema,
    /// Prints what would be built, without building anything.
    Plan(PlanArguments),
    /// Builds every cell that is not current, and delivers it.
    Build(Box<BuildArguments>),
    /// Moves the lock's entries to what their references mean now.
    Update(UpdateArguments),
    /// Says of each cell whether its tags have its image, and if not, why.
    Status {
        /// The form of the output.
        #[arg(long, value_enum, default_value_t = DocumentFormat::Table)]
        format: DocumentFormat,
        /// End with exit code 1 unless every cell is current and no tag is orphaned.
        #[arg(long)]
        exit_code: bool,
    },
    /// Shows all that goes into a cell: inputs, layers and who shares them, and why it is stale.
    Explain {
        /// The cell's name, or one of its tags.
        cell: String,
        /// Ask nobody: neither engine nor network.
        #[arg(long)]
        offline: bool,
        /// The form of the output.
        #[arg(long, value_enum, default_value_t = DocumentFormat::Table)]
        format: DocumentFormat,
    },
    /// Shows what earlier runs did: the last ones, the changes of a cell, or the steps of a run.
    History {
        /// A cell's name, with `*` and `?` for several; an image; or a run's id.
        subject: Option<String>,
        /// At most so many lines; of runs and changes 20 unless given.
        #[arg(short = 'n', long = "lines", value_name = "N")]
        lines: Option<u32>,
        /// Show runs in which the cell was current too.
        #[arg(long)]
        all: bool,
        /// The form of the output.
        #[arg(long, value_enum, default_value_t = DocumentFormat::Table)]
        format: DocumentFormat,
    },
    /// A delegate's Kubernetes manifest, and its pin at Harness.
    #[command(subcommand)]
    Delegate(delegate::DelegateCommand),
    /// Copies images of others into a registry: all platforms, by digest, only what differs.
    Mirror(Box<mirror::MirrorArguments>),
    /// Compares and sets the CI images of a Harness account. The key for its API comes from
    /// HARNESS_API_KEY or HARNESS_TOKEN.
    CiImages(Box<ci_images::CiImagesArguments>),
    /// Writes the matrix for other programs: Dockerfiles, a bake file, pipelines.
    Export {
        #[command(subcommand)]
        target: export::ExportTarget,
    },
    /// Reads a pipeline that builds images by hand, and writes the manifest that does the same.
    Import {
        #[command(subcommand)]
        source: import::ImportSource,
    },
    /// Writes a manifest to start from; `--repository` is where its images go.
    Init(init::InitOptions),
    /// Prints a completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Options of `plan`.
#[derive(Debug, Args)]
struct PlanArguments {
    /// Ask nobody: neither engine nor network.
    #[arg(long)]
    offline: bool,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
    format: PlanFormat,
    /// Keep the plan as JSON, for `build --plan`.
    #[arg(long, value_name = "FILE", conflicts_with = "suppositions")]
    out: Option<PathBuf>,
    /// Show what a change would touch: `base=REFERENCE[@DIGEST]`, `tool=NAME@VERSION`,
    /// `axis=NAME+VALUE`, `axis=NAME-VALUE`; may be given several times.
    #[arg(long = "if", value_name = "CHANGE")]
    suppositions: Vec<String>,
    /// As `build --force`.
    #[arg(long, value_name = "PATTERN")]
    force: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    Table,
    Json,
    Dot,
    Mermaid,
    Html,
}

/// Options of `update`.
#[derive(Debug, Args)]
struct UpdateArguments {
    /// Only entries whose reference or URL contains one of these texts, and axes and tools so named.
    names: Vec<String>,
    /// Say what would move, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// A shell command to run once the lock has changed; the moves are its standard input.
    #[arg(long, value_name = "COMMAND", conflicts_with = "dry_run")]
    then: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DocumentFormat {
    Table,
    Json,
}

/// Options of `build`.
#[derive(Debug, Args)]
struct BuildArguments {
    /// Push to the registry and move tags.
    #[arg(long)]
    push: bool,
    /// Load into the engine under the images' references.
    #[arg(long)]
    load: bool,
    /// Build what `plan --out` kept, and refuse when its inputs have changed since.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write to `oci:DIR` or `docker-archive:FILE`; may be given several times.
    #[arg(long, value_name = "FORM:PATH")]
    output: Vec<String>,
    /// Refuse to add to the lock.
    #[arg(long)]
    locked: bool,
    /// Containers at a time; the number of CPUs unless given.
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// Start nothing more after the first failure.
    #[arg(long)]
    fail_fast: bool,
    /// Leave the checks out.
    #[arg(long)]
    no_checks: bool,
    /// Make everything anew, whatever is known.
    #[arg(long)]
    no_reuse: bool,
    /// Run the commands of these layers, images or cells again: a name or a glob; may be given
    /// several times.
    #[arg(long, value_name = "PATTERN")]
    force: Vec<String>,
    /// Do not ask or fill the cache repository.
    #[arg(long)]
    no_cache: bool,
    /// Write `json:FILE` or `junit:FILE`; may be given several times.
    #[arg(long, value_name = "FORM:FILE")]
    report: Vec<String>,
    /// Write the images and their digests as the artifact file that Harness and Drone read.
    #[arg(long, value_name = "FILE")]
    artifact_file: Option<PathBuf>,
    /// Wait so long (`60s`) for the engine where a step needs it.
    #[arg(long, value_name = "DURATION", value_parser = crate::manifest::parse_duration)]
    wait_engine: Option<std::time::Duration>,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Progress {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Bars.
    Bars,
    /// Plain lines.
    Plain,
    /// Nothing but the closing table.
    Quiet,
}

/// Runs the program with the process's arguments.
pub fn main() -> std::process::ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.report(),
    };
    let result = match arguments.command {
        Command::Check { plain } => plan::check(&arguments.project, plain),
        Command::Schema => plan::schema(),
        Command::Plan(options) => plan::plan(&arguments.project, &options),
        Command::Build(build) => build::build(&arguments.project, &build),
        Command::Update(update) => update::update(&arguments.project, &update),
        Command::Status { format, exit_code } => status::status(&arguments.project, format, exit_code),
        Command::Explain { cell, offline, format } => {
            status::explain(&arguments.project, &cell, offline, format)
        }
        Command::History { subject, lines, all, format } => {
            history::history(&arguments.project, subject.as_deref(), lines, all, format)
        }
        Command::Delegate(command) => delegate::delegate(&arguments.project, &command),
        Command::Mirror(options) => mirror::mirror(&arguments.project, &options),
        Command::CiImages(options) => ci_images::ci_images(&arguments.project, &options),
        Command::Export { target } => export::export(&arguments.project, &target),
        Command::Import { source } => import::import(&source),
        Command::Init(options) => init::init(&options, arguments.project.repository.as_deref()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "railyard", &mut script);
            exit::print(&String::from_utf8_lossy(&script))
        }
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}

/// The process's arguments; where it has none, those that the settings of a pipeline step stand for.
fn arguments() -> Result<Arguments, Exit> {
    if std::env::args_os().len() > 1 {
        return Ok(Arguments::parse());
    }
    // A variable that is no text is no setting.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    match plugin::arguments(&Arguments::command(), variables)? {
        Some(words) => Ok(Arguments::parse_from(std::iter::once("railyard".to_owned()).chain(words))),
        None => Ok(Arguments::parse()),
    }
}
