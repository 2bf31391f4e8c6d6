# SPDX-License-Identifier: Apache-2.0
"""Command ``lungcad``: a table of its verbs. A verb's module, and what it needs, is imported when it is called.

:func:`run_script` gives the scripts of the repository the same errors, exit codes and ``--debug``.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import fire
from fire.decorators import SetParseFns

from lungcad import __version__
from lungcad.bundle.launch import parse_flags
from lungcad.bundle.registry import CHAIN
from lungcad.errors import InputError
from lungcad.exits import guarded
from lungcad.options import true_or_false

T = TypeVar("T")

USAGE = """\
usage: lungcad run IN OUT [--bundle NAME] [--series_uid UID | --choose best] [--acquisition N] [--KEY VALUE ...]
       lungcad compare PRIOR CURRENT OUT [--days N]   growing, new and resolved nodules of two scans of one patient
       lungcad inspect DIR [--json]        which series are in DIR, and can they be used
       lungcad index | batch | submit | status --help   an archive: list it, analyse it, on a cluster, sum it up
       lungcad list [--json]               the bundles
       lungcad describe BUNDLE [--json]    what a bundle takes, gives and was measured at
       lungcad score | score_malignancy | relate_attributes --help   figures of a table (FROC; AUC; attributes)
       lungcad node | pull --help          from and to a hospital's archive: DICOM (C-STORE), DICOMweb
       lungcad COMMAND --help | lungcad --version

IN is a DICOM folder, .mhd, .nii.gz or .nrrd; OUT gets a folder named after the series. Add --debug for tracebacks.
example: lungcad run scans/chest out && open out/*/report.html
Research use only. Not a medical device."""

VERBS = {
    "run": "scans:run",
    "inspect": "scans:inspect",
    "compare": "compare:compare",
    "index": "batch:index",
    "batch": "batch:batch",
    "submit": "batch:submit",
    "status": "batch:status",
    "list": "scans:list_bundles",
    "describe": "scans:describe",
    "score": "scores:score",
    "score_malignancy": "scores:score_malignancy",
    "relate_attributes": "scores:relate_attributes",
    "node": "node:node",
    "pull": "node:pull",
}
"""Module of this package and function, by verb."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script: exit code 0 done, 2 bad input or usage, 1 a bug."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
    elif arguments[0] == "--version":
        print(f"lungcad {__version__}")
    else:
        guarded(_dispatch, arguments, debug=parse_flags(arguments).get("debug", False))


def _dispatch(arguments: list[str]) -> None:
    verb, *options = arguments
    path = _find(verb, VERBS)
    help_asked = bool({"-h", "--help"} & set(options))
    if verb == "run" and help_asked:
        from lungcad.bundle.run_help import run_help

        print(run_help(parse_flags(arguments).get("bundle", CHAIN)))
        return
    module, name = path.split(":")
    function = getattr(import_module(f"lungcad.cli.{module}"), name)
    if help_asked:
        arguments = [verb, "--", "--help"]  # the form that fire answers with exit code 0
    else:
        _check_flags(function, options)
        function = _with_texts(function)
    fire.Fire({verb: function}, command=arguments, name="lungcad")


def _find(command: str, table: Mapping[str, T]) -> T:
    """Entry of a command in a table; raises InputError E-USAGE for a command that is not there."""
    if command not in table:
        near = difflib.get_close_matches(command, table, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Run it without arguments for help."
        raise InputError("E-USAGE", f"unknown command: {command} (expected {', '.join(table)}).", hint)
    return table[command]


def _check_flags(function: Callable, options: Sequence[str]) -> None:
    """Refuse an option that a command does not have, before its work; fire would do so after it (E-USAGE)."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for flag in parse_flags(options):
        if len(flag) > 1 and flag not in parameters and flag.removeprefix("no") not in parameters:
            near = difflib.get_close_matches(flag, parameters, n=1)
            advice = f"Did you mean --{near[0]}?" if near else f"Use --{', --'.join(parameters)}."
            raise InputError("E-USAGE", f"unknown option: --{flag}.", advice)


def _with_texts(function: Callable) -> Callable:
    """The function, with its parameters read by their type.

    Text is taken as it is (fire reads a folder called 2020 as a number), and ``true`` and ``false`` in any case (fire
    takes ``false`` for a text, which is true).
    """
    parameters = inspect.signature(function).parameters
    reads: dict[str, Callable] = {}
    for name, parameter in parameters.items():
        if parameter.annotation in (str, str | None):
            reads[name] = str
        elif parameter.annotation is bool:
            reads[name] = partial(true_or_false, name)
    return SetParseFns(**reads)(function)


def run_script(component: Callable | Mapping[str, Callable]) -> None:
    """Run a script by its command line: errors, exit codes, ``--debug`` and texts are those of ``lungcad``.

    Args:
        component: function of the script, or functions by the name of their command.
    """
    arguments, debug = _take_debug(sys.argv[1:])
    guarded(_run_script, component, arguments, debug=debug)


def _run_script(component: Callable | Mapping[str, Callable], arguments: list[str]) -> None:
    checked = bool(arguments) and not {"-h", "--help"} & set(arguments)
    command: Callable | dict[str, Callable]
    if isinstance(component, Mapping):
        if checked:
            _check_flags(_find(arguments[0], component), arguments[1:])
        command = {name: _with_texts(function) for name, function in component.items()}
    else:
        if checked:
            _check_flags(component, arguments)
        command = _with_texts(component)
    fire.Fire(command, command=arguments, name=Path(sys.argv[0]).name)


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Arguments without ``--debug``, alone or with a value, and the value, empty where it is not given."""
    words = list(arguments)
    for index, word in enumerate(words):
        option, given, value = word.partition("=")
        if option == "--debug":
            after = (
                [] if given else [text for text in words[index + 1 : index + 2] if text.lower() in ("true", "false")]
            )
            return words[:index] + words[index + 1 + len(after) :], value or "".join(after) or "true"
    return words, ""
