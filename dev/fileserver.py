#!/usr/bin/env python3
"""Download stand-ins for the local development environment.

fileserver.py make DIR                        write the files (same bytes everywhere)
fileserver.py serve DIR LOG PORT ADDRESS...   serve them; sends and honours ETag and Range
"""
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import sys
import tarfile
import threading
import time

MIB = 1 << 20
STAMP = 1680652800  # Last-Modified and archive times


def filler(seed, size):
    """Bytes that do not compress, the same for the same seed."""
    return hashlib.shake_128(b"railyard-dev " + seed.encode()).digest(size)


def script(name, line, size):
    """An executable of about `size` bytes: a script, then filler it never reaches."""
    head = "#!/bin/sh\necho '%s'\nexit 0\n" % line
    return head.encode() + filler(name, size)


def docker_archive():
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        top = tarfile.TarInfo("docker/")
        top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o755, STAMP
        tar.addfile(top)
        for name, line, size in (
            ("containerd", "containerd 1.6.20 (stand-in)", MIB // 2),
            ("docker", "Docker version 20.10.24, build 297e128", 3 * MIB),
            ("docker-init", "tini version 0.19.0 (stand-in)", 1024),
            ("dockerd", "Docker version 20.10.24, build 5d6db84", MIB),
            ("runc", "runc version 1.1.4 (stand-in)", MIB // 4),
        ):
            data = script(name, line, size)
            info = tarfile.TarInfo("docker/" + name)
            info.size, info.mode, info.mtime = len(data), 0o755, STAMP
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 1, mtime=0)


def go_template():
    return script("go-template v0.4.5", "go-template v0.4.5 (stand-in)", 3 * MIB)


FILES = {
    "linux/static/stable/x86_64/docker-20.10.24.tgz": docker_archive,
    "public/shared/tools/go-template/release/v0.4.5/bin/linux/amd64/go-template": go_template,
    "harness/go-template/releases/download/v0.4.5/go-template_linux_amd64": go_template,
    ".railyard-dev": lambda: b"ok",
}


def make(root):
    for path, content in FILES.items():
        data = content()
        full = os.path.join(root, path)
        try:
            with open(full, "rb") as f:
                if f.read() == data:
                    os.utime(full, (STAMP, STAMP))
                    continue
        except FileNotFoundError:
            pass
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full + ".part", "wb") as f:
            f.write(data)
        os.utime(full + ".part", (STAMP, STAMP))
        os.replace(full + ".part", full)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "railyard-dev-files"
    sys_version = ""
    root = log = None
    lock = threading.Lock()
    tags = {}

    def do_HEAD(self):
        self.reply(body=False)

    def do_GET(self):
        self.reply(body=True)

    def reply(self, body):
        path = os.path.normpath(self.path.split("?", 1)[0].lstrip("/"))
        full = os.path.join(self.root, path)
        if path.startswith("..") or not os.path.isfile(full):
            return self.send_error(404)
        with open(full, "rb") as f:
            data = f.read()
        tag = self.etag(full, data)
        if tag in re.split(r"\s*,\s*", self.headers.get("If-None-Match", "")):
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return None
        start, end, status = 0, len(data), 200
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", tag) == tag:
            start = int(span[1])
            end = min(end, int(span[2]) + 1) if span[2] else end
            if start >= end:
                self.send_response(416)
                self.send_header("Content-Range", "bytes */%d" % len(data))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            status = 206
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", self.date_time_string(int(os.stat(full).st_mtime)))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        if status == 206:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, end - 1, len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[start:end])
        return None

    def etag(self, full, data):
        stat = os.stat(full)
        key = (full, stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if key not in self.tags:
            self.tags[key] = '"%s"' % hashlib.sha256(data).hexdigest()[:32]
        return self.tags[key]

    def log_message(self, fmt, *args):
        if self.path == "/.railyard-dev":
            return
        line = "%s %s %s\n" % (time.strftime("%FT%T"), self.client_address[0], fmt % args)
        with self.lock, open(self.log, "a") as f:
            f.write(line)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def server_bind(self):
        # a bridge may come (and come back) after this server
        self.socket.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
        super().server_bind()

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is no event


def serve(root, log, port, addresses):
    Handler.root, Handler.log = root, log
    servers = [Server((address, port), Handler) for address in addresses]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    args = [a for a in sys.argv[1:] if not a.startswith("--owner=")]
    if len(args) == 2 and args[0] == "make":
        make(args[1])
    elif len(args) >= 5 and args[0] == "serve":
        serve(args[1], args[2], int(args[3]), args[4:])
    else:
        sys.exit(__doc__)
