#!/usr/bin/env python3
"""Stand-ins of the CI images: ci_images.py HOST:PORT

Pushes to HOST:PORT/upstream/ what is missing there, a line each. Images are tiny, the same in each
run, and of the kinds that are met: OCI indexes with an attestation, Docker manifest lists, and a
single Docker manifest. Plugins share a layer.
"""
import gzip
import hashlib
import http.client
import io
import json
import sys
import tarfile

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
STAMP = 1700000000

INDEXES = {
    "harness/ci-addon": ["1.10.0", "1.12.1", "1.13.2", "1.14.4"],
    "harness/ci-lite-engine": ["1.10.0", "1.12.1", "1.13.2", "1.14.4"],
    "harness/sto-plugin": ["latest"],
}
SINGLE = {"harness/drone-git": ["1.0.9-rootless", "1.1.0-rootless"]}
LISTS = {
    "plugins/kaniko": ["1.3.1"],
    "plugins/kaniko-ecr": ["1.3.1"],
    "plugins/kaniko-gcr": ["1.3.1"],
    "plugins/cache": ["1.3.8"],
    "plugins/s3": ["1.0.5"],
    "plugins/gcs": ["1.2.6", "1.3.0"],
    "plugins/artifactory": ["1.0.6"],
}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(document):
    return json.dumps(document, separators=(",", ":")).encode()


class Registry:
    def __init__(self, host):
        self.connection = http.client.HTTPConnection(host, timeout=60)

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body=body, headers=headers or {})
        reply = self.connection.getresponse()
        return reply.status, reply.headers, reply.read()

    def has(self, repository, reference, wanted):
        accept = ", ".join([OCI_INDEX, OCI_MANIFEST, LIST, MANIFEST])
        path = "/v2/upstream/%s/manifests/%s" % (repository, reference)
        status, headers, _ = self.call("HEAD", path, headers={"Accept": accept})
        return status == 200 and headers["Docker-Content-Digest"] == wanted

    def blob(self, repository, data):
        base = "/v2/upstream/%s/blobs/" % repository
        if self.call("HEAD", base + digest(data))[0] == 200:
            return
        status, headers, _ = self.call("POST", base + "uploads/")
        assert status == 202, status
        location = headers["Location"]
        location = location[location.index("/v2/"):]
        location += ("&" if "?" in location else "?") + "digest=" + digest(data)
        status, _, body = self.call("PUT", location, data, {"Content-Type": "application/octet-stream"})
        assert status == 201, (status, body)

    def manifest(self, repository, reference, kind, data):
        path = "/v2/upstream/%s/manifests/%s" % (repository, reference)
        status, _, body = self.call("PUT", path, data, {"Content-Type": kind})
        assert status == 201, (status, body)


def layer(path, content):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(path)
        info.size, info.mode, info.mtime = len(content), 0o755, STAMP
        tar.addfile(info, io.BytesIO(content))
    return raw.getvalue(), gzip.compress(raw.getvalue(), 6, mtime=0)


def described(kind, data, **more):
    return dict({"mediaType": kind, "digest": digest(data), "size": len(data)}, **more)


def image(name, tag, arch, oci):
    """(manifest, blobs) of one platform."""
    filler = hashlib.shake_128(("railyard-dev %s %s %s" % (name, tag, arch)).encode()).digest(60_000)
    shared = hashlib.shake_128(("railyard-dev plugins " + arch).encode()).digest(200_000)
    layers = [layer("bin/" + name.split("/")[1], filler)]
    if name.startswith("plugins/"):
        layers.insert(0, layer("lib/plugin-base", shared))
    config = compact({
        "architecture": arch, "os": "linux", "created": "2025-08-22T19:44:15Z",
        "config": {"Entrypoint": ["/bin/" + name.split("/")[1]], "Labels": {"version": tag}},
        "rootfs": {"type": "layers", "diff_ids": [digest(plain) for plain, _ in layers]},
    })
    kinds = (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER) if oci else (MANIFEST, CONFIG, LAYER)
    manifest = compact({
        "schemaVersion": 2, "mediaType": kinds[0], "config": described(kinds[1], config),
        "layers": [described(kinds[2], packed) for _, packed in layers],
    })
    return manifest, [config] + [packed for _, packed in layers]


def attestation(subject):
    """What BuildKit adds to an index: a manifest of statements about another."""
    statement = compact({"_type": "https://in-toto.io/Statement/v0.1", "subject": [subject]})
    config = compact({"architecture": "unknown", "os": "unknown", "config": {},
                      "rootfs": {"type": "layers", "diff_ids": [digest(statement)]}})
    manifest = compact({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(OCI_CONFIG, config),
        "layers": [described("application/vnd.in-toto+json", statement)],
    })
    return manifest, [config, statement]


def entry(kind, manifest, arch):
    return described(kind, manifest, platform={"architecture": arch, "os": "linux"})


def build(name, tag, form):
    """(kind, root, [(kind, manifest)], blobs)"""
    if form == "single":
        manifest, blobs = image(name, tag, "amd64", False)
        return MANIFEST, manifest, [], blobs
    oci = form == "index"
    kind = OCI_MANIFEST if oci else MANIFEST
    entries, children, blobs = [], [], []
    for arch in ("amd64", "arm64"):
        manifest, found = image(name, tag, arch, oci)
        entries.append(entry(kind, manifest, arch))
        children.append((kind, manifest))
        blobs += found
    if oci:
        subject = entries[0]["digest"]
        manifest, found = attestation(subject)
        entries.append(described(
            OCI_MANIFEST, manifest, platform={"architecture": "unknown", "os": "unknown"},
            annotations={"vnd.docker.reference.digest": subject,
                         "vnd.docker.reference.type": "attestation-manifest"}))
        children.append((OCI_MANIFEST, manifest))
        blobs += found
    root_kind = OCI_INDEX if oci else LIST
    root = compact({"schemaVersion": 2, "mediaType": root_kind, "manifests": entries})
    return root_kind, root, children, blobs


def main():
    registry = Registry(sys.argv[1])
    for form, table in (("index", INDEXES), ("list", LISTS), ("single", SINGLE)):
        for name, tags in table.items():
            for tag in tags:
                kind, root, children, blobs = build(name, tag, form)
                if registry.has(name, tag, digest(root)):
                    continue
                for blob in blobs:
                    registry.blob(name, blob)
                for child_kind, manifest in children:
                    registry.manifest(name, digest(manifest), child_kind, manifest)
                registry.manifest(name, tag, kind, root)
                print("pushed upstream/%s:%s" % (name, tag))


main()
