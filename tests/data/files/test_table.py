import io
import sys

import pytest

from glassnet.data.files.table import is_table_name, read_table
from glassnet.errors import DataError


def read(text, name="t.csv", existing=()):
    return read_table(name, text.encode() if isinstance(text, str) else text, existing.__contains__)


def test_is_table_name_looks_at_the_suffix():
    assert [name for name in ("a.csv", "A.TSV", "b/list.txt", "c.parquet", "d.xlsx", "csv") if is_table_name(name)] == [
        *("a.csv", "A.TSV", "b/list.txt", "c.parquet")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.jpg,cat\nb.jpg,dog\n",
        "label,path\ncat,a.jpg\ndog,b.jpg\n",
        "File Name;Remark;CLASS\na.jpg;x;cat\nb.jpg;;dog\n",
        "image_path\ttarget\r\na.jpg\tcat\r\nb.jpg\tdog\r\n",
        '"a.jpg","cat"\n"b.jpg","dog"',
        "a.jpg cat\nb.jpg dog\n",
        "id, species\na.jpg, cat\n\nb.jpg, dog\n,\n",
        ",file,category\n0,a.jpg,cat\n1,b.jpg,dog\n",
        "a.jpg|cat\nb.jpg|dog\n",
        "path,label\ra.jpg,cat\rb.jpg,dog\r",
        "path,label,note\na.jpg,cat\nb.jpg,dog,x\n",
    ],
)
def test_read_table_finds_the_columns(text):
    table = read(text)
    assert (table.paths, table.labels, table.splits) == (["a.jpg", "b.jpg"], ["cat", "dog"], None)


def test_read_table_takes_the_first_row_for_values_if_a_file_has_its_name():
    assert read("first,cat\nsecond,dog\n").paths == ["second"]
    assert read("first,cat\nsecond,dog\n", existing=("first",)).paths == ["first", "second"]


def test_read_table_notes_columns_without_a_known_name():
    assert read("path,label\na.jpg,cat\n").notes == ()
    (note,) = read("File,diagnosis\na.jpg,cat\n").notes
    assert note == "t.csv has its paths in column File and its labels in column diagnosis."
    (note,) = read("a.jpg,cat\nb.jpg,dog\n").notes
    assert note == "t.csv has its paths in column 1 and its labels in column 2."


def test_read_table_reads_splits():
    table = read("path,label,Split\na.jpg,cat,train\nb.jpg,dog,Validation\n")
    assert table.splits == ["train", "Validation"]


def test_read_table_keeps_delimiters_and_lines_in_quotes():
    table = read('path,label\n"a, b.jpg","cat, black"\n"c.jpg","two\nlines"\n')
    assert (table.paths, table.labels) == (["a, b.jpg", "c.jpg"], ["cat, black", "two\nlines"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_read_table_decodes(encoding):
    table = read("path,label\nä.jpg,süß\n".encode(encoding))
    assert (table.paths, table.labels) == (["ä.jpg"], ["süß"])


def test_read_table_decodes_utf_16_of_the_other_order():
    assert read(b"\xfe\xff" + "path,label\nä.jpg,süß\n".encode("utf-16-be")).labels == ["süß"]


def test_read_table_composes_labels():
    assert read("path,label\na.jpg,e\u0301te\u0301\n").labels == ["été"]


def test_read_table_reads_parquet():
    pyarrow = pytest.importorskip("pyarrow", reason="the extra hub has it")
    from pyarrow import parquet

    buffer = io.BytesIO()
    columns = {"file": ["a.jpg", "b.jpg"], "class": [3.0, 10.0], "split": ["train", "test"], "width": [1, 2]}
    parquet.write_table(pyarrow.table(columns), buffer)
    table = read(buffer.getvalue(), "t.parquet")
    assert (table.paths, table.labels, table.splits) == (["a.jpg", "b.jpg"], ["3", "10"], ["train", "test"])
    with pytest.raises(DataError, match=r"^t.parquet must be a Parquet file that can be read\. Got: .*\.$"):
        read(buffer.getvalue()[:50], "t.parquet")


def test_read_table_raises_for_parquet_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        DataError, match=r"^t.parquet must be read by pyarrow\. .* Use pip install 'glassnet\[hub\]'\.$"
    ):
        read(b"PAR1", "t.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t.csv must have rows of a path and a label\. Got none\."),
        ("\n\n", r"rows of a path and a label\. Got none\."),
        ("path,label\n", r"rows of a path and a label\. Got the names of columns alone\."),
        ("path\na.jpg\n", r"a column of paths and a column of labels\. Got path\."),
        ("path,split\na.jpg,train\n", r"a column of labels\. Got path, split\."),
        ("a.jpg\nb.jpg\n", r"a column of labels\. Got one without a name\."),
        ("path,label\na.jpg,cat\n,dog\nc.jpg\n", r"Got an empty one in 2 of 3 rows \(3, 4\)\."),
        ("path,label,split\na.jpg,cat,all\n", r"^split must be train, val or test\. Got 'all' in row 2 of t.csv\."),
        (b"PK\3\4\0\0", r"t.csv must be a table of text \(CSV or TSV, in UTF-8\), or end in .parquet\. Got other"),
        (
            "path,label\n" + "a" * 200_000 + ",cat\n",
            r"t.csv must be a table of text \(CSV or TSV\)\. Got: field larger",
        ),
    ],
)
def test_read_table_raises_for_wrong_tables(text, message):
    with pytest.raises(DataError, match=message):
        read(text)


def test_read_table_reads_past_the_first_line_for_excel():
    table = read_table("t.csv", b"sep=;\r\npath;label\r\na.png;cat\r\nb.png;dog\r\n", lambda path: False)
    assert (table.paths, table.labels) == (["a.png", "b.png"], ["cat", "dog"])


def test_read_table_raises_for_a_column_of_0_and_1_for_each_class():
    content = b"image,cat,dog\na.png,1,0\nb.png,0.0,1.0\n"
    message = (
        r"^t\.csv must have the label of each image in one column\. Got 2 columns of 0 and 1 \(cat, dog\)\. Write the "
        r"name of the class into a column named label\.$"
    )
    with pytest.raises(DataError, match=message):
        read_table("t.csv", content, lambda path: False)
    assert read_table("t.csv", b"image,score\na.png,1\nb.png,0\n", lambda path: False).labels == ["1", "0"]
    assert read_table("t.csv", b"image,label,new\na.png,1,0\nb.png,0,1\n", lambda path: False).labels == ["1", "0"]
