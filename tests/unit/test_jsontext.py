"""jsontext: strict JSON in, plain JSON out; every refusal says why and where."""

import json
import os
import threading
import time

import pytest

from pyoci.errors import ConfigError
from pyoci.spec import jsontext


def refused(data, limit=jsontext.LIMIT):
    with pytest.raises(ConfigError) as caught:
        jsontext.loads(data, "c.json", limit)
    assert caught.value.where == "c.json"
    return caught.value.why


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":"\xff"}', "byte 6 is not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "byte 6 is not UTF-8"),
        (b'{"a":\n"x\0"}', "NUL byte at line 2 column 3"),
        (b'{"a":"\\u0000"}', "NUL character"),
        (b'{"\\u0000":1}', "NUL character"),
        ('{"é\\u0000":1}'.encode(), "NUL character"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"a":{"b":1,\n "b":2}}', 'the key "b" stands twice in one object: again at line 2 column 2'),
        (b'{"a":1,"a":{"b":1,"b":2}}', 'the key "a" stands twice in one object: again at line 1 column 8'),
        (b'{"a":1,"\\u0061":2}', 'the key "a" stands twice in one object: again at line 1 column 8'),
        (b"[1,\n NaN]", "NaN is not JSON at line 2 column 2"),
        (b'["NaN", -Infinity]', "-Infinity is not JSON at line 1 column 9"),
        (b"[1, " + b"9" * 41 + b"]", "more than 40 digits at line 1 column 5"),
        (b"[1e999]", "the number 1e999 is out of range at line 1 column 2"),
        (b"{}x", "something follows the document at line 1 column 3"),
        (b"{}\n{}", "something follows the document at line 2 column 1"),
        (b'{"a":1,}', "line 1 column "),  # Python 3.13 points at the comma, those before at what follows
        (b'{"a" 1}', "line 1 column 6"),
        (b"[1,2", "line 1 column 5"),
        (b'"a\nb"', "invalid control character at line 1 column 3"),
        (b'["a', "unterminated string starting at line 1 column 2"),
        (b"'a'", "no value at line 1 column 1"),
        (b"\n{a:1}", "line 2 column 2"),
        (b"[1 2]", "line 1 column 4"),
        (b'"\\x"', "invalid \\escape at line 1 column 2"),
        (b"01", "something follows the document at line 1 column 2"),
        (b"// hi\n{}", "no value at line 1 column 1"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused_with_its_place(data, why):
    assert why in refused(data)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_is_limited_and_the_bracket_named(opening):
    closing = {"[": "]", '{"a":': "}"}[opening]
    deep = jsontext.DEPTH
    jsontext.loads((opening * deep + "1" + closing * deep).encode(), "c.json")
    column = len(opening) * deep + 1
    too_deep = (opening * (deep + 1) + "1" + closing * (deep + 1)).encode()
    assert f"nested deeper than {deep} levels at line 1 column {column}" in refused(too_deep)
    assert "nested deeper" in refused((opening * 200_000).encode())


def test_many_brackets_side_by_side_are_not_deep():
    assert len(jsontext.loads(b"[" + b"[[]]," * 1000 + b"[]]", "c.json")) == 1001
    assert jsontext.loads(json.dumps(["[" * 500]).encode(), "c.json") == ["[" * 500]


def test_size_is_limited():
    assert jsontext.loads(b"[1234]", "c.json", 6) == [1234]
    assert "larger than 5 bytes" in refused(b"[1234]", 5)


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert jsontext.loads(rb'["\\u0000"]', "c.json") == [r"\u0000"]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2, 2.5, True, False, None, 'x"\\\n\té\u2028😀'], "b": {}, "c": []},
        [],
        "x",
        18446744073709551615,
        -9223372036854775808,
    ],
)
@pytest.mark.parametrize("indent", [0, 2, 4])
def test_what_is_written_reads_back_equal_here_and_in_json(value, indent):
    text = jsontext.dumps(value, indent)
    assert jsontext.loads(text.encode(), "x") == value
    assert json.loads(text) == value
    if indent:
        assert text == json.dumps(value, indent=indent, ensure_ascii=False)


def test_a_surrogate_pair_is_one_character():
    assert jsontext.loads(rb'["\ud83d\ude00"]', "x") == ["😀"]


def test_bytes_of_a_path_that_are_no_text_read_back_where_they_may_stand():
    text = jsontext.dumps(["/b\udcff\udc80"]).encode("utf-8", "backslashreplace")
    assert jsontext.loads(text, "x", undecoded=True) == ["/b\udcff\udc80"]
    assert "lone surrogate" in refused(text)
    for escape in (rb"\ud800", rb"\udc7f", rb"\udd00"):
        with pytest.raises(ConfigError) as caught:
            jsontext.loads(b'["' + escape + b'"]', "x", undecoded=True)
        assert "lone surrogate" in caught.value.why


def test_read_file_takes_regular_files_only(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"{}")
    assert jsontext.read_file(str(file), "f") == b"{}"
    with pytest.raises(ConfigError, match="not a regular file"):
        jsontext.read_file(str(tmp_path), "f")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="not a regular file"):  # and does not wait for a writer
        jsontext.read_file(str(tmp_path / "fifo"), "f")
    with pytest.raises(FileNotFoundError):
        jsontext.read_file(str(tmp_path / "none"), "f")
    with pytest.raises(ConfigError) as caught:
        jsontext.read_file(str(file), "f", 1)
    assert "larger than 1 bytes" in caught.value.why
    with pytest.raises(ConfigError) as caught:
        jsontext.read_file(str(file / "below"), "f")
    assert caught.value.why == "not a directory"


def test_a_pipe_or_fifo_is_read_to_its_end_where_it_may_be_one(tmp_path):
    ours, theirs = os.pipe()
    os.write(theirs, b"[1]")
    os.close(theirs)
    with open(ours, "rb"):  # whose writer has ended already
        assert jsontext.read_file(f"/dev/fd/{ours}", "f", pipe=True) == b"[1]"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def write():
        time.sleep(0.05)
        with open(fifo, "wb") as file:
            file.write(b"[2,")
            file.flush()
            time.sleep(0.05)
            file.write(b"3" * 100_000 + b"]")

    writer = threading.Thread(target=write)
    writer.start()
    assert jsontext.read_file(str(fifo), "f", pipe=True) == b"[2," + b"3" * 100_000 + b"]"
    writer.join()
    with pytest.raises(ConfigError, match="not a regular file"):
        jsontext.read_file(str(tmp_path), "f", pipe=True)


def test_a_pipe_without_an_end_is_read_to_the_limit():
    ours, theirs = os.pipe()
    with open(ours, "rb"), open(theirs, "wb", buffering=0) as file:
        file.write(b" " * 5000)
        with pytest.raises(ConfigError) as caught:
            jsontext.read_file(f"/dev/fd/{ours}", "f", 4000, pipe=True)
    assert "larger than 4000 bytes" in caught.value.why
