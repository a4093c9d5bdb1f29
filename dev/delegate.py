#!/usr/bin/env python3
"""Stand-ins for custom delegates: Harness's base images and the client tools.

delegate.py LAYERS REGISTRY FILES   push the bases, write the downloads; print what changed

A step of dev/up, which has made the layers that the bases begin with. What client tools there are is
read from matrices/delegate.toml.
"""
import gzip
import hashlib
import io
import os
import sys
import tarfile
import tomllib

sys.dont_write_bytecode = True  # they are scripts
import images
from fileserver import STAMP as FILE_TIME
from fileserver import filler

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STAMP = images.STAMP
REPOSITORY = "harness/delegate"
HOME = "opt/harness-delegate"
PACKAGES = "usr/share/railyard"
STABLE = "v1.35.3"
HARNESS = (1001, 0)
# What the full base has of its own, in a version that no bundle has.
OWN_TOOLS = [("kubectl", "v1.28.7"), ("helm", "v3.13.3")]


def program(name, version):
    """A static executable that says what it is, and filler so that it differs from others in size."""
    words = "%s %s (stand-in)\n" % (name, version)
    return images.small_elf(words) + filler("%s %s" % (name, version), 200_000)


# ---- archives --------------------------------------------------------------
def tar(entries):
    """A tar of (path, mode, owner, content); content None makes a directory."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for path, mode, (uid, gid), content in entries:
            info = tarfile.TarInfo(path)
            info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, STAMP
            if content is None:
                info.type = tarfile.DIRTYPE
                out.addfile(info)
            else:
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def deb(name, version):
    """A Debian package with one program."""
    control = "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: railyard\nDescription: stand-in\n" % (name, version)
    packed = lambda entries: gzip.compress(tar(entries), 6, mtime=0)
    root = (0, 0)
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", packed([("./", 0o755, root, None), ("./control", 0o644, root, control.encode())])),
        ("data.tar.gz", packed([("./", 0o755, root, None), ("./usr/", 0o755, root, None), ("./usr/bin/", 0o755, root, None),
                                ("./usr/bin/" + name, 0o755, root, images.small_elf("%s %s (stand-in)\n" % (name, version)))])),
    ]
    data = b"!<arch>\n"
    for member, content in members:
        data += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (member.encode(), STAMP, 0, 0, b"100644", len(content))
        data += content + b"\n" * (len(content) % 2)
    return control, data


def package_repository(directory, packages):
    """A flat repository for apt, as entries of a layer."""
    root, entries, index = (0, 0), [(directory, 0o755, (0, 0), None)], ""
    for name, version in packages:
        control, data = deb(name, version)
        file = "%s_%s_amd64.deb" % (name, version)
        entries.append(("%s/%s" % (directory, file), 0o644, root, data))
        index += "%sFilename: ./%s\nSize: %d\nSHA256: %s\n\n" % (control, file, len(data), hashlib.sha256(data).hexdigest())
    listing = index.encode()
    release = "Date: Tue, 14 Nov 2023 22:13:20 UTC\nSHA256:\n %s %d Packages\n" % (hashlib.sha256(listing).hexdigest(), len(listing))
    entries += [(directory + "/Packages", 0o644, root, listing), (directory + "/Release", 0o644, root, release.encode())]
    return entries


# ---- the bases -------------------------------------------------------------
def read_member(layers, layer, path):
    with tarfile.open(layers.path(layer, ".tar.gz")) as archive:
        return archive.extractfile(path).read()


def delegate_layer(layers):
    """User harness (1001, group 0), its directory, and packages that apt can install without a network."""
    passwd = read_member(layers, "rootfs-bookworm", "./etc/passwd")
    passwd += b"harness:x:1001:0::/opt/harness-delegate:/bin/sh\n"
    start = b"#!/bin/sh\n# delegate\nexec sleep infinity\n"
    root = (0, 0)
    entries = [
        ("etc/passwd", 0o644, root, passwd),
        ("etc/apt/sources.list", 0o644, root, b"deb [trusted=yes] file:/usr/share/railyard/base ./\n"),
        ("opt", 0o755, root, None),
        (HOME, 0o775, HARNESS, None),
        (HOME + "/start.sh", 0o775, HARNESS, start),
        (HOME + "/delegate.jar", 0o775, HARNESS, filler("delegate.jar", 1_000_000)),
        (PACKAGES, 0o755, root, None),
    ]
    entries += package_repository(PACKAGES + "/base", [("git", "2.39.2"), ("unzip", "6.0")])
    entries += package_repository(PACKAGES + "/hashicorp", [("terraform", "1.9.8")])
    return tar(entries)


def tools_layer():
    """The client tools that the full base has."""
    entries = [(HOME + "/client-tools", 0o775, HARNESS, None)]
    for name, version in OWN_TOOLS:
        directory = "%s/client-tools/%s" % (HOME, name)
        entries.append((directory, 0o775, HARNESS, None))
        entries.append(("%s/%s" % (directory, version), 0o775, HARNESS, None))
        entries.append(("%s/%s/%s" % (directory, version, name), 0o775, HARNESS, program(name, version)))
    return tar(entries)


def push_base(registry, layers, tag, own):
    """`own`: uncompressed layers above the root file system."""
    parts = [(name, layers.load(name), layers.path(name, ".tar.gz")) for name in ("rootfs-bookworm", "ca")]
    for raw in own:
        packed = gzip.compress(raw, 6, mtime=0)
        info = {"diff_id": images.digest_of(raw), "digest": images.digest_of(packed), "size": len(packed)}
        parts.append(("delegate", info, packed))
    config = images.encode({
        "architecture": "amd64", "os": "linux", "created": images.CREATED,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/opt/harness-delegate",
                    "LANG=C.UTF-8", "SSL_CERT_FILE=/etc/railyard/ca-bundle.crt"],
            "User": "harness", "WorkingDir": "/opt/harness-delegate", "Cmd": ["./start.sh"],
        },
        "rootfs": {"type": "layers", "diff_ids": [info["diff_id"] for _, info, _ in parts]},
        "history": [{"created": images.CREATED, "created_by": name} for name, _, _ in parts],
    })
    manifest = images.encode({
        "schemaVersion": 2, "mediaType": images.MANIFEST_TYPE,
        "config": {"mediaType": images.CONFIG_TYPE, "size": len(config), "digest": images.digest_of(config)},
        "layers": [{"mediaType": images.LAYER_TYPE, "size": info["size"], "digest": info["digest"]} for _, info, _ in parts],
    })
    if registry.manifest_digest(REPOSITORY, tag) == images.digest_of(manifest):
        return False
    registry.put_blob(REPOSITORY, images.digest_of(config), len(config), config)
    for _, info, body in parts:
        registry.put_blob(REPOSITORY, info["digest"], info["size"], body)
    registry.put_manifest(REPOSITORY, tag, manifest)
    return True


# ---- the downloads ---------------------------------------------------------
def downloads(matrix):
    """URL's path -> content, for every tool of every bundle."""
    found = {
        "release/stable.txt": STABLE.encode(),
        "release/%s/bin/linux/amd64/kubectl" % STABLE: program("kubectl", STABLE),
    }
    for bundle in matrix["axes"]["bundle"]["values"]:
        for item in bundle["tools"] + bundle["more"]:
            name, version = item.split("@")
            directory = "release/%s/bin" % version
            if name == "tf-config-inspect":
                name = "terraform-config-inspect"
                directory = version if version == "v1.2" else directory
            path = "public/shared/tools/%s/%s/linux/amd64/%s" % (name, directory, name)
            found[path] = program(name, version)
    return found


def write(root, path, content):
    full = os.path.join(root, path)
    try:
        with open(full, "rb") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full + ".part", "wb") as file:
        file.write(content)
    os.utime(full + ".part", (FILE_TIME, FILE_TIME))
    os.replace(full + ".part", full)
    return True


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    layers, registry, files = images.Layers(sys.argv[1]), images.Registry(sys.argv[2], None), sys.argv[3]
    with open(os.path.join(TOP, "matrices/delegate.toml"), "rb") as file:
        matrix = tomllib.load(file)
    for path, content in downloads(matrix).items():
        if write(files, path, content):
            print("wrote " + path)
    if not (layers.load("rootfs-bookworm") and layers.load("ca")):
        return  # only other bases were asked for
    own = delegate_layer(layers)
    for tag in matrix["axes"]["delegate"]["values"]:
        tools = [] if tag.endswith(".minimal") else [tools_layer()]
        if push_base(registry, layers, tag, [own] + tools):
            print("pushed %s:%s" % (REPOSITORY, tag))


if __name__ == "__main__":
    main()
