"""The code in the README and on the pages of the documentation runs and prints what it says."""

import importlib.util
import inspect
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]

spec = importlib.util.spec_from_file_location("run_blocks", ROOT / "docs" / "run_blocks.py")
run_blocks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_blocks)


#: Its blocks run one by one, each in a namespace of its own.
FOUR = "docs/four_sides.md"


def printed_as_said(blocks) -> None:
    for block, printed in blocks:
        expected = block["output"] or ""
        assert run_blocks.agree(expected, printed), f"{expected}\n--- but it prints ---\n{printed}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != FOUR])
def test_blocks_print_what_the_page_says(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    here = os.getcwd()
    printed_as_said(run_blocks.run(text))
    assert os.getcwd() == here


def test_the_readme_has_its_example():
    """Twelve lines of code with their output."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = run_blocks.BLOCK.finditer(text)
    assert len([line for line in block["code"].splitlines() if line.strip()]) <= 12
    assert "certified minimum by" in block["output"]


def test_four_scripts_of_ten_lines_each_end_in_a_figure():
    plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    plt.switch_backend("agg")
    text = (ROOT / FOUR).read_text(encoding="utf-8")
    blocks = list(run_blocks.BLOCK.finditer(text))
    assert len(blocks) == 4
    for block in blocks:
        lines = [line for line in block["code"].splitlines() if line.strip()]
        assert len(lines) <= 10
        assert lines[-1].endswith(".plot()")
        printed_as_said(run_blocks.run(block[0]))  # each is complete
        assert plt.get_fignums()
        plt.close("all")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)|^```\{figure\} (.+)$", text, re.M)
    for path in filter(None, (a or b for a, b in named)):
        assert (folder / path).is_file()
        assert (folder / path).stat().st_size < 200_000


def headings(text: str) -> set[str]:
    """Anchors of a page: a heading in small letters, hyphens between the words, or its own."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    heads = [h.lower() for h in re.findall(r"^#+ (.+)$", prose, re.M)]
    made = {re.sub(r"[^\w -]", "", h).strip().replace(" ", "-") for h in heads}
    return made | set(re.findall(r"\{#([\w-]+)\}", text))


def lost(text: str) -> list[str]:
    """Links of a page to pages and headings that are not there."""
    there = {p.stem for p in (ROOT / "docs").glob("*.md")} | {"auto_examples/index"}
    there |= {f"auto_examples/{p.stem}" for p in (ROOT / "demos").glob("[!_]*.py")}
    pages = re.findall(r"\{doc\}`(?:[^`<]*<)?/?([^`>]+)>?`", text)
    anchors = re.findall(r"\]\(#([^)]+)\)", text)
    return [p for p in pages if p not in there] + [a for a in anchors if a not in headings(text)]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    """`make docs` follows every link of the built site; these need no build."""
    assert lost((ROOT / page).read_text(encoding="utf-8")) == []


def test_lost_links_are_noticed():
    page = "# Two words\n[a](#two-words) [b](#three) {doc}`flows` {doc}`the flow <flaws>`\n"
    assert lost(page) == ["flaws", "three"]


def test_agreement_notices_differences():
    """The comparison itself, with wrong answers."""
    agree = run_blocks.agree
    assert agree("gap=7.3e-11, 9 iterations", "gap=2e-12, 11 iterations")
    assert agree("energy 2.8860", "energy 2.8861")
    assert not agree("energy 2.886", "energy 2.986")
    assert not agree("energy 2.886", "energy -2.886")
    assert not agree("gap=7.3e-11", "gap=1.3e-5")
    assert not agree("all certified", "1 NOT certified")
    assert not agree("True", "False")
    assert not agree("20 steps", "21 steps")
    assert not agree("", "something")


def test_the_api_page_has_every_public_name():
    """A name that is public is documented."""
    import jko

    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for module in (jko, jko.kernels):  # solvers are listed at the build
        for name in set(module.__all__) - {"callbacks", "kernels", "solvers", "Definiteness"}:
            if not inspect.ismodule(getattr(module, name)):
                assert re.search(rf"^\.\. auto\w+:: .*\b{name}$", page, re.M), name


def labels(page: str) -> set[str]:
    """Labels with an anchor on the page of formulas; families (H2 of H2a) included."""
    anchored = set()
    for label, anchor in re.findall(r"^\| \[(\w+)\]\{#formula-(\w+)\} \|", page, re.M):
        assert anchor == label.lower()
        anchored |= {label, label.rstrip("abcdef")}
    return anchored


def cited(text: str) -> set[str]:
    """Labels in "formula H2a", "formulas M1, M2 and W1"."""
    out: set[str] = set()
    label = r"(?:[A-Z]\d[a-z]?\b|mass\b)"
    for run in re.findall(rf"[Ff]ormulas?\s+({label}(?:(?:,|\s+and|\s+to)\s+{label})*)", text):
        out |= set(re.findall(label, run))
    return out


def test_labels_that_are_cited_have_an_anchor():
    """Every "formula X1" in the sources and on the pages has its row on the page of formulas."""
    known = labels((ROOT / "docs" / "formulas.md").read_text(encoding="utf-8"))
    found = set()
    for folder, kind in (
        ("jko", "*.py"),
        ("demos", "*.py"),
        ("benchmarks", "*.py"),
        ("docs", "*.md"),
    ):
        for path in (ROOT / folder).rglob(kind):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\bMATH\b", text), path  # labels stand alone
            found |= cited(text)
    assert len(found) > 30
    assert sorted(found - known) == []


def test_citations_of_labels_are_read():
    assert cited("(formulas M1, M2\n    and W1b) formula H5; Formula A9.") == {
        "M1",
        "M2",
        "W1b",
        "H5",
        "A9",
    }
