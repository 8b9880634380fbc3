"""A bed of planted bugs for ``glassnet check gradients`` and ``glassnet check parity``.

A bug is planted at run time in a layer, a kernel, the architecture, a trainer or the PyTorch engine; then both checks
run with the options that use it, as the commands do. A bug is found if a check fails in one line, and named if that
line has the operation. Every combination of options must pass without a bug.

    python benchmarks/proofs_bed.py [WORDS OF A NAME]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from planted_bugs import Bug, all_bugs

from glassnet.errors import GlassnetError
from glassnet.verify import check_gradients, check_parity

BATCH_SIZE = 5
CHECKS = {"gradients": check_gradients, "parity": check_parity}


@dataclass(frozen=True)
class Outcome:
    """What the checks said of a bug, by their names: "" where one passed."""

    bug: Bug
    said: Mapping[str, str]

    @property
    def is_found(self) -> bool:
        """Whether a check failed, in one line."""
        return any(self.said.values()) and not any("\n" in text for text in self.said.values())

    @property
    def is_named(self) -> bool:
        """Whether each check that failed names the operation, and no other one."""
        faults = [text.rpartition("Fault: ")[2] if "Fault: " in text else text for text in self.said.values() if text]
        return bool(faults) and all(any(name in fault for name in self.bug.expected) for fault in faults)


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Replace the function while the context lasts."""
    own = vars(bug.place).get(bug.attribute)
    plain = own.__func__ if isinstance(own, staticmethod) else getattr(bug.place, bug.attribute)
    setattr(bug.place, bug.attribute, bug.make(plain))
    try:
        yield
    finally:
        if own is None:
            delattr(bug.place, bug.attribute)
        else:
            setattr(bug.place, bug.attribute, own)


def run_checks(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what each check says with these settings: an error, or nothing."""
    fields = dict(settings)
    model, kernels = fields.pop("model"), fields.pop("kernels", "fast")
    said = {}
    for name, check in CHECKS.items():
        options = {"steps": 3} if name == "parity" else {}
        try:
            check(model, batch_size=BATCH_SIZE, kernels=kernels, **options, **fields).raise_if_failed()
            said[name] = ""
        except GlassnetError as error:
            said[name] = str(error)
    return said


def outcome_of(bug: Bug) -> Outcome:
    """Return what the checks say of a bug."""
    with planted(bug):
        try:
            return Outcome(bug, run_checks(bug.settings))
        except Exception as error:  # a raw error is not found
            return Outcome(bug, {"raised": f"{type(error).__name__}\n{error}"})


def healthy_settings() -> list[dict[str, Any]]:
    """Return each combination of settings once."""
    found = {repr(sorted(bug.settings.items(), key=str)): dict(bug.settings) for bug in all_bugs()}
    return list(found.values())


def main(words: list[str]) -> None:
    """Print the table of what is found."""
    import torch

    torch.set_num_threads(1)  # for many small products
    wrong = [settings for settings in healthy_settings() if any(run_checks(settings).values())]
    print(f"Healthy: {len(healthy_settings()) - len(wrong)} of {len(healthy_settings())} combinations pass", *wrong)
    outcomes = []
    for bug in all_bugs():
        if not all(word in bug.name for word in words):
            continue
        outcome = outcome_of(bug)
        outcomes.append(outcome)
        by = " and ".join(name for name, text in outcome.said.items() if text) or "NOT FOUND"
        named = "" if outcome.is_named else "NOT NAMED"
        print(f"{bug.name:70}  {by:22}  {named}", flush=True)
        if not outcome.is_named:
            print("    ", *(f"{name}: {text[-200:]!r}" for name, text in outcome.said.items()), flush=True)
    found, named = (sum(values) for values in zip(*((o.is_found, o.is_named) for o in outcomes), strict=True))
    print(f"Found: {found} of {len(outcomes)}; the operation is named of {named}")


if __name__ == "__main__":
    main(sys.argv[1:])
