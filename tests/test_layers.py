# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: downwards only, no circle, and papers nothing of each other (scripts/README.md has the map)."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lungcad

PACKAGE = Path(lungcad.__file__).parent
LAYERS = (
    ("cli", "__main__", "checks"), ("node", "batch", "benchmark"), ("chain", "followup"), ("papers/<paper>",),
    ("papers",), ("training",), ("datalists",), ("scores",), ("results",), ("measure", "reading", "phantom"),
    ("scan", "dicom", "lidc", "bundle", "guidelines"), ("<root>",),
)  # fmt: skip
"""Rooms from the top down; those in one row import nothing of each other."""
PAPERS = sorted(path.name for path in (PACKAGE / "papers").iterdir() if (path / "__init__.py").is_file())


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(name: str) -> Iterator[str]:
    """Our modules that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lungcad":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


GRAPH = {name: set(imports(name)) - {"lungcad"} for name in MODULES if name != "lungcad"}
"""Without the door: it fetches its names when they are asked for, and others take only its version."""


def layer(name: str) -> int:
    _, *rooms = name.split(".")
    if rooms[:1] == ["papers"] and rooms[1:2] and rooms[1] in PAPERS:
        room = "papers/<paper>"
    else:
        room = rooms[0] if rooms and any(rooms[0] in row for row in LAYERS) else "<root>"
    return next(number for number, row in enumerate(LAYERS) if room in row)


def test_imports_go_downwards() -> None:
    upwards = [f"{name} imports {other}" for name, found in GRAPH.items() for other in found
               if layer(other) < layer(name)]  # fmt: skip
    assert upwards == []


def test_rooms_of_one_row_import_nothing_of_each_other() -> None:
    def room(name: str) -> str:
        return name.split(".")[1]

    sideways = [f"{name} imports {other}" for name, found in GRAPH.items() for other in found
                if layer(name) == layer(other) < len(LAYERS) - 1 and room(name) != room(other)
                and room(name) not in LAYERS[0]]  # fmt: skip
    assert sideways == []


def test_modules_import_each_other_in_no_circle() -> None:
    tuple(TopologicalSorter({name: found - {name} for name, found in GRAPH.items()}).static_order())


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_imports_nothing_of_another(paper: str) -> None:
    others = tuple(f"lungcad.papers.{other}." for other in PAPERS if other != paper)
    found = {other for name, used in GRAPH.items() if f".papers.{paper}." in name for other in used}
    assert [name for name in found if name.startswith(others)] == []


def test_inference_needs_no_training() -> None:
    """What a run imports, from the chain down, holds neither a training nor the data of one."""
    training = [name for name in MODULES if ".training" in name or ".datalists" in name]
    todo, seen = {"lungcad.chain.cad", "lungcad.papers.evaluator"}, set[str]()
    inference = (".inference", ".transforms", ".network", ".inferers", ".write")
    todo |= {name for name in MODULES if name.endswith(inference) and ".checks." not in name}
    while todo:
        name = todo.pop()
        seen.add(name)
        todo |= GRAPH.get(name, set()) - seen
    assert sorted(seen & set(training)) == []


def test_importing_lungcad_imports_none_of_the_heavy_libraries() -> None:
    """Nothing that the package's door imports at once leads to torch, MONAI or pydicom."""
    door = ast.parse(MODULES["lungcad"].read_text()).body
    at_once = [str(node.module) for node in door if isinstance(node, ast.ImportFrom)]
    ours = [name for name in at_once if name not in ("typing",)]
    assert ours and all(name.startswith("lungcad.") and layer(name) == len(LAYERS) - 1 for name in ours)


def test_every_room_is_in_the_map() -> None:
    text = (PACKAGE.parent / "README.md").read_text()
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert [room for room in sorted(rooms) if f"{room}/" not in text] == []


def test_layers_are_rooms_that_exist() -> None:
    named = {room for row in LAYERS for room in row if "<" not in room}
    assert [room for room in named if not ((PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file())] == []
