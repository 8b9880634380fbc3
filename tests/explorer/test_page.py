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
    assert {path.stem for path in (FOLDER / folder).glob("*.js")} <= set(names)
    assert len(names) == len(set(names))


def test_page_policy_allows_its_own_scripts_alone() -> None:
    html = render_page("A run", b"bytes")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    allowed = re.findall("sha256-([^&]*)&#39;", policy[1])
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for _, script in SCRIPT.findall(html)
    ]
    assert digests == allowed
    assert len(digests) == len(PAGE) + 2
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


def top_level_names(source: str) -> list[str]:
    plain = re.findall(r"^(?:async )?(?:const|let|class|function\*?) ([\w$]+)", source, re.MULTILINE)
    unpacked = re.findall(r"^(?:const|let) [{\[]([^}\]]*)[}\]] =", source, re.MULTILINE)
    return plain + [name.split(":")[-1].strip() for names in unpacked for name in names.split(",")]


@pytest.mark.parametrize("sources", [[engine_source()], list(page_scripts().values())], ids=["worker", "page"])
def test_scripts_that_share_a_scope_declare_a_name_once(sources: list[str]) -> None:
    names = [name for source in sources for name in top_level_names(source)]
    assert len(names) > 40
    assert not {name for name in names if names.count(name) > 1}
