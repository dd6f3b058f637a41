"""The search for a mix: trials of an Optuna study, one short training each.

The first trials have names: the equal mix, the proportional one, and for each site the equal mix of
the others. The last say most about a site whose synthetic scans do harm, and a sampler of cells one
by one would hardly ever propose them. None of these is pruned. Every trial starts from the same
weights and draws batches by the same seed, so that two trials differ by their mix alone.

Others are pruned in the second half of their training only: before, the order of losses says little
about the order at the end (docs/results.md, One bad site).

The sampler starts anew before each trial, from a seed that depends on how many trials have ended.
So a search that was killed goes on as if it had not been: the trial that was lost is proposed
again, from the same history. With several workers the history depends on who ends first.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Mapping

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from sitesynth import seeds
from sitesynth.mixing.problem import MixingProblem, try_mix
from sitesynth.mixing.storages import mend_journal, open_storage
from sitesynth.settings import MixingSettings
from sitesynth.strategies.mixes import Mix, fit_budget, per_class, pool_of


__all__ = [
    "ended_trials",
    "mix_of_trial",
    "name_of_trial",
    "open_study",
    "search",
    "settled_trials",
]

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)

POLL_S = 1.0

NAME, SITES, SKIPPED = "name", "sites", "skipped"
"""What a trial is told beside its counts: its name if its mix has one, each site's loss, and why it
was not trained."""

Opener = Callable[[], MixingProblem]


def open_study(address: str, name: str) -> optuna.Study:
    """Open a study in a storage, or begin it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=open_storage(address), study_name=name, load_if_exists=True, direction="minimize"
    )


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end, pruned ones among them, in their order."""
    return study.get_trials(deepcopy=False, states=ENDED)


def settled_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the ended trials that no other will come before; a trial keeps its place in it."""
    settled = []
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            break
        if trial.state in ENDED:
            settled.append(trial)
    return settled


def name_of_trial(trial: FrozenTrial) -> str | None:
    """Return the name of a trial's mix if it was not proposed by the sampler."""
    name: str | None = trial.user_attrs.get(NAME)
    return name


def mix_of_trial(params: Mapping[str, int], *, max_total: int) -> Mix:
    """Return the mix of a trial's parameters, each named `<site>/<class>`."""
    mix: dict[str, dict[str, int]] = {}
    for key, count in params.items():
        site, _, name = key.partition("/")
        mix.setdefault(site, {})[name] = count
    return fit_budget(mix, max_total=max_total)


def search(
    opener: Opener,
    problem: MixingProblem,
    named: Mapping[str, Mix],
    *,
    settings: MixingSettings,
    address: str,
    name: str,
    seed: int,
    on_progress: Callable[[optuna.Study], None] = lambda study: None,
) -> optuna.Study:
    """Try mixes until there are enough trials; go on where a killed search stopped.

    Args:
        opener: Loads what the hub has, in each further process.
        problem: What it has loaded in this one.
        named: Mixes to try first, by name.
        settings: The `mixing` section of params.yaml.
        address: Where trials are kept; see `open_storage`.
        name: Of the study in that storage; a search of other inputs has another one.
        seed: Root seed of the study.
        on_progress: Called now and then, and at the end.

    Returns:
        The study.

    Raises:
        TrainingError: If a training diverges.
        SettingsError: If the storage cannot be opened.
    """
    mend_journal(address)
    study = open_study(address, name)
    fail_running(study)
    if settings.num_workers > 1 and not _is_done(study, named, settings):
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(
                target=work,
                args=(opener, named),
                kwargs={
                    "settings": settings,
                    "address": address,
                    "name": name,
                    "seed": seed,
                    "worker": number,
                },
            )
            for number in range(settings.num_workers)
        ]
        for worker in workers:
            worker.start()
        try:
            while any(worker.is_alive() for worker in workers):
                alive = [worker.sentinel for worker in workers if worker.is_alive()]
                multiprocessing.connection.wait(alive, POLL_S)
                on_progress(study)
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()
        # What a killed worker was at is lost; the rest is done here.
        mend_journal(address)
        fail_running(study)
    run_trials(study, problem, named, settings, seed=seed, worker=0, on_progress=on_progress)
    on_progress(study)
    return study


def work(
    opener: Opener,
    named: Mapping[str, Mix],
    *,
    settings: MixingSettings,
    address: str,
    name: str,
    seed: int,
    worker: int,
) -> None:
    """Try mixes in a process of its own, beside others, for as long as its parent lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.num_workers))
    run_trials(open_study(address, name), opener(), named, settings, seed=seed, worker=worker)


def run_trials(
    study: optuna.Study,
    problem: MixingProblem,
    named: Mapping[str, Mix],
    settings: MixingSettings,
    *,
    seed: int,
    worker: int,
    on_progress: Callable[[optuna.Study], None] = lambda study: None,
) -> None:
    """Try mixes in this process until there are enough trials; worker 0 sees to the named ones."""
    bounds = pool_of(problem.pool, problem.classes)

    def objective(trial: optuna.Trial) -> float:
        params = {
            f"{site}/{name}": trial.suggest_int(f"{site}/{name}", 0, bounds[site][name])
            for site in sorted(bounds)
            for name in bounds[site]
        }
        return judge(trial, mix_of_trial(params, max_total=settings.max_total), problem, settings)

    while not _is_done(study, named if worker == 0 else {}, settings):
        if worker == 0:
            _enqueue_next(study, named)
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=settings.num_random,
            multivariate=True,
            seed=seeds.derive_seed(seed, "mixing", worker, len(ended_trials(study))) % 2**32,
        )
        study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=settings.num_random, n_warmup_steps=settings.num_steps // 2
        )
        study.optimize(objective, n_trials=1)
        on_progress(study)


def judge(trial: optuna.Trial, mix: Mix, problem: MixingProblem, settings: MixingSettings) -> float:
    """Train on a trial's mix and return its validation loss.

    Raises:
        TrialPruned: If the mix is too small to try, or does not look promising.
    """
    is_named = NAME in trial.user_attrs
    fewest = min(per_class(mix).values())
    if not is_named and fewest < settings.min_per_class:
        trial.set_user_attr(SKIPPED, f"{fewest} scans of a class")
        raise optuna.TrialPruned

    def on_step(step: int, told: Mapping[str, float]) -> None:
        if "validation_loss" in told:
            trial.report(told["validation_loss"], step)
            if not is_named and step < settings.num_steps and trial.should_prune():
                raise optuna.TrialPruned

    loss, scores = try_mix(problem, mix, member=0, on_step=on_step)
    trial.set_user_attr(SITES, {site: told.loss for site, told in scores.items()})
    return loss


def _end_with_parent() -> None:
    """End this process when the one that started it has died, which no handler could tell."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def fail_running(study: optuna.Study) -> None:
    """Give up the trials that a killed process was at."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _is_done(study: optuna.Study, named: Mapping[str, Mix], settings: MixingSettings) -> bool:
    ended = ended_trials(study)
    names = {name_of_trial(trial) for trial in ended}
    return len(ended) >= settings.num_trials and set(named) <= names


def _enqueue_next(study: optuna.Study, named: Mapping[str, Mix]) -> None:
    """Put the first named mix that nobody has tried, or is trying, at the head of the queue."""
    tried = {
        name_of_trial(trial)
        for trial in study.get_trials(deepcopy=False)
        if trial.state is not TrialState.FAIL
    }
    for name, mix in named.items():
        if name not in tried:
            params = {f"{s}/{c}": count for s, counts in mix.items() for c, count in counts.items()}
            study.enqueue_trial(params, user_attrs={NAME: name})
            return
