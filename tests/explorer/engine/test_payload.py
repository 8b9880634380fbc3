"""The page's reading of safetensors."""

import base64

import numpy as np
import pytest
from safetensors.numpy import save

from ..javascript import JavaScriptError

READ = """
    const {metadata, tensors} = readSafetensors(Uint8Array.from(Buffer.from(bytes, "base64")).buffer);
    const members = ({dtype, shape, data}) => [dtype, shape, data, data.constructor.name];
    return {metadata, tensors: mapValues(tensors, members)};
"""


def test_read_safetensors_gives_every_dtype_shape_and_number(javascript):
    tensors = {
        "a": np.arange(3, dtype=np.uint8),  # an odd number of bytes before the next
        "b": np.array([[0.1, -0.0, np.inf], [np.nan, 5e-324, 1e308]]),
        "c": np.array(-7, np.int64),
        "d": np.array([[65535, 1]], np.uint16),
        "e": np.array([4294967295], np.uint32),
        "f": np.float32([0.5, -1.25]),
        "g": np.zeros((0, 4)),
        "h": np.array([-(2**31)], np.int32),
    }
    answer = javascript(READ, bytes=base64.b64encode(save(tensors, {"note": "ä"})).decode())
    assert answer["metadata"] == {"note": "ä"}
    assert answer["tensors"].keys() == tensors.keys()
    for name, array in tensors.items():
        dtype, shape, data, kind = answer["tensors"][name]
        assert dtype == {"u": "U", "i": "I", "f": "F"}[array.dtype.kind] + str(array.dtype.itemsize * 8)
        assert kind.lower() == ("int32array" if dtype == "I64" else f"{array.dtype}array")
        assert tuple(shape) == array.shape
        np.testing.assert_array_equal(data, array.ravel())


def test_read_safetensors_refuses_a_dtype_that_it_does_not_know(javascript):
    content = save({"half": np.float16([1])})
    with pytest.raises(JavaScriptError, match=r"^dtype of half must be one of F64, .*\. Got F16\.$"):
        javascript(READ, bytes=base64.b64encode(content).decode())


def test_open_payload_sorts_tensors_by_the_first_part_of_their_names(javascript):
    tensors = {
        "images.train": np.zeros((2, 1, 3, 3), np.uint8),
        "labels.train": np.array([1, 0]),
        "weights.layer1.0.conv1.weight": np.ones((1, 1, 3, 3)),
        "normals.42": np.ones(4),
        "order.42": np.zeros((1, 2), np.uint16),
    }
    content = save(tensors, {"glassnet": '{"version": 1}'})
    payload = javascript(
        "return openPayload(Uint8Array.from(Buffer.from(bytes, 'base64')).buffer);",
        bytes=base64.b64encode(content).decode(),
    )
    assert payload["config"] == {"version": 1}
    assert payload["weights"]["layer1.0.conv1.weight"]["shape"] == [1, 1, 3, 3]
    np.testing.assert_array_equal(payload["labels"]["train"]["data"], [1, 0])
    assert {group: list(members) for group, members in payload.items() if group != "config"} == {
        "images": ["train"],
        "labels": ["train"],
        "weights": ["layer1.0.conv1.weight"],
        "normals": ["42"],
        "order": ["42"],
    }
