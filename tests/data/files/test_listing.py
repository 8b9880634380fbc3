import pytest

from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.listing import is_system_name, list_members, name_some, printable


@pytest.mark.parametrize(
    "name", [".DS_Store", "._1.jpg", "Thumbs.db", "THUMBS.DB", "@eaDir", "$RECYCLE.BIN", "__MACOSX"]
)
def test_is_system_name_knows_hidden_and_system_files(name):
    assert is_system_name(name)
    assert not is_system_name(f"a{name}")


def test_list_members_sorts_and_leaves_out_system_files():
    names = ["b/2", "b.x", "a", "__MACOSX/b/._2", "__MACOSX/x", "b/.x/y", "b/1"]
    listing = list_members([ImageFile(name, bytes) for name in names])
    assert [file.name for file in listing.files] == ["a", "b/1", "b/2", "b.x"]
    assert listing.system_files == ["__MACOSX", "b/.x"]


def test_name_some_names_three():
    assert name_some(["a"]) == "a"
    assert name_some(["a", "b", "c"]) == "a, b, c"
    assert name_some(["a", "b", "c", "d"]) == "a, b, c, ..."


def test_printable_replaces_what_controls_a_terminal_or_is_not_utf8():
    assert printable("a\x1b[2J\n\udcff.png") == "a?[2J??.png"
    assert printable("große\u3000猫.png") == "große\u3000猫.png"
    assert name_some(["a\nb"]) == "a?b"
