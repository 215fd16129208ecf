"""What counts as an export: a whole file, unchanged, of this version or an earlier one."""

import io

import pytest
from tests.storage.moved import SQLiteFile
from tests.storage.moving_things import exported, file, filled, forged

from mintmark.storage.moving import Export, ExportError

__all__ = ["file"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("missing", ["a byte", "a line", "half"])
async def test_a_file_that_was_cut_short_is_refused(file: SQLiteFile, missing: str) -> None:
    content = await filled(file)
    kept = {"a byte": len(content) - 2, "a line": content[:-1].rindex(b"\n") + 1, "half": len(content) // 2}[missing]
    with pytest.raises(ExportError, match="ends before its last line"):
        Export(io.BytesIO(content[:kept]))
    Export(io.BytesIO(content))


async def test_no_shorter_file_is_whole(file: SQLiteFile) -> None:
    content = await exported(file)
    for length in range(len(content) - 1):  # the last line end says nothing
        with pytest.raises(ExportError):
            Export(io.BytesIO(content[:length]))


async def test_a_file_that_was_changed_is_refused(file: SQLiteFile) -> None:
    content = await filled(file)
    for changed in (
        content.replace(b"usr_ada", b"usr_eve", 1),
        content.replace(b'["k2"', b'["k3"', 1),
        b"".join(line for line in content.splitlines(keepends=True) if b"editor" not in line),
        content.replace(b'"sha256":"', b'"sha256":"0', 1),
    ):
        assert changed != content
        with pytest.raises(ExportError, match="changed or damaged"):
            Export(io.BytesIO(changed))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n{}\n", b"SQLite format 3\0" * 999, b"[1]\n", b'{"mintmark_export":']
)
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(ExportError, match="no export of mintmark"):
        Export(io.BytesIO(content))


async def test_a_newer_format_is_refused_with_what_to_do(file: SQLiteFile) -> None:
    newer = (await exported(file)).replace(
        b'{"mintmark_export":1,"made_by":"', b'{"mintmark_export":2,"made_by":"9.', 1
    )
    with pytest.raises(ExportError, match=r"has format 2.*made by mintmark 9\..*with that version or a later one"):
        Export(io.BytesIO(newer))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b'"table":"roles"', b'"table":"teams"', r"teams \(name, document\)"),
        (b'"columns":["name","document"]', b'"columns":["name","document","colour"]', "colour"),
        (b'"columns":["name","document"]', b'"columns":["document","name"]', "document, name"),
    ],
)
async def test_what_only_a_newer_version_knows_is_refused_by_its_name(
    file: SQLiteFile, old: bytes, new: bytes, named: str
) -> None:
    content = await exported(file)
    newer = forged(content, lambda lines: [line.replace(old, new) for line in lines])
    with pytest.raises(ExportError, match=named):
        list(Export(io.BytesIO(newer)).batches())
    assert list(Export(io.BytesIO(forged(content, lambda lines: lines))).batches()) == []


async def test_an_earlier_version_knew_fewer_columns(file: SQLiteFile) -> None:
    """They are left to the defaults of the schema."""
    content = await exported(file)
    older = forged(
        content,
        lambda lines: [
            line.replace(b'["subject","email_key","document"]', b'["subject","email_key"]')
            + (b'["usr_ada","ada@example.com"]\n' if b'"table":"users"' in line else b"")
            for line in lines
        ],
    )
    ((table, columns, rows),) = Export(io.BytesIO(older)).batches()
    assert (table.name, columns, rows) == ("users", ("subject", "email_key"), [("usr_ada", "ada@example.com")])
    assert table.insert(columns) == 'INSERT INTO users ("subject", "email_key") VALUES (?1, ?2)'


@pytest.mark.parametrize("row", [b'["usr_ada", "a@b"]\n', b'[1, "a@b", "{}"]\n', b"[\n", b'["usr_ada", "a@b", null]\n'])
async def test_a_row_of_the_wrong_shape_is_refused(file: SQLiteFile, row: bytes) -> None:
    content = await exported(file)
    wrong = forged(content, lambda lines: [line + (row if b'"table":"users"' in line else b"") for line in lines])
    with pytest.raises(ExportError, match=r"line \d+ is none"):
        list(Export(io.BytesIO(wrong)).batches())
    with pytest.raises(ExportError, match="line 2 is none"):
        list(Export(io.BytesIO(forged(content, lambda lines: [lines[0], row, *lines[1:]]))).batches())
