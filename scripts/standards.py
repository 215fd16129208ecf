"""Writes into docs/standards.md, beside every row of its tables, the tests that show it.

A row is a line of a table whose first column is `ID` and whose last is `Tests`; a test shows it by the mark
`@pytest.mark.spec("A01")` on itself, its class, its module (`pytestmark`) or one of its parameters. With `--check`
nothing is written: the exit status says whether the page is up to date. A mark that names no row is an error, unless
it cites a standard ("RFC 6749 §6") instead of a row; so is a row whose last column but one says that it applies `now`
and that no test shows.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "standards.md"
ROW_ID = re.compile(r"[A-Z]\d{2,}[a-z]?")
CELL_BORDER = re.compile(r"(?<!\\)\|")


def rows_named(nodes: list[ast.expr]) -> Iterator[str]:
    """Every string in a `mark.spec(...)` call that has the shape of a row's id."""
    for node in nodes:
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.spec"):
                for argument in call.args:
                    if isinstance(argument, ast.Constant) and ROW_ID.fullmatch(str(argument.value)):
                        yield str(argument.value)


def marked_tests(body: list[ast.stmt], prefix: str, inherited: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The pairs (row, test) of a module's or a class's body."""
    for statement in body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark":
            inherited |= frozenset(rows_named([statement.value]))
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test"):
                for row in inherited | frozenset(rows_named(statement.decorator_list)):
                    yield row, f"{prefix}::{name}"
            case ast.ClassDef(name=name) if name.startswith("Test"):
                rows = inherited | frozenset(rows_named(statement.decorator_list))
                yield from marked_tests(statement.body, f"{prefix}::{name}", rows)
            case _:
                pass


def tests_by_row() -> dict[str, list[str]]:
    """The tests of each row, in order."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for row, test in marked_tests(module.body, path.relative_to(ROOT / "tests").as_posix(), frozenset()):
            found.setdefault(row, set()).add(test)
    return {row: sorted(tests) for row, tests in found.items()}


def cells(line: str) -> list[str]:
    """The cells of a table's line; empty for any other line."""
    return [cell.strip() for cell in CELL_BORDER.split(line.strip())[1:-1]] if line.startswith("|") else []


def rendered(page: str, tests: dict[str, list[str]]) -> tuple[str, list[str], list[str]]:
    """The page as it should be, the ids of its rows, and those that apply now and have no test."""
    lines: list[str] = []
    rows: list[str] = []
    bare: list[str] = []
    in_table = False
    for line in page.splitlines():
        columns = cells(line)
        if not columns:
            in_table = False
        elif columns[0] == "ID":
            in_table = columns[-1].lower() == "tests"
        elif in_table and ROW_ID.fullmatch(columns[0]):
            rows.append(columns[0])
            if columns[-2] == "now" and columns[0] not in tests:
                bare.append(columns[0])
            shown = "<br>".join(f"`{test}`" for test in tests.get(columns[0], [])) or "–"  # noqa: RUF001
            lines.append(f"| {' | '.join([*columns[:-1], shown])} |")
            continue
        lines.append(line)
    return "\n".join(lines) + "\n", rows, bare


def main(arguments: list[str]) -> int:
    """Bring the page up to date, or say whether it is."""
    page = PAGE.read_text(encoding="utf-8")
    tests = tests_by_row()
    wanted, rows, bare = rendered(page, tests)
    unknown = sorted(set(tests) - set(rows))
    for row in unknown:
        print(f"no row {row} in docs/standards.md; named by {', '.join(tests[row])}")
    for row in sorted({row for row in rows if rows.count(row) > 1}):
        print(f"row {row} stands more than once in docs/standards.md")
        unknown.append(row)
    print(f"docs/standards.md: {sum(row in tests for row in rows)} of {len(rows)} rows have a test")
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
    if bare:
        print(f"no test shows {', '.join(bare)}")
    if unknown or bare:
        return 1
    if "--check" in arguments and wanted != page:
        print("docs/standards.md is out of date: run `make standards`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
