"""The built site: no link leads nowhere, no picture is missing, no console error in a browser.

`make docs` builds the site and runs this file on it (JKO_SITE names the folder): it is no test of
the package, and `make test`, which builds no site, does not collect it.
"""

import importlib.util
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("site_checks", HERE / "site_checks.py")
checks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checks)

SITE = os.environ["JKO_SITE"]
browsing = pytest.mark.skipif(checks.browser() is None, reason="no browser that runs headless")


def test_every_link_and_picture_is_there():
    assert checks.faults(Path(SITE)) == []


def test_the_site_has_what_it_promises():
    pages = {path.name for path in Path(SITE).rglob("*.html")}
    assert {"index.html", "api.html", "four_sides.html", "jko.step.html", "crowd.html"} <= pages
    assert len(pages) > 200
    gallery = (Path(SITE) / "auto_examples" / "index.html").read_text("utf-8")
    assert gallery.count("sphx-glr-thumbcontainer") >= 18


@browsing
def test_pages_open_in_a_browser(tmp_path):
    """No error in the console, no picture missing, no formula left as TeX."""
    pages = [p for p in sorted(Path(SITE).rglob("*.html")) if "_modules" not in p.parts]
    pages = [p for p in pages if "_static" not in p.parts]
    assert len(pages) > 150
    said, missing = checks.opened(pages, tmp_path)
    assert said == []
    assert missing == {}
