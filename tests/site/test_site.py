"""The checks of a built site notice every fault; `built_site.py` beside this runs them on one."""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("site_checks", HERE / "site_checks.py")
checks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checks)

browsing = pytest.mark.skipif(checks.browser() is None, reason="no browser that runs headless")


def faulty(folder):
    (folder / "other.html").write_text('<a id="here"></a>', "utf-8")
    page = folder / "index.html"
    page.write_text(
        '<a href="other.html#here">good</a><a href="other.html#there">anchor</a>'
        '<a href="none.html">page</a><img src="none.png">'
        '<script src="https://example.org/x.js"></script>'
        "<script>console.error('oh dear')</script>",
        "utf-8",
    )
    return page


def test_faults_are_found(tmp_path):
    faulty(tmp_path)
    said = "\n".join(checks.faults(tmp_path))
    assert "no such anchor" in said
    assert "none.html leads nowhere" in said
    assert "none.png is missing" in said
    assert "fetched from elsewhere" in said
    assert len(said.splitlines()) == 4


@browsing
def test_the_console_is_heard(tmp_path):
    page = faulty(tmp_path)
    text = page.read_text("utf-8") + '<span class="math">\\(x^2\\)</span>'
    page.write_text(text, "utf-8")
    said, missing = checks.opened([page, tmp_path / "other.html"], tmp_path)
    assert any("oh dear" in line for line in said)
    assert missing == {"index.html": ["no picture: none.png", "raw TeX: \\(x^2\\)"]}
