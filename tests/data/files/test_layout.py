import pytest

from glassnet.data.files.layout import read_layout, split_role
from glassnet.errors import DataError


def layout(*names, empty=(), known=()):
    return read_layout("DATA", names, [name.endswith(".jpg") for name in names], empty, known)


@pytest.mark.parametrize(
    ("word", "role"),
    [
        *[(word, "train") for word in ("train", "Training", "TRAIN", "train_set", "training-data", "trainset")],
        *[(word, "val") for word in ("val", "Valid", "validation", "val images", "Validation_Set")],
        *[(word, "test") for word in ("test", "Testing", "test_images", "testdata", " test ")],
        *[(word, None) for word in ("", "cats", "contest", "tests", "trainer", "evaluation", "images", "set")],
    ],
)
def test_split_role_knows_words_in_any_case(word, role):
    assert split_role(word) == role


def test_read_layout_follows_folders_to_any_depth():
    found = layout(
        "a/b/cats/1.jpg", "a/b/cats/x/y/z/2.jpg", "a/b/dogs/3.jpg", "a/b/4.jpg", "a/README", "a/b/dogs/3.json"
    )
    assert found.labels == ["cats", "cats", "dogs", None, None, "dogs"]
    assert found.splits == [None] * 6


def test_read_layout_keeps_a_folder_that_is_a_known_class():
    names = ("cats/small/1.jpg", "cats/large/2.jpg")
    assert layout(*names).labels == ["small", "large"]
    assert layout(*names, known=("CATS", "dogs")).labels == ["cats", "cats"]


def test_read_layout_takes_files_for_images_where_none_has_such_a_name():
    assert layout("cats/1", "cats/x/2", "dogs/3").labels == ["cats", "cats", "dogs"]
    assert layout("w/cats/1", "w/dogs/3", "LICENSE").labels == ["cats", "dogs", None]


def test_read_layout_finds_splits_in_each_position():
    assert layout("train/cats/1.jpg", "train/dogs/2.jpg", "Val/cats/3.jpg").splits == ["train", "train", "Val"]
    found = layout("cats/train/1.jpg", "cats/test/2.jpg", "dogs/train/3.jpg", "dogs/notes.txt", "dogs/old/4.txt")
    assert found.labels == ["cats", "cats", "dogs", None, None]
    assert found.splits == ["train", "test", "train", None, None]


def test_read_layout_takes_a_folder_of_images_for_a_class_whatever_its_name():
    assert layout("train/1.jpg", "plane/2.jpg").labels == ["train", "plane"]
    assert layout("train/1.jpg", "test/2.jpg").labels == [None, None]
    assert layout("train/1.jpg", "train/2.jpg", "train/old/3.jpg", "plane/4.jpg").labels == ["train"] * 3 + ["plane"]


def test_read_layout_takes_train_for_a_split_in_spite_of_a_few_images_in_it():
    names = [f"train/{name}/{number}.jpg" for name in ("cats", "dogs") for number in range(3)]
    found = layout(*names, "train/overview.jpg")
    assert found.labels == ["cats"] * 3 + ["dogs"] * 3 + [None]


def test_read_layout_passes_a_single_folder_inside_a_split_but_not_a_class():
    found = layout("train/images/cats/1.jpg", "train/images/dogs/2.jpg", "test/Cats/a/3.jpg", "test/Cats/b/4.jpg")
    assert found.labels == ["cats", "dogs", "Cats", "Cats"]


def test_read_layout_returns_empty_class_folders_to_train_on():
    assert layout("cats/1.jpg", "dogs/2.jpg", empty=["fish", "cats/old"]).empty == ["fish"]
    found = layout("train/cats/1.jpg", "train/dogs/2.jpg", "test/cats/3.jpg", empty=["train/fish", "test/dogs", "more"])
    assert found.empty == ["train/fish"]


def test_read_layout_notes_classes_that_look_like_splits():
    (note,) = layout("cats/1.jpg", "dogs/2.jpg", "test/3.jpg", "train/4.jpg").notes
    assert note.startswith("Taken for classes, as there are images and no class folders in them: test, train.")
    (note,) = layout("part1/a/1.jpg", "part1/b/2.jpg", "part2/a/3.jpg", "part2/b/4.jpg").notes
    assert note.startswith("part1, part2 are taken for classes, and each has the folders a, b.")
    assert layout("cats/a/1.jpg", "cats/b/2.jpg", "dogs/a/3.jpg", "dogs/c/4.jpg").notes == ()
    assert layout("cats/2024/1.jpg", "dogs/2024/2.jpg").notes == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("train/a/1.jpg", "train/b/2.jpg", "more/3.jpg"),
            "no folders of images but train, val and test where .* Got more beside train. Move",
        ),
        (("train/a/1.jpg", "Training/b/2.jpg"), r"DATA must have one folder for train\. Got train and Training\.$"),
        (("a/train/1.jpg", "b/2.jpg"), r"in each of the class folders or in none\. Got them in a, but not in b\.$"),
    ],
)
def test_read_layout_raises_for_folders_that_contradict_each_other(names, message):
    with pytest.raises(DataError, match=message):
        layout(*names)
