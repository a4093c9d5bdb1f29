"""What the benchmark runs on: the engine, the registry and the files of dev/up."""
import contextlib
import os
import shlex
import subprocess
import uuid
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
RAILYARD = TOP / "target/release/railyard"
CACHE_VOLUMES = "railyard-cache-"
REPOSITORIES = "railyard-bench"
# Settings of the caller's that would change what is built.
FOREIGN = ("RAILYARD_FILE", "RAILYARD_VARS", "RAILYARD_REPOSITORY", "RAILYARD_LOCK", "RAILYARD_STORE",
           "SOURCE_DATE_EPOCH", "BUILDX_BUILDER")


class Problem(Exception):
    """Something that makes measuring impossible; the text is for people."""


class Machine:
    """The development environment while it is measured. A context manager: it leaves the base
    images as dev/up makes them, and nothing of its own."""

    def __init__(self, railyard, keep):
        if not railyard.exists():
            raise Problem("%s is missing: cargo build --release" % railyard)
        self.railyard = railyard.resolve()
        self.keep = keep
        self.environment = {k: v for k, v in os.environ.items() if k not in FOREIGN}
        self.work = None            # a directory for whatever belongs to this benchmark alone
        self.id = None              # names what cannot lie in it: repositories, volumes, rules
        self.container_log = None   # gets a line per container that an engine starts
        self.undo = None

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            self._make_work(undo)
            self._start(undo)
            self.undo = undo.pop_all()
        return self

    def __exit__(self, *_):
        self.undo.close()

    def _make_work(self, undo):
        self.id = uuid.uuid4().hex[:8]   # a part of repositories' names, in which `_` may not come first
        self.work = Path("/var/tmp/railyard-bench." + self.id)
        self.work.mkdir(mode=0o700)
        if self.keep:
            undo.callback(print, "kept: %s" % self.work)
        else:
            undo.callback(self.remove, self.work)

    def _start(self, undo):
        state = Path(self.environment.get("RAILYARD_DEV_STATE", "/var/tmp/railyard-dev"))
        try:
            self.container_log = Path((state / "runc-log").read_text(encoding="utf-8").strip())
            self._dev_up()
        except FileNotFoundError:
            self.container_log = self.work / "containers.log"
            undo.callback(self._dev_up, "--no-bases", log="")
            self._dev_up(log=str(self.container_log))
        self.container_log.touch()
        for line in self.output([TOP / "dev/env", "--engine", "current"]).splitlines():
            name, value = shlex.split(line)[1].split("=", 1)
            self.environment[name] = value
        if not self.registry_data.is_dir():
            raise Problem("the registry at %s is not one that dev/up started" % self.registry)
        self.environment["BUILDX_CONFIG"] = str(self.work / "buildx")
        if not self.keep:
            undo.callback(self.delete_repositories)
        undo.callback(self.bump_bases, "0")
        self.bump_bases("0")

    def _dev_up(self, *options, log=None):
        environment = dict(self.environment)
        if log is not None:
            environment["RAILYARD_DEV_RUNC_LOG"] = log
        command = [TOP / "dev/up", "--engine", "current", *options]
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            raise Problem("dev/up failed")

    @property
    def registry(self):
        return self.environment["RAILYARD_DEV_REGISTRY"]

    @property
    def files(self):
        return self.environment["RAILYARD_DEV_FILES"]

    @property
    def files_bridge(self):
        return self.environment["RAILYARD_DEV_FILES_BRIDGE"]

    @property
    def registry_data(self):
        """Where the registry keeps what it has: `blobs` and `repositories`."""
        name = "registry-" + "".join(c if c.isalnum() or c == "." else "_" for c in self.registry)
        return Path(self.environment["RAILYARD_DEV_STATE"], name, "data/docker/registry/v2")

    @property
    def prefix(self):
        """Below this lies whatever the benchmark pushes."""
        return "%s/%s/%s" % (self.registry, REPOSITORIES, self.id)

    def output(self, command):
        """Standard output of a command that must succeed."""
        done = subprocess.run(command, env=self.environment, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            words = " ".join(map(str, command))
            raise Problem("%s: %s" % (words[:200], done.stderr.strip()[-2000:]))
        return done.stdout

    def docker(self, *arguments):
        return self.output(["docker", *arguments])

    def remove(self, directory):
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(directory)], check=False)

    def bump_bases(self, nonce, *runtimes):
        self.output([TOP / "dev/bump-base", nonce, *runtimes])

    def forget(self):
        """Takes from the engine all images, the build cache and railyard's cache volumes."""
        containers = self.docker("ps", "-a", "--format", "{{.Names}} ({{.Image}}, {{.Status}})").splitlines()
        if containers:
            raise Problem("the engine has containers, and a cold run removes all images under them:\n  %s\n"
                          "remove them, or use a state of the benchmark's own (RAILYARD_DEV_STATE, see --help)"
                          % "\n  ".join(containers))
        self.docker("builder", "prune", "--all", "--force")
        images = self.docker("image", "ls", "--all", "--quiet", "--no-trunc").split()
        if images:
            self.docker("image", "rm", "--force", *dict.fromkeys(images))
        # what the images still held
        self.docker("builder", "prune", "--all", "--force")
        volumes = self.docker("volume", "ls", "--quiet", "--filter", "name=^" + CACHE_VOLUMES).split()
        if volumes:
            self.docker("volume", "rm", *volumes)

    def delete_repositories(self):
        """What this and earlier benchmarks pushed. An engine remembers where it pushed a layer, and
        the next cold build would have the registry mount it from there."""
        self.remove(self.registry_data / "repositories" / REPOSITORIES)

    def describe(self):
        """What the figures depend on."""
        return {
            "cpus": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "kernel": os.uname().release,
            "engine": self.docker("version", "--format", "{{.Server.Version}}").strip(),
            "buildx": self.docker("buildx", "version").split()[1],
            "railyard": self.output([self.railyard, "--version"]).strip(),
            "registry": self.registry,
        }
