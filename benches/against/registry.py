"""Looks at what was pushed."""
import gzip
import hashlib
import http.client
import io
import json
import posixpath
import tarfile

MANIFESTS = ", ".join([
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
])


class Registry:
    def __init__(self, host):
        self.host = host

    def _get(self, path):
        connection = http.client.HTTPConnection(self.host, timeout=120)
        try:
            connection.request("GET", path, headers={"Accept": MANIFESTS})
            reply = connection.getresponse()
            if reply.status != 200:
                raise LookupError("%s%s: %d" % (self.host, path, reply.status))
            return reply.read()
        finally:
            connection.close()

    def tags(self, repository):
        """Empty for a repository that does not exist."""
        try:
            return set(json.loads(self._get("/v2/%s/tags/list" % repository))["tags"] or [])
        except LookupError:
            return set()

    def manifest(self, repository, tag):
        return json.loads(self._get("/v2/%s/manifests/%s" % (repository, tag)))

    def config(self, repository, tag):
        digest = self.manifest(repository, tag)["config"]["digest"]
        return json.loads(self._get("/v2/%s/blobs/%s" % (repository, digest)))

    def tree(self, repository, tag):
        """{path: what it is} of the image's merged file system, without times."""
        tree = {}
        for layer in self.manifest(repository, tag)["layers"]:
            blob = self._get("/v2/%s/blobs/%s" % (repository, layer["digest"]))
            _apply(tree, gzip.decompress(blob))
        return tree


def _apply(tree, layer):
    entries = {}
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for entry in tar:
            path = entry.name.removeprefix("./").strip("/")
            directory, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                _drop_below(tree, directory)
            elif name.startswith(".wh."):
                gone = posixpath.join(directory, name.removeprefix(".wh."))
                tree.pop(gone, None)
                _drop_below(tree, gone)
            elif path:
                if not entry.isdir() and tree.get(path, [""])[0] == "directory":
                    _drop_below(tree, path)
                entries[path] = _describe(entry, tar, entries)
    tree.update(entries)


def _drop_below(tree, directory):
    for path in [path for path in tree if path.startswith(directory + "/")]:
        del tree[path]


def _describe(entry, tar, entries):
    if entry.islnk():   # a file like the one it is linked to
        return entries[entry.linkname.removeprefix("./").strip("/")]
    mode = None if entry.issym() else oct(entry.mode)
    if entry.isreg():
        content = hashlib.sha256(tar.extractfile(entry).read()).hexdigest()
        return ("file", mode, entry.uid, entry.gid, content)
    kind = "directory" if entry.isdir() else "link" if entry.issym() else entry.type.decode()
    return (kind, mode, entry.uid, entry.gid, entry.linkname)
