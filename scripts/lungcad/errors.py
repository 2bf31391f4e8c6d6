# SPDX-License-Identifier: Apache-2.0
"""The one exception for input that the program refuses: a stable code, what is wrong, what to do."""

from lungcad.printable import printable


class InputError(ValueError):
    """Bad input, told to the user in one line and with exit code 2.

    Args:
        code: stable and searchable, such as ``E-GEOM-SPACING``; documented in the intake table.
        message: what is wrong, with numbers and units.
        advice: what the user can do about it.
    """

    def __init__(self, code: str, message: str, advice: str = "") -> None:
        message, advice = printable(message), printable(advice)  # both quote tags and names of files
        super().__init__(code, message, advice)
        self.code = code
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"error[{self.code}] {self.message} {self.advice}".rstrip()
