"""What must hold before a model may be called champion, as data: one line per rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from sitesynth.settings import RegistrySettings


__all__ = ["Gate", "gates_of_classifier", "gates_of_generator", "privacy_gate", "refusals"]

REFERENCE = "centralized"
"""The strategy that a champion must not be inferior to."""

LEARN_FROM_GENERATORS = ("augmented", "synthetic")
"""How the strategies begin whose classifier has seen what sites' generators give."""

PASSED = "passed"


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """One rule, what was found, and whether that passes."""

    rule: str
    value: Any
    passed: bool

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{'passed ' if self.passed else 'REFUSED'} {self.rule}: {self.value}"


def gates_of_classifier(
    strategy: str,
    comparison: Mapping[str, Any],
    *,
    settings: RegistrySettings,
    privacy: Mapping[str, str],
) -> list[Gate]:
    """Judge a strategy's classifier by its results on the external sites.

    Args:
        strategy: Whose classifier it is.
        comparison: Content of results/comparison.json.
        settings: The limits.
        privacy: The privacy gate of each training site's generator, by site.

    Returns:
        A verdict per rule; whatever cannot be judged does not pass.
    """
    auc = comparison["strategies"][strategy]["overall"]["auc"]
    verdicts = [
        found.get("non_inferior")
        for found in comparison["comparisons"]
        if (found["a"], found["b"]) == (strategy, REFERENCE)
    ]
    gates = [
        Gate(
            f"the strategy is one of {', '.join(settings.candidates)}",
            strategy,
            strategy in settings.candidates,
        ),
        Gate(
            f"the external AUC's 95 % interval lies above {settings.min_auc}",
            [auc["low"], auc["high"]],
            auc["low"] is not None and auc["low"] > settings.min_auc,
        ),
        Gate(
            f"not inferior to {REFERENCE}",
            verdicts[0] if verdicts else "not compared",
            verdicts == [True],
        ),
    ]
    if strategy.startswith(LEARN_FROM_GENERATORS):
        gates += [
            Gate(f"the privacy gate of {site}'s generator", verdict, verdict == PASSED)
            for site, verdict in sorted(privacy.items())
        ]
    return gates


def gates_of_generator(card: Mapping[str, Any]) -> list[Gate]:
    """Judge a generator by the card in its bundle."""
    verdict = privacy_gate(card)
    return [Gate("the privacy gate", verdict, verdict == PASSED)]


def privacy_gate(card: Mapping[str, Any]) -> str:
    """Return what a bundle's card says of its privacy gate; `not assessed` if nothing."""
    return str(card["privacy"].get("gate", {}).get("verdict", "not assessed"))


def refusals(gates: Sequence[Gate]) -> list[Gate]:
    """Return the gates that do not pass."""
    return [gate for gate in gates if not gate.passed]
