# SPDX-License-Identifier: Apache-2.0
"""Exception for input that the program refuses: a stable code, the fault, and advice."""

from lungcad.printable import printable


class InputError(ValueError):
    """Bad input, reported to the user in one line, with exit code 2.

    Args:
        code: stable, searchable code such as ``E-GEOM-SPACING``; documented in the intake table.
        message: description of the fault, with numbers and units.
        advice: advice to the user on how to remedy it.
    """

    def __init__(self, code: str, message: str, advice: str = "") -> None:
        message, advice = printable(message), printable(advice)  # both quote tags and names of files
        super().__init__(code, message, advice)
        self.code = code
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"error[{self.code}] {self.message} {self.advice}".rstrip()


def missing_package(package: str, extra: str) -> InputError:
    """InputError E-PACKAGE: a package that only one of lungcad's extras installs is not there.

    Args:
        package: name of the package.
        extra: extra of lungcad that installs it.
    """
    return InputError("E-PACKAGE", f"{package} is not installed.", f"Install it: pip install 'lungcad[{extra}]'.")


def find_input_error(error: BaseException | None) -> InputError | None:
    """Return the first :class:`InputError` among an exception, its causes and its contexts."""
    waiting, seen = [error], set()
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, InputError):
            return current
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            waiting += [current.__cause__, current.__context__]
    return None
