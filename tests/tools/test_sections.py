"""One report, as text and as a page."""

from html.parser import HTMLParser
from pathlib import Path

from naic_reid.pages.sections import Picture, Section, as_html, as_text
from tests.data.listed import draw


def test_text_aligns_numbers_right_and_words_left() -> None:
    section = Section("Title", ("name", "number"), [("a", 1), ("long", 1_000_000)], note="remark")
    assert as_text([section]) == (
        "Title\n"
        "  remark\n"
        "  name     number\n"
        "  a             1\n"
        "  long  1,000,000\n"
    )  # fmt: skip


def test_a_section_without_rows_shows_its_note_alone() -> None:
    assert as_text([Section("Title", ("name",), [], "none")]) == "Title\n  none\n"


class _Found(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_the_page_holds_tables_and_pictures_and_needs_nothing_else(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    strip = [Picture(tmp_path / "a.png", "first"), Picture(tmp_path / "none.png", "second")]
    found = _Found(as_html("Report", [Section("Title", ("name",), [("x",)], strips=[strip])]))
    assert found.tags.count("table") == 1
    assert found.tags.count("figure") == 2
    assert len(found.sources) == 1
    assert found.sources[0].startswith("data:image/jpeg;base64,")
    assert "(cannot be shown)" in found.words


def test_names_are_shown_as_they_are_and_never_run() -> None:
    evil = "<script>alert('&')</script>"
    page = as_html(evil, [Section(evil, (evil,), [(evil,)], evil, [[Picture(Path("none"), evil)]])])
    found = _Found(page)
    assert "script" not in found.tags
    assert found.words.count(evil) >= 5
