"""Bad input to the demos: one clear sentence each, before anything runs."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import jko

DEMOS = Path(__file__).parents[2] / "demos"


@pytest.fixture
def ift(monkeypatch):
    """The module of the main demo."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(DEMOS))
    return importlib.import_module("ift")


@pytest.fixture
def own(ift):
    """The reader of the user's files: text -> Data."""
    module = importlib.import_module("_data")

    def read(path, columns=None):
        return module.own(str(path), columns, np.random.default_rng(0))

    return read


REFUSED = {
    "empty": ("", "holds no rows"),
    "blank lines": ("\n\n , \n", "holds no rows"),
    "header only": ("a,b\n", "has a header and no rows"),
    "one column": ("a\n1\n2\n", "has 1 numeric columns, and the demo needs two"),
    "text": ("a,b\nx,y\nz,w\n", "has 0 numeric columns"),
    "ragged": ("a,b\n1,2\n3,4,5\n", "line 3: 3 columns where the first line has 2"),
    "missing value": ("a,b\n1,2\n3,\n5,6\nnan,8\n", r"has 2 rows with missing .*\(lines 3, 5\)"),
    "infinite": ("1,2\n3,inf\n", r"has 1 rows with missing or infinite values \(lines 2\)"),
    "word among numbers": ("a,b\n1,2\n3,four\n", "line 3: 'four' in 'b' is not a number"),
    "constant": ("a,b\n1,2\n1,3\n1,4\n", "column 'a' of .* does not vary"),
    "one row": ("1,2\n", "does not vary"),
    "unclosed quote": ('a,b\n1,"2\n', "is not a table of text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_refused(own, tmp_path, case):
    text, message = REFUSED[case]
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(jko.InvalidArgument, match=message) as caught:
        own(path)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files(own, tmp_path):
    with pytest.raises(jko.InvalidArgument, match=r"cannot read .*: No such file"):
        own(tmp_path / "nowhere.csv")
    with pytest.raises(jko.InvalidArgument, match=r"cannot read .*: Is a directory"):
        own(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe" * 20)
    with pytest.raises(jko.InvalidArgument, match="is not a table of text"):
        own(tmp_path / "picture.png")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "name,x,y\n"])
def test_files_read(own, tmp_path, separator, header):
    """Separators, a header or none, a byte-order mark, text in columns that are not used."""
    x = np.random.default_rng(1).normal(size=(12, 2)) * [1, 5] + 3
    lines = "".join(f"row{i},{a!r},{b!r}\n" for i, (a, b) in enumerate(x.tolist()))
    path = tmp_path / "data.csv"
    path.write_text("\ufeff" + (header + lines).replace(",", separator), encoding="utf-8")
    data = own(path)
    np.testing.assert_allclose(data.points, (x - x.mean(0)) / x.std(0), atol=1e-12)
    assert data.names == (("x", "y") if header else ("column 1", "column 2"))
    swapped = own(path, [data.names[1], "1"])
    np.testing.assert_allclose(swapped.points, data.points[:, ::-1])


def test_unknown_columns(own, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("height,weight\n1,2\n3,5\n", encoding="utf-8")
    with pytest.raises(jko.InvalidArgument, match=r"'hight' is unknown; .* such as 'height'"):
        own(path, ["hight", "weight"])
    with pytest.raises(jko.InvalidArgument, match="index from 0 to 1"):
        own(path, ["0", "2"])
    with pytest.raises(jko.InvalidArgument, match="both 'height'"):
        own(path, ["height", "0"])


def test_many_rows_are_thinned(own, tmp_path):
    path = tmp_path / "data.csv"
    rows = np.random.default_rng(0).normal(size=(1500, 2))
    np.savetxt(path, rows, delimiter=",")
    data = own(path)
    assert data.points.shape == (1000, 2)
    assert data.title.startswith("1000 of 1500 rows")


OPTIONS = {
    "unknown feature": (["--features", "flavanoid", "hue"], "such as 'flavanoids'"),
    "feature out of range": (["--features", "0", "13"], "index from 0 to 12"),
    "one feature twice": (["--features", "hue", "10"], "both 'hue'"),
    "columns without data": (["--columns", "a", "b"], "--columns goes with --data"),
    "features with data": (["--data", "x.csv", "--features", "0", "1"], "goes with the wine data"),
    "no steps": (["--steps", "0"], "--steps: 0 is too small; pass 1 or more"),
    "fractional steps": (["--steps", "1.5"], "--steps: invalid whole number value: '1.5'"),
    "negative seed": (["--seed", "-1"], "--seed: -1 is too small"),
    "one particle": (["--particles", "1"], "--particles: 1 is too small"),
    "unknown option": (["--step", "3", "--colour"], "unrecognized arguments: --colour"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_refused(ift, tmp_path, case):
    pytest.importorskip("sklearn")
    argv, message = OPTIONS[case]
    with pytest.raises(jko.InvalidArgument, match=message):
        ift.main([*argv, "--out", str(tmp_path)])


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(ift, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(jko.InvalidArgument, match=r"cannot write figures to"):
            ift.main(["--out", str(out)])


def test_own_data_end_to_end(ift, tmp_path, capsys):
    """A small file with duplicated rows runs through, bound and all."""
    x = np.random.default_rng(2).normal(size=(30, 2))
    np.savetxt(tmp_path / "points.csv", np.r_[x, x[:5]], delimiter=";", header="u;v", comments="")
    argv = ["--data", str(tmp_path / "points.csv"), "--particles", "20", "--steps", "6"]
    assert ift.main([*argv, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "35 rows of" in printed
    assert "u and v" in printed
    assert "(c) under its bound at every step: yes" in printed
    assert (tmp_path / "ift.png").exists()
