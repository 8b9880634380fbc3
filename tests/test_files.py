import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glassnet.files import write_atomically

DIES_BEFORE_IT_REPLACES = """
import os, sys
from pathlib import Path
from glassnet.files import write_atomically

Path.replace = lambda self, target: os._exit(9)  # no cleanup, as after SIGKILL
write_atomically(Path(sys.argv[1]), b"new")
"""


def test_write_atomically_writes_the_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_writes_into_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    write_atomically(path, b"content")
    assert reader.communicate(timeout=10)[0] == b"content"
    assert path.is_fifo()


def test_write_atomically_leaves_the_old_file_when_killed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", DIES_BEFORE_IT_REPLACES, path], check=False)
    assert killed.returncode == 9
    assert path.read_bytes() == b"old"
    write_atomically(path, b"newer")  # takes the temporary file over
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: '.*/?file'$") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_leaves_a_file_of_equal_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"same")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: pytest.fail("written again"))
    write_atomically(path, b"same")
    assert path.read_bytes() == b"same"


def test_write_atomically_replaces_content_of_the_same_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcd")
    write_atomically(path, b"abce")
    assert path.read_bytes() == b"abce"
