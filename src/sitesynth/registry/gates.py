"""What must hold before a model may be called champion, as data: one line per rule.

These rules are about a model and its results. What depends on the moment, such as the champion it
would replace, is in `sitesynth.registry.standing`.
"""

from collections.abc import Collection, Mapping, Sequence
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
    provenance: Mapping[str, Any] | None,
    test_patients: Collection[str],
) -> list[Gate]:
    """Judge a strategy's classifier by its results on the external sites.

    Args:
        strategy: Whose classifier it is.
        comparison: Content of results/comparison.json.
        settings: The limits.
        privacy: The privacy gate of each training site's generator, by site.
        provenance: Whose scans the classifier was fitted on; None if its maker told nothing.
        test_patients: Digests of the external patients.

    Returns:
        A verdict per rule; whatever cannot be judged does not pass.
    """
    found = comparison["strategies"][strategy]["overall"]
    verdicts = [
        pair.get("non_inferior")
        for pair in comparison["comparisons"]
        if (pair["a"], pair["b"]) == (strategy, REFERENCE)
    ]
    gates = [
        Gate(
            f"the strategy is one of {', '.join(settings.candidates)}",
            strategy,
            strategy in settings.candidates,
        ),
        _above("the external AUC's", found["auc"], settings.min_auc),
        Gate(
            f"not inferior to {REFERENCE}",
            verdicts[0] if verdicts else "not compared",
            verdicts == [True],
        ),
        _below("the external calibration error's", found["ece"], settings.max_ece),
        *(
            _above(f"{whose} external recall's", recall, settings.min_recall)
            for whose, recall in _recalls(found).items()
        ),
        _leakage_gate(provenance, test_patients),
    ]
    if strategy.startswith(LEARN_FROM_GENERATORS):
        gates += [
            Gate(f"the privacy gate of {site}'s generator", verdict, verdict == PASSED)
            for site, verdict in sorted(privacy.items())
        ]
    return gates


def _recalls(found: Mapping[str, Any]) -> dict[str, Mapping[str, float | None]]:
    """Return the recall of every class, by whose it is."""
    if "classes" in found:
        return {f"{name}'s": told["sensitivity"] for name, told in found["classes"].items()}
    return {
        "the positive class's": found["sensitivity"],
        "the other class's": found["specificity"],
    }


def _above(whose: str, found: Mapping[str, float | None], limit: float) -> Gate:
    rule = f"{whose} 95 % interval lies above {limit}"
    low = found["low"]
    return Gate(rule, [low, found["high"]], low is not None and low > limit)


def _below(whose: str, found: Mapping[str, float | None], limit: float) -> Gate:
    rule = f"{whose} 95 % interval lies below {limit}"
    high = found["high"]
    return Gate(rule, [found["low"], high], high is not None and high < limit)


def _leakage_gate(provenance: Mapping[str, Any] | None, test_patients: Collection[str]) -> Gate:
    rule = "fitted on no external patient"
    if provenance is None:
        return Gate(rule, "nobody told on whom it was fitted", passed=False)
    fitted = {patient for told in provenance["patients"].values() for patient in told}
    if not fitted or not test_patients:
        return Gate(rule, "no patients to compare", passed=False)
    shared = len(fitted & set(test_patients))
    return Gate(rule, f"{shared} of {len(test_patients)} of them", shared == 0)


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
