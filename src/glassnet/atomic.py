"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, then put it in its place in one step: a process killed at any instant leaves
    the old file or the new one. One temporary file at most stays behind, and the next write takes it over.

    The content is not forced to the disk: this guards against killed processes, not against lost power.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
