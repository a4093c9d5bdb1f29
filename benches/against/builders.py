"""The builders: each makes the matrix's images and pushes them."""
import json
import os
import re
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .machine import TOP, Problem

RUN_TIMEOUT = 3600   # seconds
MATRIX_FILE = TOP / "matrices/serverless-plugin.toml"
READS = re.compile(r"\breads = \[[^\]]*\], *")
NPM_INSTALL = """
npm config set fetch-timeout 60000
npm config set fetch-retry-mintimeout 20000
npm config set fetch-retry-maxtimeout 120000
npm install -g --no-audit --no-fund serverless@%s
"""


class Builder:
    """A way of building. `start_over` comes before a cold build; after a base has moved `refresh` is
    called in place of `build`. All that builds gives the exit status and writes what it says to `log`.
    Base images are taken from the registry that `prefix` names."""

    name = None

    def __init__(self, machine, matrix, prefix):
        self.machine = machine
        self.matrix = matrix
        self.prefix = prefix   # registry and path; the repository is {prefix}/serverless-plugin

    @property
    def registry(self):
        return self.prefix.split("/", 1)[0]

    @property
    def repository(self):
        """Without the registry's host."""
        return self.prefix.split("/", 1)[1] + "/serverless-plugin"

    def start_over(self):
        """Forgets whatever earlier builds left with the builder itself."""

    def build(self, log):
        raise NotImplementedError

    def refresh(self, log):
        return self.build(log)

    def elsewhere(self, matrix, prefix):
        """The same builder with all that it remembers, for the same images by other names."""
        return type(self)(self.machine, matrix, prefix)

    def action(self, scenario):
        """What is measured in a scenario."""
        return self.build if scenario.bumped is None else self.refresh

    def call(self, command, log, directory=TOP):
        """The exit status. What is interrupted or takes too long may put its things away first."""
        child = subprocess.Popen(command, env=self.machine.environment, cwd=directory,
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            return child.wait(RUN_TIMEOUT)
        except subprocess.TimeoutExpired:
            log.write(b"\nended: it ran for %d s\n" % RUN_TIMEOUT)
            return 124
        finally:
            _end(child)


def _end(child):
    """Asks twice: railyard lets running steps end at the first time, and aborts them at the second."""
    for patience in (2, 30):
        if child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    child.wait()


class Railyard(Builder):
    name = "railyard"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.state = None
        self.without_reads = None
        self.manifest = TOP / "builds.toml"

    def start_over(self):
        if self.state:
            self.machine.remove(self.state)
        self.state = Path(self.machine.work, "railyard-" + uuid.uuid4().hex[:8])
        self.state.mkdir()
        self.without_reads = _manifest_without_reads(self.state / "manifest")
        # Here, and not after a quarter of an hour of measuring.
        check = [self.machine.railyard, "check", "--plain", "--file", self.without_reads]
        ended = subprocess.run(check, env=self.machine.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if ended.returncode:
            raise Problem("the manifest without `reads` is wrong: %s" % (ended.stdout + ended.stderr).strip())

    def build(self, log, **where):
        return self._run(log, "build", "--push", "--no-checks", "--progress", "plain", **where)

    def refresh(self, log):
        return self._run(log, "update") or self.build(log)

    def elsewhere(self, matrix, prefix):
        other = super().elsewhere(matrix, prefix)
        other.start_over()
        shutil.copytree(self.state / "store", other.state / "store")
        return other

    def action(self, scenario):
        if scenario.name == "empty-store":
            return self._on_another_machine
        if scenario.name == "all-bases-no-reads":
            return self._without_reads().refresh
        return super().action(scenario)

    def _on_another_machine(self, log):
        """With nothing but the manifest, the lock and the registry."""
        return self.build(log, store=self.state / ("store-" + uuid.uuid4().hex[:8]))

    def _without_reads(self):
        """This builder with a manifest in which a run is decided by its image's digest, and with a
        store and a lock of its own, so that what follows is as if this had not been. No run of it was
        ever made on the base images of the moment, as if it had been built on earlier ones."""
        twin = self.elsewhere(self.matrix, self.prefix)
        shutil.copy(self.lock, twin.lock)
        twin.manifest = twin.without_reads
        return twin

    @property
    def lock(self):
        return self.state / "builds.lock"

    def _run(self, log, *arguments, store=None):
        files = self.machine.files
        variables = {
            "target": self.prefix,
            "sam": self.registry + "/sam",
            "harness": self.registry + "/harness",
            "docker_downloads": files,
            "harness_downloads": files,
            "github": files,
        }
        settings = [text for pair in variables.items() for text in ("--var", "%s=%s" % pair)]
        settings += ["--file", self.manifest, "--only", self.matrix.only,
                     "--store", store or self.state / "store", "--lock", self.lock]
        return self.call([self.machine.railyard, *arguments, *settings], log)


def _manifest_without_reads(directory):
    """A copy of the manifest; its path."""
    for part in ("matrices", "images"):
        shutil.copytree(TOP / part, directory / part)
    shutil.copy(TOP / "builds.toml", directory)
    for matrix in (directory / "matrices").glob("*.toml"):
        text = matrix.read_text(encoding="utf-8")
        matrix.write_text(READS.sub("", text), encoding="utf-8")
    left = (directory / "matrices" / MATRIX_FILE.name).read_text(encoding="utf-8")
    if left == MATRIX_FILE.read_text(encoding="utf-8") or "reads =" in left:
        raise Problem("%s: `reads = [...],` cannot be taken out" % MATRIX_FILE)
    return directory / "builds.toml"


class Bake(Builder):
    name = "bake"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.directory = Path(self.machine.work, "bake-" + uuid.uuid4().hex[:8])
        for name in ("bin", "scripts", "client-tools"):
            os.makedirs(self.directory / "context/directories" / name)
        dockerfile = Path(__file__).with_name("Dockerfile").read_text(encoding="utf-8")
        (self.directory / "context/Dockerfile").write_text(dockerfile, encoding="utf-8")
        text = json.dumps(self._file(), indent=1)
        (self.directory / "docker-bake.json").write_text(text, encoding="utf-8")

    def build(self, log):
        command = ["docker", "buildx", "bake", "--progress", "plain", "--provenance=false", "--sbom=false",
                   "--file", "docker-bake.json"]
        return self.call(command, log, self.directory)

    def _file(self):
        targets = {"tools": self._shared("tools")}
        for node, version in self.matrix.frameworks():
            targets[_framework(node, version)] = self._shared(
                "framework", NODE_IMAGE=node.base, SERVERLESS_VERSION=version)
        images = {"image-" + _plain(image.tag): self._image(image) for image in self.matrix.images}
        return {"group": {"default": {"targets": list(images)}}, "target": targets | images}

    def _shared(self, stage, **arguments):
        """A stage that images link to."""
        return self._target(stage, arguments) | {"output": ["type=cacheonly"]}

    def _image(self, image):
        node = self.matrix.runtimes[image.runtime.node]
        arguments = {
            "RUNTIME_IMAGE": image.runtime.base,
            "NODE_IMAGE": node.base,
            "HARNESS_IMAGE": "%s/harness/serverless-plugin:%s-base-image" % (self.registry, image.harness),
            "COMPANION": "own" if node == image.runtime else "other",
        }
        contexts = {"tools": "target:tools"}
        if image.serverless:
            arguments["SERVERLESS_VERSION"] = image.serverless
            contexts["framework"] = "target:" + _framework(node, image.serverless)
        target = self._target("serverless" if image.serverless else "base", arguments)
        tag = "%s/serverless-plugin:%s" % (self.prefix, image.tag)
        return target | {"contexts": contexts, "tags": [tag], "output": ["type=image,push=true"]}

    def _target(self, stage, arguments):
        return {"context": "context", "target": stage,
                "args": dict(arguments, FILES=self.machine.files_bridge)}


def _framework(node, version):
    return "framework-%s-%s" % (_plain(node.name), _plain(version))


def _plain(text):
    """As a bake target's name, which holds no dots."""
    return text.replace(".", "_")


class Bare(Builder):
    """Pushes nothing: the run steps alone, as many at a time as railyard runs. What a cold build
    cannot be quicker than, unless it runs less."""

    name = "bare"

    def start_over(self):
        for node, _ in self.matrix.frameworks():
            self.machine.docker("pull", "--quiet", node.base)

    def build(self, log):
        volume = "railyard-bench-%s" % self.machine.id
        self.machine.docker("volume", "create", volume)
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                runs = [pool.submit(self._install, node, version, volume, log)
                        for node, version in self.matrix.frameworks()]
            return max(run.result() for run in runs)
        finally:
            self.machine.docker("volume", "rm", "--force", volume)

    def _install(self, node, version, volume, log):
        return self.call(["docker", "run", "--rm", "--volume", volume + ":/root/.npm",
                          "--entrypoint", "/bin/sh", node.base, "-ec", NPM_INSTALL % version], log)
