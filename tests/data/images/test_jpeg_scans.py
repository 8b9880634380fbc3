import io
import re
import time

from PIL import Image

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.image_form import MAX_PIXELS
from glassnet.data.images.jpeg_scans import has_too_many_scans
from glassnet.data.images.scan import scan_images


def jpeg(**options):
    content = io.BytesIO()
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 20).save(content, "JPEG", progressive=True, **options)
    return content.getvalue()


def n_scans(data):
    return next(n for n in range(1000) if not has_too_many_scans(data, 16, n))  # the limit is then n scans


def repeat_last_scan(data, count):
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def test_has_too_many_scans_counts_the_scans_of_one_image():
    whole = jpeg()
    expected = len(re.findall(b"\xff\xda", whole))
    assert n_scans(whole) == expected > 4
    assert n_scans(repeat_last_scan(whole, 50)) == expected + 50
    assert n_scans(whole + 99 * whole) == expected  # other images behind it
    assert n_scans(jpeg(comment=b"\xff\xda" * 99)) == expected
    assert n_scans(jpeg(exif=b"Exif\0\0" + whole)) == expected  # a preview
    hidden = whole[:2] + b"\xff\xfe\0\x04\xff\xd9" + whole[2:]  # a comment that holds the end of an image
    assert n_scans(repeat_last_scan(hidden, 50)) == expected + 50


def test_scan_images_refuses_a_jpeg_that_would_take_minutes():
    content = io.BytesIO()
    Image.new("L", (4000, 4000), 128).save(content, "JPEG", progressive=True)
    bomb = repeat_last_scan(content.getvalue(), 2000)
    start = time.perf_counter()
    scanned = scan_images([ImageFile("a.jpg", lambda: bomb), ImageFile("b.jpg", content.getvalue)], MAX_PIXELS)
    assert time.perf_counter() - start < 5
    assert [image.problem for image in scanned] == ["too many scans for a JPEG of its size", None]
