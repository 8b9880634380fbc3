import json
from pathlib import Path

import pytest

from glassnet.data import load_data
from glassnet.errors import ConfigError, DataError


@pytest.mark.parametrize("name", ["no/such/thing", "", "mnist", "a\0b"])
def test_load_data_raises_for_unknown_sources(name):
    with pytest.raises(
        DataError, match=r"source must be digits, fashion-mnist, a readable folder .*\(owner/name\)\. Got .*\.$"
    ):
        load_data(name)


def test_load_data_names_the_closest_source():
    with pytest.raises(DataError, match=r"Got 'digit'; did you mean 'digits'\?$"):
        load_data("digit")
    with pytest.raises(DataError, match=r"Got 'fashion_mnist'; did you mean 'fashion-mnist'\?$"):
        load_data("fashion_mnist")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no /dev/null here")
def test_load_data_raises_for_a_device():
    with pytest.raises(DataError, match="Got '/dev/null'."):
        load_data("/dev/null")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 16}, r"image_size must be \(8, 8\), as the images of 'digits' have it; .* Got \(16, 16\)\."),
        ({"image_size": 0}, "image_size must be a side or .*, each at least 1. Got 0."),
        ({"image_size": (8, -1)}, r"image_size must be .* Got \(8, -1\)\."),
        ({"image_size": (8, 8, 1)}, r"image_size must be .* Got \(8, 8, 1\)\."),
        ({"samples": 0}, "samples must be an integer of at least 1. Got 0."),
        ({"samples": 9}, "samples must be from 10, .* Got 9."),
        ({"test_samples": 0}, "test_samples must be an integer of at least 1 or 'all'. Got 0."),
        ({"test_samples": "many"}, "test_samples must be an integer of at least 1 or 'all'. Got 'many'."),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295. Got -1."),
        (
            {"channels": 3},
            "channels must be 1, as the images of 'digits' have it; only a folder's images are converted. Got 3.",
        ),
        ({"test_size": 1.1}, "test_size must be above 0 and at most 1. Got 1.1."),
        ({"test_size": "half"}, "test_size must be above 0 and at most 1. Got 'half'."),
        ({"max_unreadable": None}, "max_unreadable must be from 0 to 1. Got None."),
        ({"max_unreadable": 1.5}, "max_unreadable must be from 0 to 1. Got 1.5."),
        ({"fit": "fill"}, "fit must be one of crop, pad, squash. Got 'fill'."),
        ({"value_range": (1, 1)}, r"value_range must be two finite numbers, the lower one first. Got \(1, 1\)."),
        ({"value_range": 3}, "value_range must be two finite numbers, the lower one first. Got 3."),
        ({"value_range": "ab"}, "value_range must be two finite numbers, the lower one first. Got 'ab'."),
        ({"max_pixels": 0}, "max_pixels must be an integer of at least 1. Got 0."),
        ({"max_pixels": "many"}, "max_pixels must be an integer of at least 1. Got 'many'."),
        ({"classes": "cats"}, "classes must be a list of different names. Got 'cats'."),
        ({"classes": []}, r"classes must be a list of different names. Got \[\]."),
        ({"classes": ["a", "a"]}, r"classes must be a list of different names. Got \['a', 'a'\]."),
        ({"classes": [0, 1]}, r"classes must be a list of different names. Got \[0, 1\]."),
    ],
)
def test_load_data_raises_for_wrong_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        load_data("digits", **options)


def test_source_is_json():
    data = load_data("digits", image_size=8, samples=100)
    assert load_data(**json.loads(json.dumps(data.source))).fingerprint == data.fingerprint
