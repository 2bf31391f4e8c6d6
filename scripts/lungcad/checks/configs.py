# SPDX-License-Identifier: Apache-2.0
"""Checks of configs: MONAI's required properties, and that every stack of configs can be built and run."""

import inspect
import re
from pydoc import locate
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.bundle.config_item import ConfigComponent, ConfigExpression

from lungcad.checks.bundle import Bundle


def check_properties(bundle: Bundle) -> str:
    """Check that MONAI finds the properties that an inference workflow must have."""
    workflow = ConfigWorkflow(
        str(bundle.config("inference")), meta_file=str(bundle.config("metadata")), logging_file=False,
        workflow_type="inference", bundle_root=str(bundle.root), initialize=[],
    )  # fmt: skip
    workflow.initialize()  # runs nothing, but MONAI requires the call
    missing = workflow.check_properties()
    assert not missing, f"missing: {missing}"
    return "inference workflow"


def check_overlays(bundle: Bundle) -> str:
    """Check that configs parse with their overlays; references, expressions, classes and their arguments exist."""
    overlays = (
        ("train",), ("evaluate",), ("evaluate", "mine"), ("merge",), ("evaluate", "merge"), ("magnify",),
        ("evaluate", "truth"),
        ("characterise",),
        ("train", "multi_gpu_train"), ("train", "deeplesion"), ("evaluate", "deeplesion"),
        ("evaluate", "deeplesion", "lesions"),
    )  # fmt: skip
    stacks: list[tuple[str, ...]] = [(), *overlays]
    stacks = [stack for stack in stacks if all(bundle.config(name).is_file() for name in stack)]
    for stack in stacks:
        resolver = bundle.parser(*stack).ref_resolver
        for name, item in resolver.items.items():
            location = f"{'+'.join(('inference', *stack))}: {name}"
            unknown = resolver.find_refs_in_config(item.get_config(), name).keys() - resolver.items.keys()
            assert not unknown, f"{location} refers to {', '.join(unknown)}"
            if isinstance(item, ConfigComponent):
                _check_call(item, location)
            elif ConfigExpression.is_import_statement(item.get_config()):
                item.evaluate()
            elif isinstance(item, ConfigExpression):
                compile(re.sub(r"@[\w:#]*", "_", item.get_config())[1:].strip(), location, "eval")
    return ", ".join("+".join(("inference", *stack)) for stack in stacks)


def _check_call(item: ConfigComponent, location: str) -> None:
    """Check that the class or function of a component exists and takes its arguments."""
    target = item.resolve_module_name()
    called: Any = locate(target) if isinstance(target, str) else target
    assert called is not None, f"{location}: no {target}"
    arguments = {key: None for key in item.get_config() if not key.startswith("_")}
    signature = inspect.signature(called)
    bind = signature.bind_partial if item.get_config().get("_mode_") else signature.bind
    try:
        bind(**arguments)
    except TypeError as error:
        raise AssertionError(f"{location}: {target}: {error}") from error
