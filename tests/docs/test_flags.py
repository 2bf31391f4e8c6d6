# SPDX-License-Identifier: Apache-2.0
"""Commands of the docs have no option that the command does not have."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_cases import ROOT

from lungcad.bundle.launch import MONAI_ARGUMENTS, parse_flags
from lungcad.bundle.registry import CHAIN
from lungcad.cli import VERBS

PAGES = [ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md", *sorted((ROOT / "scripts").rglob("README.md")),
         *sorted(ROOT.glob("bundles/*/docs/*.md"))]  # fmt: skip
FIRE = {"help", "debug"}


def commands_of(page: Path) -> Iterator[list[str]]:
    """Commands in a page's fenced blocks, as words."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), flags=re.M | re.S):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = next((n for n, word in enumerate(words) if word in ("&&", "|", ";")), len(words))
                yield words[:end]
                words = words[end + 1 :]


def options_of(file: Path, function: str) -> tuple[set[str], bool]:
    """Parameters of a function of a file, and whether it takes others."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}, node.args.kwarg is not None
    raise AssertionError(f"{file.name} has no {function}")


def script_function(file: Path, words: list[str]) -> str:
    """Name of the function that a script's command line calls."""
    call = next(node for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "run_script")  # fmt: skip
    (given,) = call.args
    if isinstance(given, ast.Name):
        return given.id
    assert isinstance(given, ast.Dict)
    table = {key.value: value.id for key, value in zip(given.keys, given.values, strict=True)}  # type: ignore[union-attr]
    return table[words[0]]


def keys_of(bundles: str, *names: str) -> set[str]:
    """Top-level keys of configs of bundles; those of a nested id by its first part."""
    files = [file for name in names for file in ROOT.glob(f"bundles/{bundles}/configs/{name}.json")]
    return {re.split("#|::", key.removeprefix("+"))[0] for file in files for key in json.loads(file.read_text())}


def unknown_options(words: list[str]) -> set[str] | None:
    """Options that a command does not have; None for a command that is none of ours."""
    if words[0] == "lungcad" and words[1:2] and words[1] in VERBS:
        module, function = VERBS[words[1]].split(":")
        known, more = options_of(ROOT / "scripts" / "lungcad" / "cli" / f"{module}.py", function)
        flags = parse_flags(words[2:])
        known |= keys_of(flags.get("bundle", CHAIN), "inference") if more else set()
        flags = {flag: flags[flag] for flag in flags if not (words[1] == "submit" and flag.startswith("slurm_"))}
    elif words[0] == "python" and words[1].startswith(("scripts/", "$REPO/scripts/")):
        file = ROOT / words[1].removeprefix("$REPO/")
        known, more = options_of(file, script_function(file, words[2:]))
        known |= keys_of("*", "inference", "train") if more else set()
        flags = parse_flags(words[2:])
    elif "monai.bundle" in words:
        words = words[words.index("monai.bundle") + 1 :]
        known = {*MONAI_ARGUMENTS, *keys_of("*", "*")}
        flags = parse_flags(words)
    else:
        return None
    return {flag for flag in flags if flag not in known | FIRE}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_have_the_options_that_pages_give_them(page: Path) -> None:
    wrong = [(" ".join(words), unknown) for words in commands_of(page) if (unknown := unknown_options(words))]
    assert wrong == []


def test_enough_commands_are_looked_at_and_a_wrong_option_is_seen() -> None:
    checked = [words for page in PAGES for words in commands_of(page) if unknown_options(words) is not None]
    assert len(checked) > 60
    assert {"lungcad", "python"} <= {words[0] for words in checked}
    assert unknown_options(shlex.split("lungcad run in out --treshold 1")) == {"treshold"}
    assert unknown_options(shlex.split("python $REPO/scripts/make_cases.py luna16 --worker 3")) == {"worker"}
    assert unknown_options(shlex.split("python -m monai.bundle run --epoch 3")) == {"epoch"}
