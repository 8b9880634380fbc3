"""The files of a bundle."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from glassnet.verify.golden.bundle_files import write_tensors


def test_write_tensors_stores_any_memory_order_and_aligns_every_tensor(tmp_path: Path) -> None:
    arrays = {
        "inputs/pixels": np.arange(3, dtype=np.uint8),  # 3 bytes, after which nothing would be aligned
        "train/loss": np.array(0.5),
        "train/activations/conv1": np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        "inputs/labels": np.arange(5).astype(">i8"),
    }
    shapes = {name: (array.shape, array.dtype.newbyteorder("=")) for name, array in arrays.items()}
    files, together = write_tensors(tmp_path, shapes, arrays.items())
    content = (tmp_path / together["file"]).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    stored = load_file(tmp_path / together["file"])
    for name, array in arrays.items():
        assert (8 + length + header[name]["data_offsets"][0]) % array.itemsize == 0, name
        np.testing.assert_array_equal(stored[name], array)
        np.testing.assert_array_equal(np.load(tmp_path / files[name]["file"]), array)
        assert np.load(tmp_path / files[name]["file"]).flags.c_contiguous
