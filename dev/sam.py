#!/usr/bin/env python3
"""Stand-ins of the SAM plugin family: a scratch image in the registry, a Docker archive to download.

sam.py --registry HOST:PORT --files DIR
"""
import argparse
import gzip
import hashlib
import io
import sys
import tarfile

sys.dont_write_bytecode = True
import fileserver  # noqa: E402
import images  # noqa: E402

PLUGIN = "1.1.2-beta"
DOCKER = "26.0.1"


def layer(files):
    """A layer of executables, with their directories: stored bytes and description."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        known = set()
        for path, data in files:
            parts = path.split("/")
            for n in range(1, len(parts)):
                directory = "/".join(parts[:n]) + "/"
                if directory in known:
                    continue
                known.add(directory)
                info = tarfile.TarInfo(directory)
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, images.STAMP
                tar.addfile(info)
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o755, images.STAMP
            tar.addfile(info, io.BytesIO(data))
    plain = raw.getvalue()
    packed = gzip.compress(plain, 1, mtime=0)
    return packed, {"diff_id": images.digest_of(plain), "digest": images.digest_of(packed), "size": len(packed)}


def scratch_image(registry):
    program = images.small_elf("harness-sam-plugin %s\n" % PLUGIN)
    program += hashlib.shake_128(b"railyard-dev harness-sam-plugin").digest(2_000_000 - len(program))
    script = "#!/bin/sh\n# SAM plugin %s\nexec /opt/harness/bin/harness-sam-plugin \"$@\"\n" % PLUGIN
    layers = [
        layer([("opt/harness/bin/harness-sam-plugin", program)]),
        layer([("opt/harness/scripts/sam-plugin.sh", script.encode())]),
    ]
    repository, tag = "harness/aws-sam-plugin", PLUGIN + "-base-image"
    config = images.encode({
        "architecture": "amd64", "os": "linux", "created": images.CREATED,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [info["diff_id"] for _, info in layers]},
        "history": [{"created": images.CREATED, "created_by": "stand-in"} for _ in layers],
    })
    manifest = images.encode({
        "schemaVersion": 2, "mediaType": images.MANIFEST_TYPE,
        "config": {"mediaType": images.CONFIG_TYPE, "size": len(config), "digest": images.digest_of(config)},
        "layers": [{"mediaType": images.LAYER_TYPE, "size": info["size"], "digest": info["digest"]}
                   for _, info in layers],
    })
    registry.put_blob(repository, images.digest_of(config), len(config), config)
    for body, info in layers:
        registry.put_blob(repository, info["digest"], info["size"], body)
    if registry.manifest_digest(repository, tag) != images.digest_of(manifest):
        registry.put_manifest(repository, tag, manifest)


def docker_archive():
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        top = tarfile.TarInfo("docker/")
        top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o755, fileserver.STAMP
        tar.addfile(top)
        for name, line, size in (
            ("docker", "Docker version %s, build d260a54" % DOCKER, 3 * fileserver.MIB),
            ("dockerd", "Docker version %s, build 60b9add" % DOCKER, fileserver.MIB),
        ):
            data = fileserver.script("%s %s" % (name, DOCKER), line, size)
            info = tarfile.TarInfo("docker/" + name)
            info.size, info.mode, info.mtime = len(data), 0o755, fileserver.STAMP
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 1, mtime=0)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--files", required=True)
    args = parser.parse_args()
    fileserver.FILES = {"linux/static/stable/x86_64/docker-%s.tgz" % DOCKER: docker_archive}
    fileserver.make(args.files)
    scratch_image(images.Registry(args.registry, None))


if __name__ == "__main__":
    main()
