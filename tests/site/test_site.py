"""The built site: no link leads nowhere, no picture is missing, no console error in a browser.

`make docs` builds the site and runs these tests on it (JKO_SITE names the folder); without a build
they are skipped, and only what looks for the faults is tested.
"""

import importlib.util
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("site_checks", HERE / "site_checks.py")
checks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checks)

SITE = os.environ.get("JKO_SITE")
built = pytest.mark.skipif(SITE is None, reason="no built site: run `make docs`")
browsing = pytest.mark.skipif(checks.browser() is None, reason="no browser that runs headless")


@built
def test_every_link_and_picture_is_there():
    assert checks.faults(Path(SITE)) == []


@built
def test_the_site_has_what_it_promises():
    pages = {path.name for path in Path(SITE).rglob("*.html")}
    assert {"index.html", "api.html", "four_sides.html", "jko.step.html", "crowd.html"} <= pages
    assert len(pages) > 200
    gallery = (Path(SITE) / "auto_examples" / "index.html").read_text("utf-8")
    assert gallery.count("sphx-glr-thumbcontainer") >= 18


@built
@browsing
def test_pages_open_in_a_browser(tmp_path):
    """No error in the console, no picture missing, no formula left as TeX."""
    pages = [p for p in sorted(Path(SITE).rglob("*.html")) if "_modules" not in p.parts]
    pages = [p for p in pages if "_static" not in p.parts]
    assert len(pages) > 150
    said, missing = checks.opened(pages, tmp_path)
    assert said == []
    assert missing == {}


# -- the checks themselves, on a page with every fault -------------------------------------------


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
