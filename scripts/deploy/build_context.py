# SPDX-License-Identifier: Apache-2.0
"""Write the build context of a MAP (MONAI Application Package) with the SDK's own packager, without a call of Docker.

``python build_context.py MODELS TAG CONTEXT``, in the environment of setup.sh.
"""

import sys
from pathlib import Path

from holoscan_cli.__main__ import parse_args
from holoscan_cli.packager.arguments import PackagingArguments
from holoscan_cli.packager.container_builder import PythonAppBuilder
from holoscan_cli.packager.packager import _create_app_manifest, _create_package_manifest
from holoscan_cli.packager.parameters import PlatformBuildResults, PlatformParameters

HERE = Path(__file__).resolve().parent


class ContextBuilder(PythonAppBuilder):
    """Builder of the packager that stops where it would call Docker."""

    def _build_internal(self, dockerfile: str, platform_parameters: PlatformParameters) -> PlatformBuildResults:
        return PlatformBuildResults(platform_parameters)


def write_context(models: Path, tag: str, context: Path) -> None:
    """Fill the empty folder ``context`` with Dockerfile, manifests, application and models."""
    arguments = PackagingArguments(parse_args([
        "monai-deploy", "package", str(HERE / "app"), "-c", str(HERE / "app" / "app.yaml"), "-m", str(models),
        "-t", tag, "--platform", "x86_64", "--source", str(HERE / "artifacts.json"), "--sdk", "monai-deploy",
    ]), str(context))  # fmt: skip
    _create_app_manifest(arguments.application_manifest, str(context))
    _create_package_manifest(arguments.package_manifest, str(context))
    builder = ContextBuilder(arguments.build_parameters, str(context))
    for platform in arguments.platforms:
        builder.build(platform)


if __name__ == "__main__":
    write_context(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
