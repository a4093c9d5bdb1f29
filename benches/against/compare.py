"""Whether what was pushed is what was asked for, and the same from both builders."""
import re

# What railyard says of an image, where the registry does not keep referrers.
STATEMENTS = re.compile("sha256-[0-9a-f]{64}")
# Where images may differ without being different images.
CONFIG = ("Env", "Entrypoint", "Cmd", "User", "WorkingDir", "Labels", "Volumes", "ExposedPorts", "OnBuild")


def check_pushed(registry, repository, matrix):
    """What is wrong with the repository, or None: it holds the matrix's tags and no others, and
    every image is on its base image of the moment."""
    found = {tag for tag in registry.tags(repository) if not STATEMENTS.fullmatch(tag)}
    if found != matrix.tags:
        return "%d of %d tags in %s" % (len(found & matrix.tags), len(matrix.tags), repository)
    bases = {}
    for image in matrix.images:
        base = image.runtime.base
        if base not in bases:
            bases[base] = _diff_ids(registry, *_split(base))
        if _diff_ids(registry, repository, image.tag)[:len(bases[base])] != bases[base]:
            return "%s is not on its base image as it is now" % image.tag
    return None


def _split(reference):
    """Repository and tag, without the host."""
    return reference.split("/", 1)[1].rsplit(":", 1)


def _diff_ids(registry, repository, tag):
    return registry.config(repository, tag)["rootfs"]["diff_ids"]


def differences(registry, one, other, matrix):
    """Lines that say where the images of two repositories differ; files are compared for one image."""
    found = []
    for image in matrix.images:
        found += _differing(image.tag, *(_config(registry, r, image.tag) for r in (one, other)))
    image = matrix.smallest().images[0]
    trees = [registry.tree(repository, image.tag) for repository in (one, other)]
    found += _differing(image.tag + ", files", *trees)
    return found if len(found) <= 20 else found[:20] + ["and %d more" % (len(found) - 20)]


def _config(registry, repository, tag):
    config = registry.config(repository, tag)["config"]
    config = {name: config.get(name) or None for name in CONFIG}
    return config | {"Env": sorted(config["Env"] or [])}


def _differing(what, one, other):
    return ["%s: %s: %s / %s" % (what, name, one.get(name), other.get(name))
            for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
