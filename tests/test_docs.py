"""Tests of the documentation: commands, targets, paths and links exist, names are documented, and the code runs."""

import ast
import doctest
import importlib.util
import inspect
import re
import shlex
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import glassnet
from glassnet import cli, studies
from glassnet.nn import functional
from glassnet.verify import naive_convolution
from glassnet.verify.golden.causes import KEYS
from glassnet.verify.golden.conventions import CONVENTIONS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
PAGES = [path for path in PAGES if path.parent != ROOT / "docs/commands"]  # which docs/conf.py writes
COMMANDS: Any = get_command(cli.app)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("path", PAGES, ids=page_id)


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)


def inline(page: str) -> list[str]:
    """Return the code between single backticks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))


def uses(page: str, program: str) -> list[list[str]]:
    """Return the words after ``program`` wherever the page calls it."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()] + inline(page)
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
    return [arguments for first, *arguments in words if first == program]


def program(path: str) -> Any:
    """Return a script of the repository that belongs to no package, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return every command that does something, under the words that call it."""
    result: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        words = (*path, name)
        result.update(commands(command, words) if hasattr(command, "commands") else {words: command})
    return result


def options_of(command: Any) -> set[str]:
    names = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    return {name for name in names if name.startswith("-")}


@every_page
def test_page_names_existing_commands_and_options(path: Path) -> None:
    known = commands(COMMANDS)
    for words in uses(path.read_text(encoding="utf-8"), "glassnet"):
        if words[0].startswith("-"):
            continue
        names = [name for name in known if tuple(words[: len(name)]) == name]
        assert names, f"glassnet {shlex.join(words)}: there is no such command"
        options = options_of(known[names[0]])
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= options, f"glassnet {shlex.join(words)}: {names[0]} has no {used - options}"


def test_scale_page_starts_processes_with_existing_options() -> None:
    """The commands that begin with torchrun or srun; they are continued on a second line."""
    torchrun = pytest.importorskip("torch.distributed.run")
    known = commands(COMMANDS)[("train",)]
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (by_torchrun,), (by_srun,) = uses(page, "torchrun"), uses(page, "srun")
    parsed = torchrun.parse_args(by_torchrun)
    assert (parsed.nnodes, parsed.nproc_per_node, parsed.module) == ("2", "4", True)
    trainings = [parsed.training_script, *parsed.training_script_args], by_srun[by_srun.index("glassnet") :]
    for words in trainings:
        assert words[:2] == ["glassnet", "train"]
        assert {word for word in words if word.startswith("-")} <= options_of(known)


@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "CHANGELOG.md"], ids=page_id)
def test_page_names_existing_options_alone(path: Path) -> None:
    """The changelog names old options, too."""
    known = {"--help"}.union(*map(options_of, commands(COMMANDS).values()))
    texts = [text for text in inline(path.read_text(encoding="utf-8")) if text.startswith("--")]
    used = {word for text in texts for word in text.split() if word.startswith("--")}
    assert used <= known


@every_page
def test_page_names_existing_make_targets(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for words in uses(path.read_text(encoding="utf-8"), "make"):
        used = {word for word in words if "=" not in word}
        assert used <= set(targets), f"make {shlex.join(words)}"


@every_page
def test_page_links_to_existing_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


@every_page
def test_page_names_existing_files(path: Path) -> None:
    names = [
        text for text in inline(path.read_text(encoding="utf-8")) if re.match(r"(src|tests|docs|benchmarks)/", text)
    ]
    assert not [name for name in names if not (ROOT / name).exists()]


def test_readme_names_every_command() -> None:
    used = uses((ROOT / "README.md").read_text(encoding="utf-8"), "glassnet")
    for name in commands(COMMANDS):
        assert any(tuple(words[: len(name)]) == name for words in used), " ".join(name)


def test_architecture_page_lists_packages_in_import_order() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = configuration["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["glassnet"]]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [sorted(re.findall(r"`(\w+)`", cell)) for cell in re.findall(r"^\| (`[^|]+)\|", page, flags=re.MULTILINE)]
    assert rows == [sorted(layer.split(" | ")) for layer in layers if layer != "__main__"]


def test_changelog_describes_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changelog, flags=re.MULTILINE)
    assert versions[0] == glassnet.__version__


def test_command_pages_document_every_command_and_option() -> None:
    """The site has these pages."""
    script = program("docs/commands.py")
    pages, overview = script.command_pages(), script.overview()
    assert pages.keys() == {" ".join(name) for name in commands(COMMANDS)}
    for name, command in commands(COMMANDS).items():
        text = pages[" ".join(name)]
        assert text.startswith(f"# glassnet {' '.join(name)}\n")
        assert f"[`glassnet {' '.join(name)}`](commands/{'-'.join(name)}.md): " in overview
        documented = re.findall(r"(?<![\w-])--[a-z0-9-]+", "\n".join(re.findall(r"^\* `([^`]+)`", text, re.MULTILINE)))
        assert options_of(command) - {"-h"} <= {*documented, "--help"}, name
        assert "Example: `glassnet " in text, name
    assert "--debug" in overview


def test_command_pages_are_written_once(tmp_path: Path) -> None:
    script = program("docs/commands.py")
    (tmp_path / "gone.md").write_text("A command that is no more.", encoding="utf-8")
    script.write_pages(tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {"train.md", "study-sweep.md"} <= times.keys()
    assert "gone.md" not in times
    script.write_pages(tmp_path)
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_live_page_documents_every_name_for_scripts() -> None:
    script = (ROOT / "src/glassnet/explorer/page/api.js").read_text(encoding="utf-8")
    names = re.findall(r"^  (?:async |get )?(\w+)(?:\(.*\) \{|:)", script, flags=re.MULTILINE)
    page = (ROOT / "docs" / "explore.md").read_text(encoding="utf-8").partition("## For scripts and tests")[2]
    assert len(names) > 4
    assert re.findall(r"^\| `(\w+)", page, flags=re.MULTILINE) == names


OVERVIEW = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
LIBRARY = "\n".join([OVERVIEW, *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/library/*.md")))])


def documented() -> dict[str, set[str]]:
    """Return by module the names whose docstrings the reference takes from it."""
    names: dict[str, set[str]] = {}
    module = ""
    for kind, name, lines in re.findall(r"^\.\. (\w+):: (\S+)\n((?:   :.*\n)*)", LIBRARY, flags=re.MULTILINE):
        options = dict(re.findall(r":([\w-]+):(.*)", lines))
        if kind in ("automodule", "currentmodule"):
            module = name
        elif kind.startswith("auto") and "." not in name:
            names.setdefault(module, set()).add(name)
        if kind == "automodule" and "members" in options:
            public = getattr(importlib.import_module(module), "__all__", [])
            selected = {name.strip() for name in options["members"].split(",") if name.strip()} or set(public)
            excluded = {name.strip() for name in options.get("exclude-members", "").split(",")}
            names.setdefault(module, set()).update(selected - excluded)
    return names


DOCUMENTED = documented()


def test_library_pages_document_every_public_name() -> None:
    for module in ("glassnet", "glassnet.nn", "glassnet.verify", "glassnet.measures", "glassnet.data"):
        elsewhere = set(glassnet.__all__) if module == "glassnet.data" else set()
        assert DOCUMENTED[module] == set(importlib.import_module(module).__all__) - elsewhere
    functions = inspect.getmembers(functional, inspect.isfunction)
    assert DOCUMENTED["glassnet.nn.functional"] == {name for name, _ in functions if not name.startswith("_")}
    assert set(re.findall(r"`gn\.(\w+)`", OVERVIEW)) == set(glassnet.__all__)


def test_library_page_leads_to_every_page() -> None:
    assert {f"library/{path.stem}" for path in ROOT.glob("docs/library/*.md")} == set(
        re.findall(r"^library/[\w-]+$", OVERVIEW, flags=re.MULTILINE)
    )


@pytest.mark.parametrize("name", sorted(set(studies.__all__) - {"Study"}))
def test_library_page_documents_every_study(name: str) -> None:
    assert DOCUMENTED[f"glassnet.studies.{name}"] >= {"run_study", "build_page"}


@pytest.mark.parametrize("module", DOCUMENTED)
def test_documented_names_have_docstrings(module: str) -> None:
    for name in DOCUMENTED[module]:
        value = getattr(importlib.import_module(module), name)
        assert not callable(value) or inspect.getdoc(value), f"{module}.{name}"


@pytest.mark.parametrize("name", ["course", "studies", "verify"])
def test_library_page_examples_print_what_it_shows(name: str) -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "library" / f"{name}.md").read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks(page, "pycon")), {}, f"{name}.md", None, 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0


@pytest.mark.slow
def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python first: it writes the image that the commands then classify. The long studies are cut down."""
    shorter = {"degradation": ["--seeds", "1", "--epochs", "2"], "gradient-flow": ["--steps", "5"]}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks(readme, "python")), {})
    (lines,) = [block for block in blocks(readme, "sh") if "glassnet predict" in block]
    for line in lines.splitlines():
        program, *words = shlex.split(line, comments=True) or ["glassnet", "--help"]
        assert program == "glassnet", line
        result = CliRunner().invoke(cli.app, [*words, *shorter.get(words[min(1, len(words) - 1)], [])])
        assert result.exit_code == 0, f"{line}\n{result.output}"


FAST_NUMPY = ROOT / "docs" / "fast-numpy.md"


def test_fast_numpy_page_code_runs() -> None:
    exec("\n".join(blocks(FAST_NUMPY.read_text(encoding="utf-8"), "python")), {})


class Bare(ast.NodeTransformer):
    """Removes annotations and docstrings."""

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


def test_fast_numpy_page_shows_the_steps_that_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
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
    displayed = {node.name: node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
    assert displayed.keys() == originals.keys()
    for name, node in displayed.items():
        assert bare(ast.unparse(node)) == bare(inspect.getsource(originals[name])), name


@pytest.mark.parametrize(("head", "rows"), [("of", CONVENTIONS), ("cause", KEYS)])
def test_golden_format_has_every_convention_and_cause(head: str, rows: dict[str, str]) -> None:
    page = (ROOT / "docs/golden-format.md").read_text(encoding="utf-8")
    escaped = {key: text.replace("|", "&#124;") for key, text in rows.items()}
    table = "\n".join([f"| {head} | |", "|---|---|", *(f"| {key} | {text} |" for key, text in escaped.items())])
    assert f"\n{table}\n" in page, f"the table must be\n{table}"
