"""A registry that is far away: a way to the real one on a port of its own, where every request waits."""
import asyncio
import re
import threading

HEAD_END = b"\r\n\r\n"
LONGEST_HEAD = 1 << 18
TLS_HANDSHAKE = b"\x16"
WRITING = (b"PUT", b"POST", b"PATCH", b"DELETE")


class FarRegistry:
    """Passes HTTP/1.1 on to `target`, requests of a kept connection too, and holds every request back
    for `delay` seconds before it goes on. Images are named by its own `host`. A context manager."""

    def __init__(self, target):
        self.target = target.rsplit(":", 1)
        self.delay = 0.0      # seconds
        self.requests = 0
        self.writes = 0       # requests that change something
        self.host = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST_HEAD), self._loop).result(10)
        self.host = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self, reader, writer):
        try:
            upstream, sink = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        back = asyncio.ensure_future(_pour(upstream, writer))
        try:
            await self._requests(reader, sink)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass            # the client is done
        finally:
            sink.close()
            await asyncio.wait([back], timeout=5)
            back.cancel()
            writer.close()

    async def _requests(self, reader, sink):
        while True:
            first = await reader.readexactly(1)
            if first == TLS_HANDSHAKE:
                # clients try TLS first, and go on when the registry itself has refused it
                await asyncio.sleep(self.delay)
                sink.write(first)
                return await _pour(reader, sink)
            head = first + await reader.readuntil(HEAD_END)
            self.requests += 1
            self.writes += head.split(b" ", 1)[0] in WRITING
            if self.delay:
                await asyncio.sleep(self.delay)
            sink.write(head)
            await _body(head, reader, sink)
            await sink.drain()


async def _body(head, reader, sink):
    """A request's body, by its length or in chunks."""
    if re.search(rb"(?im)^transfer-encoding:.*chunked", head):
        size = None
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            sink.write(line)
            await _pass(size, reader, sink)
            sink.write(await reader.readuntil(b"\r\n"))   # after the last one: no trailers
        return
    length = re.search(rb"(?im)^content-length: *([0-9]+)", head)
    if length:
        await _pass(int(length[1]), reader, sink)


async def _pass(left, reader, sink):
    while left:
        data = await reader.read(min(left, 1 << 18))
        if not data:
            raise ConnectionResetError
        sink.write(data)
        await sink.drain()
        left -= len(data)


async def _pour(reader, writer):
    """Bytes, as they come."""
    try:
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()
