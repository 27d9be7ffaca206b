"""Files say what they are for, and documents name only what exists."""

import ast
import re
from pathlib import Path

from tests.rules.sources import CODE, PRODUCT, ROOT, files

COMMENTS = ('"""', "#!", "#", "//", "/*", "<!")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
TARGET = re.compile(r"`make ([a-z]+)|^make ([a-z]+)", re.MULTILINE)


def unexplained(path: Path) -> bool:
    """Whether a file with content does not begin by saying what it is for."""
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        return False
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text)) is None
    return not text.startswith(COMMENTS)


def documents() -> list[Path]:
    """The documents at the top and below docs/."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def broken_links(document: Path) -> list[str]:
    """Links to files that are not there."""
    links = LINK.findall(document.read_text(encoding="utf-8"))
    return [link for link in links if not (document.parent / link).exists()]


def unknown_targets(document: Path, targets: set[str]) -> list[str]:
    """`make` targets a document names that the Makefile does not have."""
    found = TARGET.findall(document.read_text(encoding="utf-8"))
    return [name for pair in found for name in pair if name and name not in targets]


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_file_begins_with_what_it_is_for() -> None:
    sources = files(*PRODUCT, "tests", "packaging", suffixes=(*CODE, ".c", ".h"))
    assert [str(path.relative_to(ROOT)) for path in sources if unexplained(path)] == []


def test_links_between_documents_lead_somewhere() -> None:
    assert {d.name: broken_links(d) for d in documents() if broken_links(d)} == {}


def test_documents_name_only_targets_of_the_makefile() -> None:
    targets = make_targets()
    assert "test" in targets
    found = {d.name: unknown_targets(d, targets) for d in documents()}
    assert {name: unknown for name, unknown in found.items() if unknown} == {}


def test_the_rules_see_what_is_wrong(tmp_path: Path) -> None:
    source, document = tmp_path / "quiet.py", tmp_path / "README.md"
    source.write_text("x = 1\n")
    document.write_text("[a](missing.md) [b](quiet.py) [c](https://example.org)\n\n`make haste`\n")
    assert unexplained(source)
    assert broken_links(document) == ["missing.md"]
    assert unknown_targets(document, {"test"}) == ["haste"]
