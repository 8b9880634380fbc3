import base64
import hashlib
import re
from pathlib import Path

import pytest

import glassnet.explorer
from glassnet.explorer.page import ENGINE, PAGE, engine_source, page_scripts, render_page

FOLDER = Path(glassnet.explorer.__file__).parent
SCRIPT = re.compile(r"<script data-name=\"([^\"]*)\">(.*?)</script>", re.DOTALL)


@pytest.mark.parametrize(("folder", "names"), [("engine", ENGINE), ("page", PAGE)])
def test_page_has_every_script_once(folder: str, names: tuple[str, ...]) -> None:
    assert sorted(names) == sorted(path.stem for path in (FOLDER / folder).glob("*.js"))


def test_page_policy_allows_its_own_scripts_alone() -> None:
    html = render_page("A run", b"bytes")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    allowed = re.findall("sha256-([^&]*)&#39;", policy[1])
    scripts = SCRIPT.findall(html)
    assert [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for _, source in scripts] == allowed
    assert [name for name, _ in scripts] == list(page_scripts())
    rules = [rule.split(" ", 1) for rule in policy[1].replace("&#39;", "'").split("; ")]
    assert {name: value for name, value in rules if name != "script-src"} == {
        "default-src": "'none'",
        "worker-src": "blob:",
        "img-src": "data: blob:",
        "style-src": "'unsafe-inline'",
    }


def test_page_escapes_its_title() -> None:
    html = render_page('</title><script>alert("1")</script>', b"bytes")
    assert "<script>alert" not in html
    assert "&lt;/title&gt;" in html


@pytest.mark.parametrize("source", [engine_source(), *page_scripts().values()])
def test_page_scripts_do_not_end_their_element(source: str) -> None:
    assert not re.search("</script|<!--", source, re.IGNORECASE)
