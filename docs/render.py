"""Write the executed course as Markdown with images, which code hosts display: python docs/render.py build/docs

Reads the notebooks that ``make docs`` executed, and writes ``docs/rendered``. The environment variable CHROMIUM may
name the browser that draws the figures; otherwise it must be on the path.
"""

import base64
import hashlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
COURSE, RENDERED = DOCS / "course", DOCS / "rendered"
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, SCALE = 760, 1.5  # of a figure, in pixels of the page, and its image's pixels for each of them

TEMPLATE = """
{%- extends 'markdown/index.md.j2' -%}
{% block codecell %}
{% if "hide-cell" in cell.metadata.get("tags", []) %}
<details>
<summary>{{ cell.metadata.get("mystnb", {}).get("code_prompt_show", "Show the code") }}</summary>

{{ super() }}

</details>
{% else %}
{{ super() }}
{% endif %}
{% endblock codecell %}
{% block input %}
```python
{{ cell.source }}
```
{% endblock input %}
{% block output_group %}
{% if "hide-output" in cell.metadata.get("tags", []) %}
<details>
<summary>{{ cell.metadata.get("mystnb", {}).get("code_prompt_show", "Show the output") }}</summary>

{{ super() }}

</details>
{% else %}
{{ super() }}
{% endif %}
{% endblock output_group %}
{% block stream %}
```text
{{ output.text | strip_ansi | trim("\n") }}
```
{% endblock stream %}
{% block data_text scoped %}
```text
{{ output.data['text/plain'] }}
```
{% endblock data_text %}
{% block data_png %}
![{{ output.metadata.alt }}]({{ output.metadata.filenames['image/png'] | path2url }})
{% endblock data_png %}
"""


def source_hash(page: str) -> str:
    """Return a digest of the text and code of a page's source."""
    return hashlib.sha256(page.encode("utf-8")).hexdigest()[:16]


def stored_hash(rendered: str) -> str:
    """Return the digest of the source that a rendered page was made from, or nothing."""
    match = re.search(r"^<!-- Written by `make rendered` from \S+, (\w+) -->$", rendered, flags=re.MULTILINE)
    return match[1] if match else ""


def main(site: Path) -> None:
    RENDERED.mkdir(exist_ok=True)
    for old in RENDERED.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    with figure_renderer() as draw:
        for page in sorted(COURSE.glob("*.md")):
            executed = site.parent / "jupyter_execute/course" / f"{page.stem}.ipynb"
            source = page.read_text(encoding="utf-8")
            text = render_notebook(executed, draw) if "{code-cell}" in source else without_directives(source)
            digest = source_hash(source)
            note = f"<!-- Written by `make rendered` from docs/course/{page.name}, {digest} -->"
            (RENDERED / page.name).write_text(f"{tidy(text)}\n{note}\n", encoding="utf-8")
    files = [path for path in RENDERED.rglob("*") if path.is_file()]
    print(f"{RENDERED}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")


def render_notebook(executed: Path, draw: Any) -> str:
    """Return an executed notebook as Markdown, and write its images into ``docs/rendered/NAME``."""
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "remove-cell" not in cell.metadata.get("tags", ())]
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", ())
        outputs = streams_once(cell.get("outputs", []))
        if cell.cell_type == "code":
            cell["outputs"] = [o for o in outputs if "remove-stderr" not in tags or o.get("name") != "stderr"]
        for output in outputs:
            if PLOTLY in output.get("data", {}):
                output["data"]["image/png"] = base64.b64encode(draw(output["data"][PLOTLY])).decode()
                output["metadata"]["alt"] = re.sub(r"[\[\]\s]+", " ", output["data"]["text/plain"])
    priority = ["image/png", "text/markdown", "text/plain"]
    config = Config(NbConvertBase={"display_data_priority": priority})
    exporter = MarkdownExporter(config=config, raw_template=TEMPLATE)
    resources = {"unique_key": executed.stem, "output_files_dir": executed.stem}
    text, resources = exporter.from_notebook_node(notebook, resources)
    for name, data in resources["outputs"].items():
        (RENDERED / name).parent.mkdir(exist_ok=True)
        (RENDERED / name).write_bytes(data)
    return str(text)


def streams_once(outputs: list[Any]) -> list[Any]:
    """Return a cell's outputs, each stream once: MyST-NB merged its parts into the first, and left the others."""
    names = [output.get("name") for output in outputs]
    return [output for i, output in enumerate(outputs) if names[i] is None or names[i] not in names[:i]]


def without_directives(page: str) -> str:
    """Return a page that has no code without what only the site can display: the front matter and directives."""
    text = re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL)
    return re.sub(r"^```\{.*?^```\n", "", text, flags=re.DOTALL | re.MULTILINE)


def tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip() + "\n"


@contextmanager
def figure_renderer() -> Iterator[Any]:
    """Draw Plotly's figures in a browser: a function from a figure's JSON to a PNG file's bytes."""
    from PIL import Image
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=get_plotlyjs())

        def draw(figure: dict[str, Any]) -> bytes:
            layout = figure["layout"] | {"paper_bgcolor": "white", "updatemenus": []}  # buttons that nobody can press
            size = {"width": layout.get("width") or WIDTH, "height": layout["height"], "scale": SCALE}
            url = page.evaluate(
                "([figure, size]) => Plotly.toImage(figure, {format: 'png', ...size})",
                [{"data": figure["data"], "layout": layout}, size],
            )
            image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
            file = io.BytesIO()
            image.quantize(128, Image.Quantize.MAXCOVERAGE).save(file, "png", optimize=True)
            return file.getvalue()

        yield draw
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
