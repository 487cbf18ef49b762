"""Chooses layer and strength on items that are not reported."""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from steer._files import sha256, write_text
from steer._methods import extract
from steer._tasks import Item, Setting, Task
from steer.attribution import Pair
from steer.hooks import DataError, Plan, PlanError, RunError

from ._grid import Grid, Point, best_of
from ._items import Items
from ._share import Share
from ._tuning import Tuning


class Tuned(NamedTuple):
    """What tuning made of a method.

    Attributes:
        plan: at the chosen layer and strength.
        shuffled: the same from pairs with shuffled labels.
        how: `items`, `pairs`, `layer`, `strength` and the `grid`.
    """

    plan: Plan
    shuffled: Plan
    how: dict[str, Any]


class Tuner(NamedTuple):
    """What tuning needs to know."""

    task: Task
    setting: Setting
    tuning: Tuning
    pairs: list[Pair] | None
    folder: Path | None
    share: Share

    def tuned(self, method: str, items: Items, fold: int | None) -> Tuned:
        """Extract on one part of the items, choose layer and strength on the rest.

        Kept in the folder, so done once.

        Raises:
            DataError: the task has no pairs of its own and none are given.
            RunError: the folder holds something else under that name.
        """
        name = method if fold is None else f"{method}-{fold}"
        if (known := self._known(name)) is not None:
            return known
        pairs, judges = self.divided(items)
        layers = self.tuning.layers_in(self.setting.model)
        plan = self.kept(f"{name}.extracted", partial(self.extracted, method, pairs, layers))
        tries = {
            Point(method, layer, strength): plan.only(layer).at(strength)
            for layer in plan.layers
            for strength in self.tuning.strengths
        }
        log = None if self.folder is None else self.folder / f"{name}.grid.jsonl"
        grid = Grid(self.task, self.setting, log, self.share).means(tries, judges)
        best = best_of(grid, self.tuning.metric_of(self.task))
        layer, strength = int(best["layer"]), float(best["strength"])
        chosen = plan.only(layer).at(strength)
        shuffled = self.shuffled(method, pairs, layer, strength)
        how = {"items": len(judges), "pairs": len(pairs), "layer": layer, "strength": strength}
        found = Tuned(chosen, shuffled, how | {"plan": chosen.hash, "grid": grid})
        self.share.once(lambda: self._keep(name, found))
        # What one process extracts need not be the same to the last bit in another.
        return (self._known(name) or found) if self.share.world > 1 else found

    def divided(self, items: Items) -> tuple[list[Pair], Items]:
        """Pairs to extract from, and the items that judge."""
        if self.pairs is not None:
            return self.pairs, items
        if self.task.pairs is None:
            raise DataError(
                f"{self.task.name} has no pairs to learn from; give --pairs FILE with prompt, "
                "chosen and rejected"
            )
        order = list(range(len(items)))
        random.Random(self.setting.seed + 1).shuffle(order)
        count = min(self.tuning.sources, len(order) // 2)
        sources = [items[n] for n in order[:count]]
        pairs = self.task.pairs(sources, self.setting.prompt, self.setting.seed)
        return pairs, items.some(order[count:])

    def shuffled(self, method: str, pairs: Sequence[Pair], layer: int, strength: float) -> Plan:
        """What the method makes of the same pairs with their labels shuffled."""
        swapped = shuffled_labels(pairs, self.setting.seed)
        return self.extracted(method, swapped, [layer]).at(strength)

    def extracted(self, method: str, pairs: Sequence[Pair], layers: Sequence[int]) -> Plan:
        """The method's plan from pairs, at strength 1."""
        options: dict[str, Any] = {"batch_tokens": self.setting.batch_tokens}
        options |= {"seed": self.setting.seed}
        options |= self.tuning.options.get(method, {})
        show = self.setting.progress and self.share.first
        return extract(method, self.setting.model, pairs, layers, progress=show, **options)

    def kept(self, name: str, make: Callable[[], Plan]) -> Plan:
        """The plan of that name in the folder, which the first process makes if there is none.

        Made twice it need not be the same to the last bit, so every process, and the same command
        when it goes on, takes what was saved.

        Raises:
            RunError: the folder holds something else under that name, or cannot be written.
        """
        if self.folder is None:
            return make()
        path, vouching = (self.folder / f"{name}{end}" for end in (_KINDS[0], ".json"))
        self.share.once(lambda: _made(path, vouching, make))
        return loaded(path, _vouched(vouching)["plan"])

    def _known(self, name: str) -> Tuned | None:
        if self.folder is None:
            return None
        files = {kind: self.folder / f"{name}{kind}" for kind in (*_KINDS, ".json")}
        if not self.share.once(files[".json"].exists):
            return None
        try:
            how = json.loads(files[".json"].read_text(encoding="utf-8"))
            plan, shuffled = (Plan.load(files[kind]) for kind in _KINDS)
            hashes = {_KINDS[0]: how["plan"], _KINDS[1]: how.pop("shuffled")}
        except (ValueError, KeyError, TypeError, OSError, PlanError) as error:
            raise RunError(
                f"{files['.json']} is damaged ({error}); choose another --out"
            ) from error
        for (kind, known), made in zip(hashes.items(), (plan, shuffled), strict=True):
            if made.hash != known:
                raise RunError(f"{files[kind]} is not what this run made; choose another --out")
        return Tuned(plan, shuffled, how)

    def _keep(self, name: str, found: Tuned) -> None:
        if self.folder is None:
            return
        found.plan.save(self.folder / f"{name}{_KINDS[0]}")
        found.shuffled.save(self.folder / f"{name}{_KINDS[1]}")
        # Written last, so it vouches for the plans.
        _vouch(self.folder / f"{name}.json", found.how | {"shuffled": found.shuffled.hash})


_KINDS = (".safetensors", ".shuffled.safetensors")


def _made(path: Path, vouching: Path, make: Callable[[], Plan]) -> None:
    """Make a plan and save it, unless this run did."""
    # Another run may have had the folder, if it ended before it measured anything.
    claim = path.parent / "run.json"
    run = sha256(claim) if claim.exists() else None
    if vouching.exists() and _vouched(vouching)["run"] == run:
        return
    plan = make()
    plan.save(path)
    _vouch(vouching, {"plan": plan.hash, "run": run})  # written last, so it vouches for the plan


def _vouch(path: Path, told: Mapping[str, Any]) -> None:
    try:
        write_text(path, json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _vouched(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("plan", "run")}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(f"{path} is damaged ({error}); choose another --out") from error


def loaded(path: Path, known: str) -> Plan:
    """The plan in a file, if its hash is the one that is known.

    Raises:
        RunError: it is another plan, or none.
    """
    try:
        plan = Plan.load(path)
    except PlanError as error:
        raise RunError(f"{path} is damaged ({error}); choose another --out") from error
    if plan.hash != known:
        raise RunError(f"{path} is not what this run made; choose another --out")
    return plan


def overlap(pairs: Sequence[Pair], items: Iterable[Item]) -> int:
    """How many items a method learned from: their question stands in the prompt of a pair.

    Case and white space do not matter. Items without a question or prompt are not counted.
    """
    prompts = {_words(pair.prompt) for pair in pairs}
    everything = "\n".join(sorted(prompts))
    texts = (item.shown.get("question") or item.shown.get("prompt") for item in items)
    asked = [_words(text) for text in texts if isinstance(text, str)]
    return sum(bool(text) and (text in prompts or text in everything) for text in asked)


def _words(text: str) -> str:
    """The words with single spaces, so that no text spans two lines."""
    return " ".join(text.casefold().split())


def shuffled_labels(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """The same pairs, a random half of them with chosen and rejected exchanged."""
    swapped = [n < len(pairs) // 2 for n in range(len(pairs))]
    random.Random(seed + 2).shuffle(swapped)
    return [
        Pair(pair.prompt, pair.rejected, pair.chosen) if swap else pair
        for pair, swap in zip(pairs, swapped, strict=True)
    ]
