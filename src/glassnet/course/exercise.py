"""The base class of exercises, and the feedback about an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class Feedback:
    """The result of ``check``: whether the answer passed, and if not, a hint. It is true if the answer passed."""

    exercise: str
    passed: bool
    hint: str  # one or two lines; empty if the answer passed

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{self.exercise}: {'passed' if self.passed else 'not yet. ' + self.hint}"


@dataclass(frozen=True, repr=False)
class Exercise(ABC):
    """A task of the course: ``print`` shows it, ``stub`` is the source to start from, ``check`` judges an answer."""

    name: str  # the first argument of ``check``
    chapter: int  # chapter of the course that explains what is needed
    task: str  # one sentence
    stub: str  # source code to fill

    @property
    @abstractmethod
    def signature(self) -> str:
        """The form of an answer, in one line."""

    @property
    def title(self) -> str:
        """The name with the signature."""
        return self.signature if self.signature.startswith(f"{self.name}(") else f"{self.name}: {self.signature}"

    @abstractmethod
    def judge(self, answer: Any, seed: int) -> str:
        """Return a hint about a wrong answer, and an empty string for a right one; ``seed`` draws the cases."""

    def __repr__(self) -> str:
        return f"{self.name} (chapter {self.chapter})\n{self.task}\n\n{self.stub}"
