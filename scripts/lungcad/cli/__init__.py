# SPDX-License-Identifier: Apache-2.0
"""Command ``lungcad``: a table of its verbs. A verb's module, and what it needs, is imported when it is called.

:func:`run_script` gives the scripts of the repository the same manners.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import fire
from fire.decorators import SetParseFns

from lungcad import __version__
from lungcad.bundle.launch import parse_flags
from lungcad.bundle.registry import CHAIN
from lungcad.errors import InputError
from lungcad.exits import guarded

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
    verb, *rest = arguments
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Run lungcad without arguments for help."
        raise InputError("E-USAGE", f"unknown command: {verb} (expected {', '.join(VERBS)}).", hint)
    help_asked = bool({"-h", "--help"} & set(rest))
    if verb == "run" and help_asked:
        from lungcad.bundle.run_help import run_help

        print(run_help(parse_flags(arguments).get("bundle", CHAIN)))
        return
    module, name = VERBS[verb].split(":")
    function = getattr(import_module(f"lungcad.cli.{module}"), name)
    if help_asked:
        arguments = [verb, "--", "--help"]  # the form that fire answers with exit code 0
    else:
        function = _with_texts(function)
    fire.Fire({verb: function}, command=arguments, name="lungcad")


def _with_texts(function: Callable) -> Callable:
    """The function, with its parameters of type str taken as they are: fire reads a folder called 2020 as a number."""
    parameters = inspect.signature(function).parameters
    texts = [name for name, parameter in parameters.items() if parameter.annotation in (str, str | None)]
    return SetParseFns(**dict.fromkeys(texts, str))(function)


def run_script(component: Callable | Mapping[str, Callable]) -> None:
    """Run a script by its command line: errors, exit codes, ``--debug`` and texts are those of ``lungcad``.

    Args:
        component: function of the script, or functions by the name of their command.
    """
    command: Callable | dict[str, Callable]
    if isinstance(component, Mapping):
        command = {name: _with_texts(function) for name, function in component.items()}
    else:
        command = _with_texts(component)
    arguments, debug = _take_debug(sys.argv[1:])
    guarded(lambda: fire.Fire(command, command=arguments, name=Path(sys.argv[0]).name), debug=debug)


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Arguments without ``--debug``, alone or with a value, and the value, empty where it is not given."""
    rest = list(arguments)
    for place, word in enumerate(rest):
        option, given, value = word.partition("=")
        if option == "--debug":
            after = [] if given else [text for text in rest[place + 1 : place + 2] if text.lower() in ("true", "false")]
            return rest[:place] + rest[place + 1 + len(after) :], value or "".join(after) or "true"
    return rest, ""
