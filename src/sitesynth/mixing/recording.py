"""What a search tells its run: a nested run per trial, and pictures."""

from typing import final

import optuna
from optuna.trial import FrozenTrial, TrialState

from sitesynth.mixing.figures import draw_search
from sitesynth.mixing.search import (
    ended_trials,
    mix_of_trial,
    name_of_trial,
    settled_trials,
)
from sitesynth.tracking import OnStep, Run


__all__ = ["TrialRecorder"]


@final
class TrialRecorder:
    """Records each trial once, as a run below the stage's own."""

    def __init__(self, tracked: Run, *, show: OnStep, max_total: int) -> None:
        self.tracked = tracked
        self.show = show
        self.max_total = max_total
        self.num_recorded = 0

    def record_new(self, study: optuna.Study) -> None:
        """Record the trials that have ended since."""
        settled = settled_trials(study)
        for number in range(self.num_recorded, len(settled)):
            self._record(number, settled[number])
            losses = [
                trial.value
                for trial in settled[: number + 1]
                if trial.value is not None and trial.state is TrialState.COMPLETE
            ]
            self.show(number + 1, {"best_loss": min(losses)} if losses else {})
        self.num_recorded = len(settled)

    def record_figures(self, study: optuna.Study) -> None:
        """Keep pictures of the search, and how fast it was."""
        for name, figure in draw_search(study):
            self.tracked.log_figure(f"mixing/{name}", figure)
        self.tracked.log_metrics(measure_pace(ended_trials(study)))

    def _record(self, number: int, trial: FrozenTrial) -> None:
        mix = mix_of_trial(trial.params, max_total=self.max_total)
        looks = {step: {"validation_loss": v} for step, v in trial.intermediate_values.items()}
        self.tracked.log_nested(
            f"trial-{number}",
            params={f"{site}/{name}": n for site, cs in mix.items() for name, n in cs.items()},
            metrics=sorted(looks.items(), key=lambda look: look[0]),
            tags={
                "state": trial.state.name.lower(),
                "mix": name_of_trial(trial) or "proposed",
            },
        )


def measure_pace(trials: list[FrozenTrial]) -> dict[str, float]:
    """Return trials per minute, and the share of the time in which no trial was running.

    The time between the first trial's beginning and the last one's end, of one worker without a
    break; several workers' trials overlap, and the share may be negative.
    """
    begun = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    if not begun or not ended:
        return {}
    seconds = (max(ended) - min(begun)).total_seconds()
    busy = sum(trial.duration.total_seconds() for trial in trials if trial.duration is not None)
    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    return {
        "trials_per_minute": 60 * len(trials) / max(seconds, 1e-9),
        "share_between_trials": 1 - busy / max(seconds, 1e-9),
        "pruned_trials": float(pruned),
    }
