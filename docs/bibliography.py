"""The sources of `references.bib`, and how docstrings name them: "Chizat et al. (2018a)"."""

import re
import unicodedata
from pathlib import Path

BIB = Path(__file__).with_name("references.bib")
_ENTRY = re.compile(r"^@\w+\{(?P<key>\w+),\s*author=\{(?P<authors>[^}]*)\}", re.M)
_NAME = r"(?:(?:Del|Di|De|Mohajerin|Ben|O')[ -]?)?[A-Z][\w'’-]+"
#: What reads like a citation, whether or not the bibliography has it.
CITATION = re.compile(
    rf"\b(?P<first>{_NAME})(?P<rest>(?:, {_NAME})+ and {_NAME}| and {_NAME}| et al\.)?"
    r"\s\((?P<year>(?:19|20)\d\d[a-z]?)\)"
)


def names(authors: str) -> str:
    """Surnames as the text has them: one, two, or the first "et al."."""
    surnames = [a.split(",")[0].strip() for a in authors.split(" and ")]
    if len(surnames) > 2 or surnames[1:] == ["others"]:
        return f"{surnames[0]} et al."
    return " and ".join(surnames)


def entries(text: str | None = None) -> dict[str, str]:
    """Keys by their citation in the text, as in {"Otto (2001)": "Otto2001"}."""
    text = BIB.read_text("utf-8") if text is None else text
    out = {}
    for entry in _ENTRY.finditer(text):
        key = entry["key"]
        year = re.search(r"\d{4}[a-z]?$", key)
        if year is None or not key.startswith(_ascii(entry["authors"].split(",")[0])):
            raise ValueError(f"{BIB.name}: key {key!r} is not the first author's name and the year")
        out[f"{names(entry['authors'])} ({year[0]})"] = key
    return out


def citations(text: str) -> set[str]:
    """Citations in a text, line breaks aside."""
    return {_plain(c) for c in CITATION.finditer(" ".join(text.split()))}


def linked(text: str, keys: dict[str, str]) -> str:
    """The text with roles of sphinxcontrib-bibtex in place of the citations that are known."""

    def role(found: re.Match[str]) -> str:
        key = keys.get(_plain(found))
        return f":cite:t:`{key}`" if key else found[0]

    return CITATION.sub(role, text)


def _plain(found: re.Match[str]) -> str:
    """One form for each citation: "Lee, Sun and Saunders (2014)" is "Lee et al. (2014)"."""
    rest = found["rest"] or ""
    return f"{found['first']}{' et al.' if rest.startswith(',') else rest} ({found['year']})"


def _ascii(name: str) -> str:
    """Letters without accents."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain if c.isascii() and c.isalpha())
