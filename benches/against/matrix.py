"""The images of matrices/serverless-plugin.toml, read from the file itself."""
import tomllib
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Runtime:
    name: str
    node: str   # the runtime whose Node.js is copied in: its companion
    base: str   # reference


@dataclass(frozen=True)
class Image:
    runtime: Runtime
    harness: str
    serverless: str | None   # None: the base image, without the Serverless Framework

    @property
    def tag(self):
        parts = [self.runtime.name, self.serverless, self.harness, "linux-amd64"]
        return "-".join(part for part in parts if part)


@dataclass(frozen=True)
class Matrix:
    runtimes: dict[str, Runtime]   # every runtime of the file, whatever was selected
    images: tuple[Image, ...]
    only: str                      # the same selection in railyard's words

    @property
    def tags(self):
        return {image.tag for image in self.images}

    def node_base(self, runtime):
        return self.runtimes[runtime.node].base

    def frameworks(self):
        """(companion, version) of every install of the framework that the images need."""
        found = {(self.runtimes[i.runtime.node], i.serverless) for i in self.images if i.serverless}
        return sorted(found, key=lambda pair: (pair[0].name, pair[1]))

    def smallest(self):
        """One image, with all that it is made of."""
        candidates = [i for i in self.images if i.runtime.name == "python3.11" and i.serverless]
        image = [i for i in candidates if i.harness == candidates[0].harness][-1]
        conditions = {"image": "serverless", "runtime": image.runtime.name,
                      "harness": image.harness, "serverless": image.serverless}
        only = ",".join("%s=%s" % pair for pair in conditions.items())
        return replace(self, images=(image,), only=only)


def load(path, sam):
    """The whole matrix; `sam` is the prefix of the runtimes' base images."""
    with open(path, "rb") as f:
        axes = tomllib.load(f)["axes"]
    runtimes = {}
    for value in axes["runtime"]["values"]:
        base = value["base"].replace("{{ vars.sam }}", sam)
        runtimes[value["name"]] = Runtime(value["name"], value["node"], base)
    harness = [value["name"] for value in axes["harness"]["values"]]
    images = tuple(
        Image(runtime, version, framework)
        for runtime in runtimes.values()
        for version in harness
        for framework in [None, *axes["serverless"]["values"]])
    return Matrix(runtimes, images, only="image=serverless*")
