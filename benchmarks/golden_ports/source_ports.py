"""Ports in other languages, and faults in their sources: the C port of docs/examples, and the live page's engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import glassnet as gn

from .networks import NETWORKS

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "docs" / "examples"
ENGINE = Path(str(files("glassnet"))) / "explorer" / "engine"
FAULTS: dict[str, list[dict[str, Any]]] = tomllib.loads((HERE / "source_faults.toml").read_text(encoding="utf-8"))
C_OPTIONS = ("-std=c11", "-O2")


def is_available(table: str) -> bool:
    """Whether this machine can run the ports of a table of the faults: ``c`` or ``page``."""
    return shutil.which({"c": "gcc", "page": "node"}[table]) is not None


def edited(text: str, edits: Iterable[tuple[str, str]]) -> str:
    """Return a source in which each old text, at its first occurrence, is replaced by the new one."""
    for old, new in edits:
        if old not in text:
            raise ValueError(f"The source must contain {old!r}.")
        text = text.replace(old, new, 1)
    return text


def run_c(bundle: Path, folder: Path, *, edits: Iterable[tuple[str, str]] = (), options: tuple[str, ...] = ()) -> Path:
    """Compile the C port in a folder, run it on a bundle of tiny-bn, and return its dump."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXAMPLES / "golden_npy.h", folder)
    source = (EXAMPLES / "golden_tiny_bn.c").read_text(encoding="utf-8")
    (folder / "port.c").write_text(edited(source, edits), encoding="utf-8")
    program = folder / "port"
    subprocess.run(["gcc", *C_OPTIONS, *options, folder / "port.c", "-lm", "-o", program], check=True)
    subprocess.run([program, bundle, folder / "dump"], check=True)
    return folder / "dump"


def run_page(
    bundle: Path,
    folder: Path,
    network: str,
    *,
    edits: Iterable[tuple[str, str]] = (),
    script: str = "",
    bug: str | None = None,
) -> Path:
    """Run the page's engine on a bundle, with an edited script or one of its own bugs, and return its dump."""
    engine = shutil.copytree(ENGINE, folder / "engine", dirs_exist_ok=True)
    if script:
        path = engine / script
        path.write_text(edited(path.read_text(encoding="utf-8"), edits), encoding="utf-8")
    graph = folder / "graph.json"
    graph.write_text(json.dumps(gn.graph(NETWORKS[network].spec)), encoding="utf-8")
    arguments = [HERE / "page_engine.mjs", engine, graph, bundle, folder / "dump", *([bug] if bug else [])]
    subprocess.run(["node", *arguments], check=True)
    return folder / "dump"
