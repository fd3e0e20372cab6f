"""The files of the project, by the place that they stand at."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def _python(folder: Path, base: Path) -> dict[str, str]:
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    return {path.relative_to(base).as_posix(): path.read_text("utf-8") for path in paths}


SOURCES = _python(ROOT / "src", ROOT / "src")
"""`trilby/...py` -> text."""

SCRIPTS = _python(ROOT / "tests", ROOT) | _python(ROOT / "benchmarks", ROOT)
"""`tests/...py` and `benchmarks/...py` -> text."""
