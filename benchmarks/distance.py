"""A way to a local server that is as long as one through a network: bytes arrive late, in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator


@contextlib.contextmanager
def distant(port: int, round_trip: float) -> Generator[int]:
    """Yield a port of this host behind which `port` is so many seconds away, there and back.

    Args:
        port: a server's, on loopback.
        round_trip: seconds.
    """
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_Way(port, round_trip / 2).open, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, name="distance", daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        going = asyncio.all_tasks(loop)
        for task in going:
            task.cancel()
        if going:
            loop.run_until_complete(asyncio.wait(going))
        loop.close()


class _Way:
    def __init__(self, port: int, delay: float) -> None:
        self._port, self._delay = port, delay
        self._going: set[asyncio.Task[None]] = set()

    async def open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, to), (there, writer)):
            late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._take(source, late), self._give(late, sink)):
                task = asyncio.get_running_loop().create_task(work)
                self._going.add(task)
                task.add_done_callback(self._going.discard)

    async def _take(self, source: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"."
        while data:
            try:
                data = await source.read(1 << 16)
            except ConnectionError:  # it is reset: nothing more comes, and asking again would never end
                data = b""
            late.put_nowait((asyncio.get_running_loop().time() + self._delay, data))

    async def _give(self, late: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        data = b"."
        while data:
            due, data = await late.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            with contextlib.suppress(ConnectionError):
                sink.write(data)
                await sink.drain()
        sink.close()
