"""The product's files and functions stay short; the tail is watched, not the average."""

from pathlib import Path

from tests.rules.sources import CODE, PRODUCT, Function, files, functions

FILE_LINES = 400
FUNCTION_LINES = 50
FUNCTION_P95_LINES = 30


def too_long_files(paths: list[Path]) -> list[str]:
    """The files above the limit, with their length."""
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in paths}
    return [f"{path} has {lines} lines" for path, lines in lengths.items() if lines > FILE_LINES]


def too_long_functions(found: list[Function]) -> list[str]:
    """The functions above the limit, with their length."""
    return [f"{f.where}: {f.lines_count} lines" for f in found if f.lines_count > FUNCTION_LINES]


def percentile_95(found: list[Function]) -> int:
    """The length below which 95 of 100 functions stay."""
    lengths = sorted(function.lines_count for function in found)
    return lengths[int(len(lengths) * 0.95)]


def test_no_file_is_longer_than_the_limit() -> None:
    assert too_long_files(files(*PRODUCT, "tests", "packaging", suffixes=CODE)) == []


def test_no_function_is_longer_than_the_limit() -> None:
    found = [f for path in files(*PRODUCT, "tests", "packaging") for f in functions(path)]
    assert too_long_functions(found) == []


def test_the_95th_percentile_of_function_lengths_is_short() -> None:
    found = [function for path in files(*PRODUCT) for function in functions(path)]
    assert percentile_95(found) <= FUNCTION_P95_LINES


def test_the_rules_see_what_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    body = "    x = 1\n" * FUNCTION_LINES
    docstring = '    """One.\n\n    Two.\n    """\n'
    path.write_text(f"def short():\n{docstring}    pass\n\ndef long():\n{body}" + "\n" * 400)
    short, long = sorted(functions(path), key=lambda function: function.lines_count)
    assert (short.lines_count, long.lines_count) == (2, FUNCTION_LINES + 1)
    assert too_long_functions([short, long]) == ["long.py:8 long: 51 lines"]
    assert len(too_long_files([path])) == 1
    assert percentile_95([short] * 99 + [long]) == 2
    assert percentile_95([short] * 9 + [long]) == FUNCTION_LINES + 1
