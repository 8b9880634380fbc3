"""The watchdog of several processes: when one of them is gone, the others end within seconds, and one line says why.

Each process keeps a connection to rank 0. The operating system closes the connections of a process that ends, however
it ends; so nothing has to be sent at intervals, and load raises no false alarm. A process that torchrun started also
looks whether torchrun is still its parent: workers are in sessions of their own, which a killed torchrun leaves behind.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

POLL_SECONDS = 0.25
PATIENCE = 3.0  # seconds for which a process that fails waits for rank 0, which says so for all
OWN_WORD = 0.5  # seconds in which rank 0 may report the same failure itself, with its error's type
CONNECT_TIMEOUT = 60.0  # seconds, after all processes have met
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # of machines that vanish, in seconds


class Watchdog:
    """A thread that ends this process when another one, or torchrun, is gone.

    ``remedy`` is the end of the line that says so. Rank 0 is the hub: it hears from all others, reports the first
    failure and ends them.
    """

    def __init__(self, rank: int, world_size: int, local_rank: int, report: Callable[[str], None]) -> None:
        """Describe the process.

        :param report: shows one line of text.
        """
        self.rank, self.world_size, self.local_rank, self.report = rank, world_size, local_rank, report
        self.remedy = ""
        self._launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._old_handler: Any = None
        self._members: dict[socket.socket, int] = {}  # the connections of the hub; of others the one to the hub
        self._buffers: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False
        self._lock = threading.Lock()

    def start(self, store: Any, address: str) -> None:
        """Connect the processes and watch them.

        :param store: a store of torch.distributed, in which rank 0 writes where it listens.
        :raises OSError: if a process does not come, or does not reach rank 0.
        """
        if self.world_size == 1 and self._launcher is None:
            return
        if self.rank == 0:
            self._accept_members(store)
        else:
            port, token = json.loads(store.get("watchdog"))
            connection = socket.create_connection((address, port), CONNECT_TIMEOUT)
            connection.sendall(f"{token} {self.rank}\n".encode())
            self._add(connection, 0)
        if hasattr(os, "register_at_fork"):  # a child that is forked must not keep the connections open
            os.register_at_fork(after_in_child=self._close)
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGTERM, _end_later)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _accept_members(self, store: Any) -> None:
        token = secrets.token_hex(16)
        with socket.create_server(("", 0), backlog=self.world_size) as listener:
            listener.settimeout(CONNECT_TIMEOUT)
            store.set("watchdog", json.dumps([listener.getsockname()[1], token]))
            while len(self._members) < self.world_size - 1:
                connection, _ = listener.accept()
                connection.settimeout(CONNECT_TIMEOUT)
                hello = connection.makefile().readline().split()
                if hello[:1] == [token]:
                    self._add(connection, int(hello[1]))
                else:  # something else on the network
                    connection.close()

    def stop(self) -> None:
        """End the watch over the other processes, all of which have finished; torchrun is watched until the end."""
        with self._lock:
            self._is_stopping = True
            self._send_all({"event": "finished"})
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)

    def fail(self, text: str, *, by_partner: bool = False) -> None:
        """Tell the others that this process fails, and return when it may say so itself.

        In all ranks but 0 it usually does not return: rank 0 reports the failure and ends all processes.

        :param text: the line that says why; empty where nothing needs to be said.
        :param by_partner: whether another process seems to be the cause, which then reports it.
        """
        if self.world_size == 1:
            return
        if self.rank == 0 and not by_partner:
            with self._lock:
                self._is_stopping = True
                self._send_all({"event": "end", "text": self._line(0, text)})
            return
        if by_partner:
            time.sleep(PATIENCE)
            self.fail(text)
        else:
            self._send_all({"event": "failed", "text": text})
            time.sleep(PATIENCE)

    def leave(self) -> None:
        """End by the user's wish, Ctrl-C: rank 0 says so and ends the others, which wait for that."""
        if self.rank == 0:
            self.fail("")
        else:
            self._send_all({"event": "finished"})
            time.sleep(2 * PATIENCE)

    def _add(self, connection: socket.socket, rank: int) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._members[connection], self._buffers[connection] = rank, b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _watch(self) -> None:
        while True:
            self._receive_all()
            if self._launcher is not None and os.getppid() != self._launcher:
                self._on_failure(self.rank, f"its launcher is gone. {self.remedy}".rstrip())

    def _receive_all(self) -> None:
        for key, _ in self._selector.select(POLL_SECONDS):
            self._receive(key.fileobj)  # type: ignore[arg-type]

    def _receive(self, connection: socket.socket) -> None:
        rank = self._members[connection]
        try:
            received = connection.recv(65536)
        except OSError:
            received = b""
        *lines, self._buffers[connection] = (self._buffers[connection] + received).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] == "failed":
                time.sleep(OWN_WORD)
                self._on_failure(rank, message["text"])
            elif message["event"] == "end":
                self._end(message["text"])
            else:
                self._forget(connection)
                return
        if not received:
            self._forget(connection)
            self._on_failure(rank, f"the process is gone. {self.remedy}".rstrip())

    def _on_failure(self, rank: int, text: str) -> None:
        """Report the failure of a rank, and end this process; the hub ends all others as well."""
        with self._lock:
            if self._is_stopping and rank != self.rank:
                return
            self._is_stopping = True
        line = self._line(rank, text)
        if self.rank == 0:
            self._send_all({"event": "end", "text": line})
            self._exit(line)
        if rank == self.rank and self._members:
            self._send_all({"event": "failed", "text": text})
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:  # rank 0 reports it, and ends this process
                self._receive_all()
        # The hub is gone. On its machine the next process reports it, on others the first one.
        self._exit(line if self.local_rank == 0 or self.rank == 1 else "")

    def _end(self, line: str) -> None:
        """End this process because the hub says so; on another machine the first process repeats the line."""
        self._exit(line if self.local_rank == 0 else "")

    def _line(self, rank: int, text: str) -> str:
        return f"Rank {rank} of {self.world_size}: {text}" if text else ""

    def _exit(self, line: str) -> None:
        if line:
            with suppress(Exception):
                self.report(line)
        os._exit(1)

    def _send_all(self, message: dict[str, str]) -> None:
        for connection in list(self._members):
            with suppress(OSError):
                connection.sendall(json.dumps(message).encode() + b"\n")

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._members[connection], self._buffers[connection]
        connection.close()

    def _close(self) -> None:
        for connection in self._members:
            connection.close()


def _end_later(number: int, frame: Any) -> None:
    """Handle SIGTERM, by which torchrun ends the partners of a process that is gone; the watchdog may say so first."""
    time.sleep(2 * POLL_SECONDS)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
