"""Progress that keeps its log lines, for tests of what is said."""

from glassnet.progress import Progress


class Log(Progress):
    """``lines``, the log lines in their order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)
