import numpy as np

from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.labeled_files import LabeledFiles
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.scan import ScannedImage, Scans
from glassnet.data.load_notes import note_form, note_labels, note_other_files
from glassnet.data.selection import Images
from glassnet.data.splitting import content_hash, pack_hashes


def images_of(contents, labels, sizes=None, **scan):
    hashes = [content_hash(content.encode()) for content in contents]
    sizes = sizes or [(6, 6)] * len(hashes)
    scans = Scans.of(ScannedImage(digest, size, **scan) for digest, size in zip(hashes, sizes, strict=True))
    files = [ImageFile(f"{number}.jpg", bytes) for number in range(len(hashes))]
    return Images(files, np.array(labels), pack_hashes(hashes), scans)


def test_note_other_files_counts_files_and_classes_without_images():
    files = [ImageFile(name, bytes) for name in ("a/1.jpg", "a/1.xml", "b/2.xml", "b/3.xml")]
    scans = Scans.of([ScannedImage(bytes(16), (6, 6)), *[ScannedImage(b"", is_image=False)] * 3])
    labeled = LabeledFiles(files, ["a", "a", "b", "b"], [None] * 4, None, ["Thumbs.db"], ())
    assert note_other_files(labeled, scans) == [
        "Files that are no images were left out: 4 (Thumbs.db, a/1.xml, b/2.xml, ...).",
        "Classes without an image were left out: 1 (b).",
    ]
    assert note_other_files(LabeledFiles(files[:1], ["a"], [None], None, [], ()), scans[:1]) == []


def test_note_labels_counts_contents_with_two_labels():
    images = images_of("xyxyzxu", [0, 1, 0, 0, 1, 1, 2])
    assert note_labels(images, ["a", "b", "c"]) == [
        "Images with two labels, 2 in all: 1.jpg (b) and 3.jpg (a); 0.jpg (a) and 5.jpg (b)."
    ]
    assert note_labels(images_of("xxy", [0, 0, 1]), ["a", "b"]) == []


def test_note_labels_names_classes_that_differ_in_case():
    (note,) = note_labels(images_of("xy", [0, 1]), ["A", "a", "b"])
    assert note == "Classes whose names differ in case only are kept apart: A, a."


def test_note_form_notes_a_crop_of_more_than_a_fifth():
    for sizes, target, cut in (
        ([(10, 20), (10, 10)], (5, 5), "25%"),
        ([(20, 10), (20, 10)], (5, 5), "50%"),
        ([(10, 12), (10, 12)], (5, 5), None),
        ([(10, 20), (10, 20)], (5, 10), None),
        ([(10, 10), (0, 10)], (10, 20), "25%"),
    ):
        train = images_of("xy", [0, 1], sizes)
        notes = note_form(train, ImageForm(target, 3), ink=False)
        assert bool(notes) == bool(cut)
        assert not cut or f"cuts away {cut} of the pixels of a training image on average." in notes[0]
        assert note_form(train, ImageForm(target, 3, "pad"), ink=False) == []
        assert note_form(train, ImageForm(target, 3), ink=True) == []


def test_note_form_notes_the_range_of_deep_images():
    form = ImageForm((6, 6), 1, value_range=(291.0, 694.0))
    (note,) = note_form(images_of("x", [0], is_deep=True), form, ink=False)
    assert note.endswith("by one range of values: 291 becomes 0 and 694 becomes 255.")
    assert note_form(images_of("x", [0]), form, ink=False) == []


def test_note_form_names_images_in_colour_that_lose_bits():
    train = images_of("xyz", [0, 1, 1], loses_bits=True)
    assert note_form(train, ImageForm((6, 6), 3), ink=False) == [
        "16-bit images in colour are read as the upper 8 bits of each value, as Pillow does: 3 (0.jpg, 1.jpg, 2.jpg)."
    ]
