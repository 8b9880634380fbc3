"""The backends that can be measured on this machine."""

from __future__ import annotations

from glassnet.bench.backends import Backend, FastBackend, PlainBackend
from glassnet.resources import usable_cores


def available_backends() -> tuple[list[Backend], str | None]:
    """Return every backend on one thread and on all, and the reason if PyTorch cannot be imported."""
    counts = sorted({1, usable_cores()})
    backends: list[Backend] = [kind(threads) for kind in (FastBackend, PlainBackend) for threads in counts]
    try:
        from glassnet.bench.torch_backend import LAYOUTS, TorchBackend
    except Exception as error:  # a broken installation can raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return backends, f"PyTorch was not measured: {reason}"
    return [*backends, *(TorchBackend(threads, layout) for layout in LAYOUTS for threads in counts)], None
