# SPDX-License-Identifier: Apache-2.0
"""Train a paper's bundles and score them: ``python scripts/train.py split|cross_validate --help``.

After an interruption, run the same command again: finished steps are skipped, a training continues from its last epoch.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungcad.bundle.registry import bundle_root
from lungcad.chain.results_table import results_markdown
from lungcad.cli import run_script
from lungcad.errors import InputError
from lungcad.training.cases import LEFT_OUT
from lungcad.training.recipe import Step, load_recipe, run_recipe

logger = logging.getLogger(__name__)


def split(
    bundle: str, cases_dir: str, runs_dir: str = "runs/split", recipe: str = "recipe", processes: int = 1,
    restarts: int = 0, **overrides: Any,
) -> None:  # fmt: skip
    """Train on CASES_DIR/train, score on CASES_DIR/validation and CASES_DIR/test, by the bundle's recipe.

    Args:
        bundle: name of the bundle, e.g. lung_nodule_fpr_dou2017.
        cases_dir: folder of cases, as scripts/make_cases.py writes it.
        runs_dir: folder for one folder per step, and results.md.
        recipe: name of the recipe, configs/<recipe>.json of the bundle; some bundles have others for their paper's
            comparisons. Steps that recipes share are done once in a runs_dir.
        processes: number of processes that train together (torchrun).
        restarts: number of times that a training that was killed starts again from its last epoch.
        overrides: options of every training, e.g. --epochs 2.
    """
    root = _existing(cases_dir)
    cases = {folder.name: [folder] for folder in _folders_of_cases(root)}
    _refuse_shared_cases(cases)
    steps = _recipe(bundle, recipe)
    run_recipe(steps, runs_dir, cases, processes=processes, restarts=restarts, overrides=overrides)
    scored = [step.name for step in steps if step.config in ("evaluate", "merge", "truth") and step.cases != "train"]
    _write_results({name: [Path(runs_dir) / name] for name in scored}, _table(runs_dir, recipe), root)


def cross_validate(
    bundle: str, cases_dir: str, runs_dir: str = "runs/folds", recipe: str = "recipe", processes: int = 1,
    restarts: int = 0, **overrides: Any,
) -> None:  # fmt: skip
    """Train on all other subsets and score, for each CASES_DIR/subset<k>; at the end score all scans together.

    Args:
        bundle: name of the bundle, e.g. lung_nodule_fpr_dou2017.
        cases_dir: folder with subset0, subset1 ... as ``make_cases.py luna16 --by_subset True`` or
            ``make_nodules.py`` writes them; subset<k>_scaled are further versions of their scans, for training only.
        runs_dir: folder for one folder per subset, and results.md.
        recipe: name of the recipe, configs/<recipe>.json of the bundle; some bundles have others for their paper's
            comparisons. Steps that recipes share are done once in a runs_dir.
        processes: number of processes that train together (torchrun).
        restarts: number of times that a training that was killed starts again from its last epoch.
        overrides: options of every training, e.g. --epochs 2.
    """
    folders = [folder for folder in _folders_of_cases(_existing(cases_dir)) if folder.name.startswith("subset")]
    subsets = [folder for folder in folders if folder.name[6:].isdigit()]
    if len(subsets) < 2:
        text = "fewer than two folders subset<k> of cases."
        hint = "Make them with scripts/make_cases.py luna16 --by_subset True, or scripts/make_nodules.py."
        raise InputError("E-CONFIG", text, hint)
    _refuse_shared_cases({subset.name: [subset] for subset in subsets})
    steps = [step for step in _recipe(bundle, recipe) if step.cases in ("train", "test")]
    for subset in subsets:
        others = [folder for folder in folders if folder.name.split("_")[0] != subset.name]
        logger.info("%s of %d", subset.name, len(subsets))
        run_recipe(steps, Path(runs_dir) / subset.name, {"train": others, "test": [subset]}, processes=processes,
                   restarts=restarts, overrides=overrides)  # fmt: skip
    tests = [step.name for step in steps if step.cases == "test"]
    _write_results({name: [Path(runs_dir) / subset.name / name for subset in subsets] for name in tests},
                   _table(runs_dir, recipe), Path(cases_dir))  # fmt: skip


def _existing(cases_dir: str) -> Path:
    """Folder of cases; raises InputError E-CONFIG where there is none."""
    if not Path(cases_dir).is_dir():
        text = f"no such folder of cases: {Path(cases_dir).name}."
        raise InputError("E-CONFIG", text, "Make it with scripts/make_cases.py or scripts/make_nodules.py.")
    return Path(cases_dir)


def _folders_of_cases(root: Path) -> list[Path]:
    """Folders in ``root`` with a case or a nodule in them, by name."""
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and any(folder.rglob("*.npz")))


def _refuse_shared_cases(splits: Mapping[str, Sequence[Path]]) -> None:
    """Raise InputError E-CONFIG for a case that is in two splits, thus trained and scored on."""
    seen: dict[str, str] = {}
    for split, folders in splits.items():
        for name in sorted(path.stem for folder in folders for path in folder.glob("*.npz")):
            if name in seen:
                text = f"case {name} is in {seen[name]} and in {split} (expected in one split)."
                raise InputError("E-CONFIG", text, "Delete it from one of them, or make the cases again.")
            seen[name] = split


def _recipe(bundle: str, name: str) -> list[Step]:
    """Recipe of a bundle; raises InputError E-CONFIG, with the recipes that there are, for an unknown one."""
    path = bundle_root(bundle) / "configs" / f"{name}.json"
    if not path.is_file():
        known = sorted(recipe.stem for recipe in path.parent.glob("recipe*.json"))
        recipes = sorted(path.parents[2].glob("*/configs/recipe.json"))
        others = [recipe.parents[1].name for recipe in recipes if f'"{bundle}"' in recipe.read_text()]
        advice = f"It has {', '.join(known)}. " if known else ""
        advice += "" if bundle in others else f"It is trained along with {', '.join(others)}." if others else ""
        raise InputError("E-CONFIG", f"{bundle} has no {name}.", advice.strip())
    return load_recipe(path)


def _table(runs_dir: str, recipe: str) -> Path:
    return Path(runs_dir) / f"{recipe.replace('recipe', 'results')}.md"


def _write_results(scored: Mapping[str, Sequence[Path]], table: Path, cases_dir: Path) -> None:
    """Write and print the tables, and list the scans that were refused and thus not scored."""
    text = results_markdown(scored)
    refused = sorted({line for path in cases_dir.glob(f"*/{LEFT_OUT}") for line in path.read_text().splitlines()})
    if refused:
        text += "\n".join(["", f"Not scored, refused when the cases were made: {len(refused)}", *refused, ""])
    table.write_text(text)
    print(text)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_script({"split": split, "cross_validate": cross_validate})
