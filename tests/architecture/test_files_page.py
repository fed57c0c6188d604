"""`docs/files.md` names every module, and says of it what it says of itself."""

from tests.architecture.files_page import PAGE, ROOT, SECTIONS, page


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text() == page(), "make docs"


def test_no_folder_of_code_is_left_out() -> None:
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for package in ("pipelines", "models", "metrics", "deploy", "examples")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert folders == set(SECTIONS.values())
