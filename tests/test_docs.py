"""The pages say what is so: their commands, targets, paths and links exist, and their Python runs."""

import ast
import importlib.util
import inspect
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from glassnet import cli
from glassnet.verify import naive_convolution

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
COMMANDS: Any = get_command(cli.app)

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(page: str, language: str) -> list[str]:
    """The fenced code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)


def inline(page: str) -> list[str]:
    """The code between single backticks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))


def uses(page: str, program: str) -> list[list[str]]:
    """The words after ``program`` wherever the page calls it."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()] + inline(page)
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
    return [rest for first, *rest in words if first == program]


def program(path: str) -> Any:
    """A script of the repository that belongs to no package, as a module."""
    found = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command that does something, under the words that call it."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        here = (*path, name)
        found.update(commands(command, here) if hasattr(command, "commands") else {here: command})
    return found


@every_page
def test_commands_and_options_exist(path: Path) -> None:
    known = commands(COMMANDS)
    for words in uses(path.read_text(encoding="utf-8"), "glassnet"):
        if words[0].startswith("-"):
            continue
        names = [name for name in known if tuple(words[: len(name)]) == name]
        assert names, f"glassnet {shlex.join(words)}: there is no such command"
        parameters = known[names[0]].params
        options = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= options, f"glassnet {shlex.join(words)}: {names[0]} has no {given - options}"


@every_page
def test_make_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for words in uses(path.read_text(encoding="utf-8"), "make"):
        named = {word for word in words if "=" not in word}
        assert named <= set(targets), f"make {shlex.join(words)}"


@every_page
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_the_notebooks_links_are_its_headings_in_jupyterlab() -> None:
    """There a heading's id is its text with hyphens for spaces, capitals and question marks as they are."""
    script = program("docs/notebook.py")
    tour = script.TOUR.read_text(encoding="utf-8")
    ids = {title.replace(" ", "-") for title in re.findall(r"^##+ (.+)$", tour, flags=re.MULTILINE)}
    links = re.findall(r"\]\(#([^)]+)\)", script.linked_as_in_jupyter(tour))
    assert len(links) > 10
    assert {"When-it-goes-wrong", "Is-the-gradient-right?"} <= set(links) <= ids


@every_page
def test_named_files_exist(path: Path) -> None:
    named = [text for text in inline(path.read_text(encoding="utf-8")) if re.match(r"(src|tests|docs)/", text)]
    assert not [text for text in named if not (ROOT / text).exists()]


def test_the_readme_names_every_command() -> None:
    named = uses((ROOT / "README.md").read_text(encoding="utf-8"), "glassnet")
    for name in commands(COMMANDS):
        assert any(tuple(words[: len(name)]) == name for words in named), " ".join(name)


@pytest.mark.slow
def test_the_readmes_tours_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python first: it leaves the image that the command line then asks about."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks(readme, "python")), {})
    (tour,) = [block for block in blocks(readme, "sh") if "glassnet predict" in block]
    for line in tour.splitlines():
        program, *words = shlex.split(line, comments=True) or ["glassnet", "--help"]
        assert program == "glassnet", line
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"


FAST_NUMPY = ROOT / "docs" / "fast-numpy.md"


def test_the_way_to_a_fast_convolution_runs() -> None:
    exec("\n".join(blocks(FAST_NUMPY.read_text(encoding="utf-8"), "python")), {})


class Bare(ast.NodeTransformer):
    """Leaves what is computed: no annotations and no docstrings."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        if ast.get_docstring(node) is not None:
            del node.body[0]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.fix_missing_locations(ast.Assign([node.target], node.value, lineno=node.lineno))


def bare(source: str) -> str:
    return ast.unparse(Bare().visit(ast.parse(textwrap.dedent(source))))


def test_the_steps_on_the_page_are_those_that_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    steps = program("benchmarks/convolution_steps.py")
    originals = {
        "convolution": naive_convolution.convolution,
        "im2col": steps.im2col,
        "one_product": steps.one_product,
        "channels_last": steps.channels_last,
        "blocks": steps.blocks,
    }
    code = "\n".join(blocks(FAST_NUMPY.read_text(encoding="utf-8"), "python"))
    shown = {node.name: node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
    assert shown.keys() == originals.keys()
    for name, node in shown.items():
        assert bare(ast.unparse(node)) == bare(inspect.getsource(originals[name])), name
