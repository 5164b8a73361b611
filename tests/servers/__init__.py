"""Real storage servers on loopback, each its own process on a free port, for tests."""

from tests.servers.running import Server, start_server

__all__ = ["Server", "start_server"]
