#!/usr/bin/env python3
"""Layers and images of the stand-in bases; talks to the registry itself.

images.py [--layers DIR] [--registry HOST:PORT] COMMAND

pack PATH             pack the tar on standard input: PATH.tar.gz and PATH.json
install NAME KEY PATH make what was packed there layer NAME
have NAME KEY         exit 0 when that layer is there and whole
needs RUNTIME...      the layers these runtimes' images are made of
push [--nonce N] [--storage DIR] REPOSITORY...
                      push what the registry lacks; print "reference digest changed|kept"
list                  print "reference digest" of every image, "-" where missing
names [RUNTIME...]    the repositories (with runtimes: theirs and the scratch images)
harness NAME          write a scratch image's layer as a tar to standard output
harness-key           what changes when those layers change
truststore            turn certificates (PEM, standard input) into Java's format

A layer is DIR/NAME.tar.gz with its description in DIR/NAME.json, written last.
"""
import argparse
import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import signal
import struct
import sys
import tarfile
import urllib.parse
import zlib

SAM_TAG = "1.143.0-20250822194415-x86_64"
CREATED = "2025-08-22T19:44:15Z"
STAMP = 1700000000
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"

RUNTIMES = {  # runtime: its layers, below the small last one
    "nodejs18.x": ["rootfs-bookworm", "ca", "npm10", "node18"],
    "nodejs20.x": ["rootfs-bookworm", "ca", "npm10", "node20"],
    "nodejs22.x": ["rootfs-bookworm", "ca", "npm10", "node22"],
    "python3.11": ["rootfs-bookworm", "ca", "python3.11"],
    "java17": ["rootfs-bookworm", "ca", "java17"],
    "ruby3.2": ["rootfs-bullseye", "ca", "ruby"],
}
HARNESS = ["1.0.0", "1.1.0-beta"]
ENV = {
    "PATH": "/var/lang/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "NODE_EXTRA_CA_CERTS": "/etc/railyard/ca-bundle.crt",
    "SSL_CERT_FILE": "/etc/railyard/ca-bundle.crt",
}
RUNTIME_ENV = {"java17": {"JAVA_HOME": "/var/lang"}}


def fail(message):
    sys.exit("images.py: " + message)


def image_table():
    """{(repository, tag): (runtime or None, layer names)}"""
    table = {("sam/build-" + r, SAM_TAG): (r, layers) for r, layers in RUNTIMES.items()}
    for v in HARNESS:
        names = ["harness-%s-bin" % v, "harness-%s-scripts" % v]
        table["harness/serverless-plugin", v + "-base-image"] = (None, names)
    return table


# ---- layers ----------------------------------------------------------------
class Layers:
    def __init__(self, root):
        self.root = root

    def path(self, name, ext):
        return os.path.join(self.root, name + ext)

    def load(self, name):
        try:
            with open(self.path(name, ".json")) as f:
                info = json.load(f)
            if os.path.getsize(self.path(name, ".tar.gz")) == info["size"]:
                return info
        except (OSError, ValueError, KeyError):
            pass
        return None

    def install(self, name, key, path):
        os.makedirs(self.root, exist_ok=True)
        with open(path + ".json") as f:
            info = dict(json.load(f), key=key)
        if os.path.exists(self.path(name, ".json")):
            os.unlink(self.path(name, ".json"))
        os.replace(path + ".tar.gz", self.path(name, ".tar.gz"))
        with open(self.path(name, ".json.part"), "w") as f:
            json.dump(info, f)
        os.replace(self.path(name, ".json.part"), self.path(name, ".json"))
        os.unlink(path + ".json")


def pack(path, source):
    plain, packed = hashlib.sha256(), hashlib.sha256()
    deflate = zlib.compressobj(4, zlib.DEFLATED, -15)
    total = crc = 0
    with open(path + ".tar.gz", "wb") as out:
        def emit(data):
            packed.update(data)
            out.write(data)
        emit(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")
        while True:
            block = source.read(1 << 20)
            if not block:
                break
            plain.update(block)
            crc = zlib.crc32(block, crc)
            total += len(block)
            emit(deflate.compress(block))
        emit(deflate.flush())
        emit(struct.pack("<II", crc, total & 0xFFFFFFFF))
        out.flush()
        os.fsync(out.fileno())
    if total < 1024:
        fail("there is no layer to pack")
    with open(path + ".json", "w") as f:
        json.dump({"diff_id": "sha256:" + plain.hexdigest(), "digest": "sha256:" + packed.hexdigest(),
                   "size": os.path.getsize(path + ".tar.gz")}, f)


def stamp_layer(nonce):
    """The last layer: one small file, named by the nonce."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        data = ("build %s\n" % nonce).encode()
        info = tarfile.TarInfo("etc/railyard-base-build")
        info.size, info.mode, info.mtime = len(data), 0o644, STAMP
        tar.addfile(info, io.BytesIO(data))
    plain = raw.getvalue()
    packed = gzip.compress(plain, 6, mtime=0)
    return packed, {"diff_id": digest_of(plain), "digest": digest_of(packed), "size": len(packed)}


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def small_elf(message):
    """A static x86-64 executable that prints `message` and ends with 0."""
    text = message.encode()
    base, code_at = 0x400000, 0x78
    code_size = 37
    text_address = base + code_at + code_size
    code = b"\xb8\x01\0\0\0"                                # mov eax, 1 (write)
    code += b"\xbf\x01\0\0\0"                               # mov edi, 1
    code += b"\x48\xbe" + struct.pack("<Q", text_address)   # mov rsi, text
    code += b"\xba" + struct.pack("<I", len(text))          # mov edx, length
    code += b"\x0f\x05"                                     # syscall
    code += b"\xb8\x3c\0\0\0\x31\xff\x90\x0f\x05"           # exit(0)
    assert len(code) == code_size, len(code)
    size = code_at + len(code) + len(text)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + code_at, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return head + code + text


def harness_layer(name):
    for version in HARNESS:
        if name == "harness-%s-bin" % version:
            data = small_elf("harness-serverless-plugin %s\n" % version)
            data += hashlib.shake_128(("railyard-dev " + name).encode()).digest(6_000_000 - len(data))
            path = "opt/harness/bin/harness-serverless-plugin"
            break
        if name == "harness-%s-scripts" % version:
            data = ("#!/bin/sh\n# serverless plugin %s\n"
                    "exec /opt/harness/bin/harness-serverless-plugin \"$@\"\n" % version).encode()
            path = "opt/harness/scripts/serverless-plugin.sh"
            break
    else:
        fail("no such layer: " + name)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        parts = path.split("/")
        for n in range(1, len(parts)):
            info = tarfile.TarInfo("/".join(parts[:n]) + "/")
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, STAMP
            tar.addfile(info)
        info = tarfile.TarInfo(path)
        info.size, info.mode, info.mtime = len(data), 0o755, STAMP
        tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def truststore(pem):
    """The certificates as a JKS keystore, in their order, with fixed dates."""
    ders = []
    for block in re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.S):
        der = base64.b64decode(block)
        if der not in ders:
            ders.append(der)

    def text(value):
        return struct.pack(">H", len(value)) + value.encode()
    body = struct.pack(">III", 0xFEEDFEED, 2, len(ders))
    for n, der in enumerate(ders):
        body += struct.pack(">I", 2) + text("ca-%04d" % n) + struct.pack(">Q", STAMP * 1000)
        body += text("X.509") + struct.pack(">I", len(der)) + der
    return body + hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


# ---- registry --------------------------------------------------------------
class Registry:
    def __init__(self, host, storage):
        self.host, self.storage = host, storage
        self.connection = None
        self.home = {}  # digest: a repository known to hold it

    def call(self, method, path, body=None, headers=None):
        """One request; a body is bytes or a path. Tried twice: kept connections go stale."""
        headers = dict(headers or {})
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.host, timeout=120)
            stream = None
            try:
                data = body
                if isinstance(body, str):
                    headers["Content-Length"] = str(os.path.getsize(body))
                    data = stream = open(body, "rb")
                self.connection.request(method, path, body=data, headers=headers)
                reply = self.connection.getresponse()
                return reply.status, reply.headers, reply.read()
            except (OSError, http.client.HTTPException) as e:
                self.connection.close()
                self.connection = None
                if attempt == 2:
                    fail("%s %s: %s" % (method, path, e))
            finally:
                if stream:
                    stream.close()

    def manifest_digest(self, repository, reference):
        status, headers, _ = self.call("HEAD", "/v2/%s/manifests/%s" % (repository, reference),
                                       headers={"Accept": MANIFEST_TYPE})
        return headers.get("Docker-Content-Digest") if status == 200 else None

    def has_blob(self, repository, digest, size):
        status, headers, _ = self.call("HEAD", "/v2/%s/blobs/%s" % (repository, digest))
        if status != 200:
            return False
        if int(headers.get("Content-Length", size)) == size:
            return True
        # cut short by a crash: no later push would replace the file
        if self.storage:
            hexa = digest.split(":")[1]
            broken = os.path.join(self.storage, "docker/registry/v2/blobs/sha256", hexa[:2], hexa)
            if os.path.exists(broken + "/data"):
                os.unlink(broken + "/data")
                return False
        fail("%s in %s is damaged" % (digest, repository))

    def put_blob(self, repository, digest, size, body):
        """body: bytes or a path. True when it had to be sent."""
        if self.has_blob(repository, digest, size):
            self.home.setdefault(digest, repository)
            return False
        start = "/v2/%s/blobs/uploads/" % repository
        if digest in self.home:
            start += "?mount=%s&from=%s" % (urllib.parse.quote(digest), urllib.parse.quote(self.home[digest]))
        status, headers, text = self.call("POST", start)
        if status == 201:
            return True
        if status != 202:
            fail("upload to %s: %d %s" % (repository, status, text[:300]))
        where = urllib.parse.urlsplit(headers["Location"])
        query = where.query + ("&" if where.query else "") + "digest=" + urllib.parse.quote(digest)
        status, _, text = self.call("PUT", where.path + "?" + query, body,
                                    {"Content-Type": "application/octet-stream"})
        if status != 201:
            fail("upload of %s to %s: %d %s" % (digest, repository, status, text[:300]))
        self.home[digest] = repository
        return True

    def put_manifest(self, repository, tag, data):
        status, _, text = self.call("PUT", "/v2/%s/manifests/%s" % (repository, tag), data,
                                    {"Content-Type": MANIFEST_TYPE})
        if status != 201:
            fail("manifest of %s:%s: %d %s" % (repository, tag, status, text[:300]))


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


def push(registry, layers, key, nonce):
    repository, tag = key
    runtime, names = image_table()[key]
    parts = []  # (description, body)
    for name in names:
        info = layers.load(name)
        if not info:
            fail("layer %s is missing, run dev/up" % name)
        parts.append((name, info, layers.path(name, ".tar.gz")))
    if runtime:
        packed, info = stamp_layer(nonce)
        parts.append(("build stamp", info, packed))
        env = dict(ENV, **RUNTIME_ENV.get(runtime, {}))
        config = {"Env": ["%s=%s" % kv for kv in env.items()], "Cmd": ["/bin/bash"],
                  "WorkingDir": "/var/task"}
    else:
        config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    config = encode({
        "architecture": "amd64", "os": "linux", "created": CREATED, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [info["diff_id"] for _, info, _ in parts]},
        "history": [{"created": CREATED, "created_by": name} for name, _, _ in parts],
    })
    manifest = encode({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": digest_of(config)},
        "layers": [{"mediaType": LAYER_TYPE, "size": info["size"], "digest": info["digest"]}
                   for _, info, _ in parts],
    })
    sent = registry.put_blob(repository, digest_of(config), len(config), config)
    for _, info, body in parts:
        sent |= registry.put_blob(repository, info["digest"], info["size"], body)
    wanted = digest_of(manifest)
    if sent or registry.manifest_digest(repository, tag) != wanted:
        registry.put_manifest(repository, tag, manifest)
        sent = True
        if registry.manifest_digest(repository, tag) != wanted:
            fail("%s:%s is not what was pushed" % key)
    return wanted, sent


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--layers")
    parser.add_argument("--registry")
    parser.add_argument("command")
    parser.add_argument("--nonce", default="0")
    parser.add_argument("--storage")
    parser.add_argument("rest", nargs="*")
    args = parser.parse_intermixed_args()
    layers = Layers(args.layers)
    table = image_table()

    if args.command == "pack":
        pack(args.rest[0], sys.stdin.buffer)
    elif args.command == "install":
        layers.install(*args.rest)
    elif args.command == "have":
        info = layers.load(args.rest[0])
        sys.exit(0 if info and info["key"] == args.rest[1] else 1)
    elif args.command == "needs":
        seen = {}
        for (_, _), (runtime, names) in table.items():
            if runtime is None or runtime in args.rest:
                seen.update(dict.fromkeys(names))
        print("\n".join(seen))
    elif args.command == "names":
        for (repository, tag), (runtime, _) in table.items():
            if runtime is None or not args.rest or runtime in args.rest:
                print("%s:%s" % (repository, tag))
    elif args.command == "push":
        registry = Registry(args.registry, args.storage)
        for key in table:
            if "%s:%s" % key in args.rest or key[0] in args.rest:
                digest, sent = push(registry, layers, key, args.nonce)
                print("%s/%s:%s %s %s" % (args.registry, *key, digest, "changed" if sent else "kept"), flush=True)
    elif args.command == "list":
        registry = Registry(args.registry, None)
        for key in table:
            print("%s/%s:%s %s" % (args.registry, *key, registry.manifest_digest(*key) or "-"))
    elif args.command == "harness-key":
        with open(__file__, "rb") as f:
            text = f.read()
        parts = [text[text.index(b"def %s(" % name):].split(b"\n\n\n")[0] for name in (b"small_elf", b"harness_layer")]
        print(hashlib.sha256(b"".join(parts)).hexdigest())
    elif args.command == "truststore":
        sys.stdout.buffer.write(truststore(sys.stdin.read()))
    elif args.command == "harness":
        sys.stdout.buffer.write(harness_layer(args.rest[0]))
    else:
        parser.error("no such command: " + args.command)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
