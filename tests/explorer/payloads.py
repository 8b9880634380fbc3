"""The data of a live page, read back as the page reads it."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

Contents = tuple[dict[str, Any], dict[str, np.ndarray]]


def read_payload(content: bytes) -> Contents:
    """Return the configuration and the tensors."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return json.loads(header["__metadata__"]["glassnet"]), load(content)


def read_page(path: Path) -> Contents:
    """Return the configuration and the tensors that a page has."""
    found = re.search(r'id="payload">"([^"]*)"</script>', path.read_text(encoding="utf-8"))
    assert found is not None
    return read_payload(zlib.decompress(base64.b64decode(found[1])))
