"""Rules of the house that the linters cannot see."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "mintmark"
MODULES = sorted(SRC.rglob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
SAYS_NOTHING = {"manager", "managers", "helper", "helpers", "util", "utils"}

SERVER_DEPENDENCIES = [
    "argon2",
    "asyncpg",
    "click",
    "fastapi",
    "httptools",
    "jinja2",
    "pydantic",
    "pydantic_settings",
    "redis",
    "rich",
    "sqlite3",
    "starlette",
    "structlog",
    "uvicorn",
    "uvloop",
    "zxcvbn",
]

# Imports the packages named and everything below them, in an interpreter where the rest "is not installed".
IMPORT_ALONE = """
import importlib, pkgutil, sys

blocked = set(sys.argv[1].split(","))

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
        return None

sys.meta_path.insert(0, Refuse())
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + ".") if name != "mintmark" else []:
        importlib.import_module(module.name)
assert not blocked & {name.partition(".")[0] for name in sys.modules}
"""

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


def import_alone(blocked: list[str], *packages: str) -> subprocess.CompletedProcess[str]:
    """Import the packages in a fresh interpreter that refuses the blocked ones."""
    command = [sys.executable, "-c", IMPORT_ALONE, ",".join(blocked), *packages]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def functions(tree: ast.AST) -> Iterator[AnyFunction]:
    return (node for node in ast.walk(tree) if isinstance(node, AnyFunction))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("package", ["mintmark", "mintmark.jose", "mintmark.oauth"])
def test_what_services_import_works_without_any_server_dependency(package: str) -> None:
    outcome = import_alone(SERVER_DEPENDENCIES, package)
    assert outcome.returncode == 0, outcome.stderr


def test_the_import_guard_refuses_what_it_should() -> None:
    outcome = import_alone(["json"], "json.decoder")
    assert "blocked: json" in outcome.stderr


def test_files_stay_below_400_lines() -> None:
    everywhere = [path for folder in ("src", "tests", "bench", "scripts") for path in (ROOT / folder).rglob("*.py")]
    found = [path for path in everywhere if "node_modules" not in path.parts]
    assert set(MODULES) < set(found)
    sizes = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in found}
    assert {name: size for name, size in sizes.items() if size >= MAX_FILE_LINES} == {}


def test_functions_stay_below_50_lines() -> None:
    sizes = {
        f"{name_of(path)}:{function.lineno} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in MODULES
        for function in functions(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert {name: size for name, size in sizes.items() if size >= MAX_FUNCTION_LINES} == {}


def test_no_name_says_manager_helper_or_util() -> None:
    names = [(name_of(path), path.parent.name if path.stem == "__init__" else path.stem) for path in MODULES]
    names += [
        (f"{name_of(path)}:{node.lineno}", node.name)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, AnyFunction | ast.ClassDef)
    ]
    assert [f"{place} {name}" for place, name in names if words(name) & SAYS_NOTHING] == []


def makefile_targets() -> dict[str, str]:
    """The targets that `make help` lists, with their help."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", makefile, re.MULTILINE))


def test_the_makefile_has_the_targets_that_people_rely_on() -> None:
    assert {"help", "run", "check", "check-all", "bench", "fix", "clean"} <= makefile_targets().keys()


def test_every_target_that_the_documents_name_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {
        (name_of(page), target)
        for page in pages
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {(page, target) for page, target in named if target not in makefile_targets()} == set()


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "-s", "help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert {line.split()[0] for line in shown.splitlines()} == makefile_targets().keys()


@pytest.mark.parametrize("script", ["bootstrap", "check", "debian-packages", "node-packages"])
def test_scripts_are_posix_shell(script: str) -> None:
    path = ROOT / "scripts" / script
    assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(path)], check=True)
