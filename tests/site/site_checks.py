"""Checks of a built site: links and pictures by reading the pages, the rest by a browser."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Seconds after which a browser is given up.
SECONDS = 480


class _Page(HTMLParser):
    """The links, the files and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.files: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[k] for k in ("id", "name") if given.get(k)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("img", "script", "source", "video") and given.get("src"):
            self.files.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon") and given.get("href"):
            self.files.append(given["href"])


def read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def faults(site: Path) -> list[str]:
    """Links to pages or anchors that are not there, files that are missing, remote scripts."""
    pages = {
        path: read(path) for path in sorted(site.rglob("*.html")) if "_static" not in str(path)
    }
    found = []
    for path, page in pages.items():
        where = path.relative_to(site)
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{where}: {link} leads nowhere")
            elif target in pages and parts.fragment:
                known = {"", *pages[target].anchors}
                if unquote(parts.fragment) not in known:
                    found.append(f"{where}: {link} has no such anchor")
        for file in page.files:
            parts = urlsplit(file)
            if parts.scheme in ("http", "https") or parts.netloc:
                found.append(f"{where}: {file} is fetched from elsewhere")
            elif parts.scheme != "data" and not (path.parent / unquote(parts.path)).exists():
                found.append(f"{where}: {file} is missing")
    return found


def browser() -> str | None:
    """A browser that runs without a window."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def opened(pages: list[Path], folder: Path) -> tuple[list[str], dict[str, list[str]]]:
    """What the console says of pages, and what is missing on them once their scripts have run.

    A page of our own shows them one after the other and looks: pictures without a size, formulas
    that are still TeX.
    """
    name = browser()
    assert name is not None
    show = folder / "show.html"
    addresses = json.dumps([path.resolve().as_uri() for path in pages])
    show.write_text(_SHOW.replace("ADDRESSES", addresses), "utf-8")
    command = [name, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--allow-file-access-from-files", "--disable-web-security"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=900000"]
    run = subprocess.run(
        [*command, "--dump-dom", show.resolve().as_uri()],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    said = [line for line in run.stderr.splitlines() if re.search(r"CONSOLE[:(]", line)]
    written = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.S)
    assert written is not None, f"the browser did not come to the end: {run.stderr[-2000:]}"
    found: dict[str, list[str]] = json.loads(html.unescape(written[1]))
    assert len(found) == len(pages)
    return said, {Path(unquote(urlsplit(k).path)).name: v for k, v in found.items() if v}


_SHOW = """<!doctype html><meta charset="utf-8"><body><script>
const found = {};
const wait = (ms) => new Promise((go) => setTimeout(go, ms));
async function look(address) {
  const frame = document.createElement("iframe");
  frame.width = 1200; frame.height = 900; frame.src = address;
  const loaded = new Promise((go) => { frame.onload = go; });
  document.body.appendChild(frame);
  await loaded;
  const page = frame.contentDocument, said = [];
  for (const image of page.images) image.loading = "eager";
  const raw = ".math:not(:has(mjx-container))";
  for (let i = 0; i < 50 && page.querySelector(raw); i++) await wait(100);
  for (const image of page.images) {
    for (let i = 0; i < 20 && !image.complete; i++) await wait(50);
    if (!image.naturalWidth) said.push("no picture: " + image.getAttribute("src"));
  }
  for (const math of page.querySelectorAll(raw))
    said.push("raw TeX: " + math.textContent.slice(0, 60));
  frame.remove();
  found[address] = said;
}
(async () => {
  for (const address of ADDRESSES) await look(address);
  const out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.appendChild(out);
})();
</script>"""
