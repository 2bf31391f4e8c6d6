# SPDX-License-Identifier: Apache-2.0
"""Command ``python -m lungcad.phantom OUT``: writes the synthetic chest as a DICOM series."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lungcad.phantom import SIZES, make_phantom, write_series


def main(argv: Sequence[str] | None = None) -> int:
    """Write the series and print its content; returns exit code 0, or 2 if the folder holds files already."""
    parser = argparse.ArgumentParser(
        prog="python -m lungcad.phantom",
        description="Write a synthetic chest CT with nodules as a DICOM series.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for the series; made where absent, must be empty")
    parser.add_argument("--size", choices=sorted(SIZES), default="full", help="an adult, or few voxels for tests")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another chest")
    args = parser.parse_args(argv)
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        print(f"error[E-OUTPUT] {args.out} is not an empty folder. Name another, or empty it first.", file=sys.stderr)
        return 2
    hu, affine, nodules = make_phantom(args.seed, **SIZES[args.size])
    files = write_series(args.out, hu, affine)
    print(f"{args.out}: synthetic chest CT, {len(files)} slices, {len(nodules)} nodules")
    for (x, y, z), diameter, kind, _ in nodules:
        print(f"  {diameter:4.0f} mm  {kind:<16} at LPS ({x:6.1f}, {y:6.1f}, {z:6.1f}) mm")
    return 0


if __name__ == "__main__":
    sys.exit(main())
