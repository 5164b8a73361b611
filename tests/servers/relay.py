"""A TCP relay that can become a bad line: every chunk late, some very late, some a reset.

Run as `python -m tests.servers.relay HOST PORT TO_PORT FOLDER SEED`. It is a good line until
FOLDER/bad exists; what it did after that is counted in the lines of FOLDER/line.log.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import sys
from pathlib import Path

_DELAY = (0.005, 0.02)
_STALL = (0.5, 2.0)
_STALLS, _RESETS = 0.002, 0.005  # of all chunks
_CHUNK = 64 * 1024


class Line:
    """Everything that goes over one relay."""

    def __init__(self, to_port: int, folder: Path, seed: int) -> None:
        self.to_port, self.folder = to_port, folder
        self.dice = random.Random(seed)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either side or the line ends it."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            reset(writer)
            return
        ways = [
            asyncio.create_task(self._one_way(reader, back)),
            asyncio.create_task(self._one_way(there, writer)),
        ]
        # Whichever direction ends first ends both, as a broken line does.
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in left:
            way.cancel()
        broken = any(way.done() and not way.cancelled() and way.exception() for way in ways)
        for end in (writer, back):
            reset(end) if broken else end.close()

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            if (self.folder / "bad").exists():
                await asyncio.sleep(self.dice.uniform(*_DELAY))
                luck = self.dice.random()
                if luck < _RESETS:
                    self._note("reset")
                    raise ConnectionResetError
                if luck < _RESETS + _STALLS:
                    self._note("stall")
                    await asyncio.sleep(self.dice.uniform(*_STALL))
            writer.write(chunk)
            await writer.drain()

    def _note(self, what: str) -> None:
        with (self.folder / "line.log").open("a") as log:
            log.write(f"{what}\n")


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of a goodbye."""
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def serve(host: str, port: int, to_port: int, folder: Path, seed: int) -> None:
    """Relay for ever."""
    await asyncio.start_server(Line(to_port, folder, seed).carry, host, port)
    (folder / f"line-{os.getpid()}").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(
        serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    )
