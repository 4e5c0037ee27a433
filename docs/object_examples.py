"""The example on every object's page: read from docs/examples/, run at the build, run by a test.

A file holds the imports that all its examples share, then one block for each object or few:

    #: jko.KL
    #: \\mathrm{KL}(\\mu|\\pi) = ...        (optional: the formula of the page, in TeX)
    print(jko.KL(target).value(mu))

Every block is complete: it runs on its own after the imports, in an empty folder. What it prints
and draws is shown on the page.
"""

import contextlib
import io
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "examples"
_HEAD = re.compile(r"^#: ((?:jko\.[\w.]+ ?)+)\n((?:^#: .*\n)*)", re.M)


@dataclass(frozen=True)
class Example:
    """Code with its imports, the display formula of the object, and where it stands."""

    names: tuple[str, ...]
    formula: str
    code: str
    file: str

    def run(self, pictures: Path | None = None) -> tuple[str, list[Path]]:
        """What it prints, and what it draws, as files in the folder `pictures`."""
        printed = io.StringIO()
        if pictures is not None:
            pictures = pictures.resolve()
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(printed),
        ):
            exec(compile(self.code, self.file, "exec"), {"__name__": "__example__"})
        return printed.getvalue(), self._drawn(pictures)

    def _drawn(self, folder: Path | None) -> list[Path]:
        """Figures that are open, written and closed."""
        if "matplotlib.pyplot" not in sys.modules:
            return []
        import matplotlib.pyplot as plt

        paths = []
        for number in plt.get_fignums():
            path = Path(f"{self.names[0]}-{number}.png")
            if folder is not None:
                path = folder / path
                plt.figure(number).savefig(path, dpi=100)
            paths.append(path)
        plt.close("all")
        return paths


def read(text: str, file: str) -> list[Example]:
    """The examples of one file."""
    heads = list(_HEAD.finditer(text))
    imports = text[: heads[0].start()].strip() if heads else ""
    imports = re.sub(r'\A"""[\s\S]*?"""\s*', "", imports)
    found = []
    for head, end in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=True):
        body = text[head.end() : end].strip()
        needed = [line for line in imports.splitlines() if _used(line, body)]
        formula = "\n".join(line[3:] for line in head[2].splitlines())
        code = "\n".join(needed) + "\n\n" + body + "\n"
        found.append(Example(tuple(head[1].split()), formula, code, file))
    return found


def _used(line: str, body: str) -> bool:
    """Whether a line of imports names something that the body uses."""
    name = re.split(r"\bimport\b", line)[-1].split(" as ")[-1].strip()
    return bool(re.search(rf"\b{re.escape(name)}\b", body))


def examples() -> dict[str, Example]:
    """Every example by the names of its objects."""
    found: dict[str, Example] = {}
    for path in sorted(FOLDER.glob("*.py")):
        for example in read(path.read_text("utf-8"), path.name):
            for name in example.names:
                if name in found:
                    raise ValueError(f"{path.name}: a second example of {name}")
                found[name] = example
    return found
