//! One test's own place: a temporary directory, repositories, and both ways to make an image.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::compare::{Image, Rules, assert_equal, config_of};
use super::engine::{Engine, container_rules, engines};
use super::fixture::Fixture;
use super::flatten::flatten;
use super::registry::Registry;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/builds.toml");

/// One test's place.
pub struct Lab {
    /// The development registry.
    pub registry: Registry,
    /// The engines that judge.
    pub engines: Vec<Engine>,
    /// Path of this test's repositories in the registry.
    pub path: String,
    directory: tempfile::TempDir,
    names: Vec<(String, String)>,
}

/// How a run of railyard ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output and error.
    pub said: String,
}

/// An image, written once for railyard and once for the engines.
#[derive(Debug, Clone, Default)]
pub struct Case<'a> {
    /// Tables of `builds.toml` before the image's: `[layers.…]`.
    pub tables: &'a str,
    /// Keys of `[images.found]`; its tag is `1` where they say none.
    pub image: &'a str,
    /// The tag that is compared; `1` unless set.
    pub tag: &'a str,
    /// The equivalent Dockerfile.
    pub dockerfile: &'a str,
    /// Files of its context: path, content, mode.
    pub context: Vec<(&'a str, Vec<u8>, u32)>,
    /// What may differ.
    pub rules: Rules,
    /// Whether railyard needs an engine. Where it does not, it gets none.
    pub runs: bool,
    /// The oldest engine that understands the Dockerfile.
    pub since: u32,
}

impl Lab {
    /// A place for a test; repositories are of this process alone.
    pub fn new(test: &str) -> Self {
        let registry = Registry::connect();
        super::setting("RAILYARD_DEV_FILES");
        let directory = tempfile::tempdir().unwrap();
        let unique = directory.path().file_name().unwrap().to_str().unwrap();
        let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = format!("oracle/{test}-{}", unique.to_lowercase());
        Self { engines: engines(), registry, path, directory, names: Vec::new() }
    }

    /// A directory or file of the test.
    pub fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Pushes a fixture; from then on `$NAME` stands for its reference.
    pub fn push(&mut self, name: &str, image: &Fixture) {
        let (layers, config) = image.pushable();
        let repository = format!("{}/{name}", self.path);
        self.registry.push(&repository, "1", &layers, config);
        self.name(name, &format!("{}/{repository}:1", self.registry.host));
    }

    /// From now on `$NAME` stands for this text.
    pub fn name(&mut self, name: &str, text: &str) {
        self.names.push((format!("${name}"), text.to_owned()));
        self.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    }

    fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Runs railyard in the test's directory; without an engine where none is given.
    pub fn railyard(&self, arguments: &[&str], engine: Option<&Engine>) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAILYARD_")) {
            command.env_remove(name);
        }
        let output = command
            .args(arguments)
            .current_dir(self.directory.path())
            .arg("--store")
            .arg(self.place("store"))
            .arg("--lock")
            .arg(self.place("builds.lock"))
            .env("DOCKER_HOST", engine.map_or("unix:///nonexistent/docker.sock", |e| &e.host))
            .env_remove("SOURCE_DATE_EPOCH")
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ended { code: output.status.code(), said }
    }

    /// Arguments that point the shipped manifest at the stand-ins and at this test's repositories.
    pub fn shipped(&self) -> Vec<String> {
        let files = super::setting("RAILYARD_DEV_FILES");
        let registry = &self.registry.host;
        let mut arguments = vec!["--file".to_owned(), SHIPPED.to_owned()];
        for var in [
            format!("target={registry}/{}", self.path),
            format!("sam={registry}/sam"),
            format!("harness={registry}/harness"),
            format!("docker_downloads={files}"),
            format!("harness_downloads={files}"),
            format!("github={files}"),
        ] {
            arguments.extend(["--var".to_owned(), var]);
        }
        arguments
    }

    /// Has railyard build and push cells of the shipped manifest; without their checks.
    #[track_caller]
    pub fn push_shipped(&self, engine: &Engine, only: &[String], vars: &[(&str, &str)]) {
        let mut arguments =
            ["build", "--push", "--no-checks", "--progress", "plain"].map(str::to_owned).to_vec();
        arguments.extend(self.shipped());
        for (name, value) in vars {
            arguments.extend(["--var".to_owned(), format!("{name}={value}")]);
        }
        for only in only {
            arguments.extend(["--only".to_owned(), only.clone()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = self.railyard(&arguments, Some(engine));
        assert_eq!(ended.code, Some(0), "railyard: {}", ended.said);
    }

    /// Has railyard build a case, without looking at the result.
    pub fn attempt(&self, case: &Case<'_>) -> Ended {
        let manifest = format!(
            "schema = 1\n[project]\nname = \"oracle\"\nrepository = \"{}/{}\"\n{}\n[images.found]\n{}{}\n",
            self.registry.host,
            self.path,
            self.fill(case.tables),
            if case.tag.is_empty() { "tags = [\"1\"]\n" } else { "" },
            self.fill(case.image),
        );
        std::fs::write(self.place("builds.toml"), manifest).unwrap();
        let engine = case.runs.then(|| self.engines.last().unwrap());
        self.railyard(&["build", "--push", "--progress", "plain"], engine)
    }

    /// The image that railyard makes of a case.
    #[track_caller]
    pub fn found(&self, case: &Case<'_>) -> Image {
        let ended = self.attempt(case);
        assert_eq!(ended.code, Some(0), "railyard: {}", ended.said);
        let tag = if case.tag.is_empty() { "1" } else { case.tag };
        self.pull(&format!("{}/found", self.path), tag)
    }

    /// Writes the Dockerfile and its context; gives their directory.
    pub fn context(&self, case: &Case<'_>) -> PathBuf {
        self.context_at("context", case)
    }

    /// The same, in a directory of this name.
    pub fn context_at(&self, name: &str, case: &Case<'_>) -> PathBuf {
        let context = self.place(name);
        for (path, content, mode) in &case.context {
            use std::os::unix::fs::PermissionsExt;
            let path = context.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), self.fill(case.dockerfile)).unwrap();
        context
    }

    /// What an engine says when it refuses a case.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn refusal(&self, case: &Case<'_>, engine: &Engine) -> String {
        let reference = format!("{}/{}/refused:1", self.registry.host, self.path);
        engine.build(&reference, &self.context(case), "").expect_err("the engine refuses it")
    }

    /// The image that an engine makes of a case's Dockerfile.
    #[track_caller]
    pub fn expected(&self, case: &Case<'_>, engine: &Engine) -> Image {
        self.built(&self.context(case), "", engine, "expected")
    }

    /// The image that an engine makes of a stage of the Dockerfile in a directory, pushed and pulled.
    #[track_caller]
    pub fn built(&self, context: &Path, target: &str, engine: &Engine, name: &str) -> Image {
        let tag = engine.version.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
        let repository = format!("{}/{name}", self.path);
        let reference = format!("{}/{repository}:{tag}", self.registry.host);
        if let Err(said) = engine.build(&reference, context, target) {
            panic!("engine {} refuses the Dockerfile: {said}", engine.version);
        }
        engine.docker(&["push", "--quiet", &reference]);
        self.pull(&repository, &tag)
    }

    /// An image of the registry, flattened.
    pub fn pull(&self, repository: &str, tag: &str) -> Image {
        let documents = self.registry.documents(repository, tag);
        let layers = documents.manifest["layers"].as_array().expect("an image has layers");
        let digests: Vec<String> = layers.iter().map(|l| l["digest"].as_str().unwrap().to_owned()).collect();
        let files = flatten(&digests, |digest| self.registry.blob(repository, digest));
        Image {
            digest: documents.digest,
            tree: files.tree,
            implied: files.implied,
            config: config_of(&documents.config),
        }
    }

    /// Compares railyard's image of a case with what each engine makes of its Dockerfile, and with
    /// what the engine then sees in a container of railyard's image.
    #[track_caller]
    pub fn judge(&self, case: &Case<'_>) -> Image {
        let judges: Vec<&Engine> = self.engines.iter().filter(|e| e.at_least(case.since)).collect();
        assert!(!judges.is_empty(), "no engine of RAILYARD_TEST_ENGINES is version {} or later", case.since);
        let expected: Vec<Image> = judges.iter().map(|engine| self.expected(case, engine)).collect();
        let found = self.found(case);
        for (engine, expected) in judges.iter().zip(&expected) {
            assert_equal(expected, &found, &case.rules, &format!("engine {}", engine.version));
            self.unpacked(&found, engine);
        }
        found
    }

    /// Whether an engine that pulls railyard's image sees what the layers say.
    #[track_caller]
    fn unpacked(&self, found: &Image, engine: &Engine) {
        let reference = format!("{}/{}/found@{}", self.registry.host, self.path, found.digest);
        let mut seen = engine.export(&reference);
        if !found.tree.contains_key("etc") {
            seen.tree.remove("etc");
        }
        assert_equal(found, &seen, &container_rules(), &format!("unpacked by engine {}", engine.version));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.engines
            .iter()
            .for_each(|engine| engine.forget(&format!("{}/{}/*", self.registry.host, self.path)));
    }
}
