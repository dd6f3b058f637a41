"""The doorway to NVFlare: its server plays the hub, its clients play the sites.

A job is a folder of three JSON files that name the two classes below and hand them the plan, and
the weights to begin with. The same folder runs in NVFlare's simulator (`strategies.simulation`) and
on provisioned machines (docs/how-to-federate.md).

Which scans are a site's own is not the hub's to say: each site keeps a file
`local/sitesynth/<site>.json` beside its NVFlare configuration, `{"images": "/path/to/its/images"}`,
and opens no other.

With `federated.encryption` it also keeps `local/sitesynth/sites.key`, which all sites share and the
hub never has.

Likewise the hub keeps `local/sitesynth-hub.json`, `{"standings": "/path/to/a/folder"}`: there it
writes after each round where it stands, and from there a resumed job goes on.

What the hub has found lies in the folder of its run:

    events.jsonl          one line per round, absence and site's message; written as it happens
    members.safetensors   best weights of each member, named <member>/<name>; written last
    failure.txt           why there are none
"""

import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, final

import torch
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.model_controller import ModelController
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

from sitesynth import seeds
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.training import ValidationScore
from sitesynth.errors import MissingInputError, SettingsError, SitesynthError, TrainingError
from sitesynth.images import read_images
from sitesynth.storage import read_json, replacing, write_json, write_text
from sitesynth.strategies.answers import Absence, Answer, Answers, Question
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.fitting import SiteLoader
from sitesynth.strategies.participant import Participant, join_members, split_members
from sitesynth.strategies.plan import Plan
from sitesynth.strategies.protocol import Site
from sitesynth.strategies.rounds import Hub, Standing
from sitesynth.strategies.sealing import Seal, SiteKey
from sitesynth.strategies.standing import read_standing, standing_file, write_standing
from sitesynth.tracking import OnStep
from sitesynth.training import best_device


__all__ = [
    "COMPONENTS",
    "EVENTS",
    "NVFlareHub",
    "NVFlareSite",
    "hub_file",
    "key_file",
    "pack",
    "prepare_kit",
    "read_fetched",
    "read_result",
    "read_score",
    "run_deployed",
    "sit_down",
    "site_file",
    "unpack",
    "write_job",
]

INITIAL = "initial.safetensors"
EVENTS = "events.jsonl"
FAILURE = "failure.txt"
LOGIN_S = 60.0
LOOK_S = 1.0
WEIGHTS = "weights"
POLL_S = 0.1
"""How often sites look for a task, and the hub for their answers: NVFlare's 2 s and 0.5 s would
cost more than the training of a small round."""


START_S = 300
"""Granted on top of `federated.patience_s` before the first answer, while sites still start."""


def site_file(local: Path, site: str) -> Path:
    """Return the file in which a site says where its own images are."""
    return local / "sitesynth" / f"{site}.json"


def key_file(local: Path) -> Path:
    """Return the file in which a site keeps the key that the sites share."""
    return local / "sitesynth/sites.key"


def hub_file(local: Path) -> Path:
    """Return the file in which the hub says where it keeps its standings."""
    return local / "sitesynth-hub.json"


def write_job(
    folder: Path, plan: Plan, initial: Mapping[int, Weights], *, resume: bool = False
) -> None:
    """Write a federated training as an NVFlare job.

    Args:
        folder: A new folder; its name is the job's.
        plan: What is to be trained, by whom.
        initial: By member, the weights to begin with.
        resume: Go on from where an interrupted job of the same plan and weights stood.
    """
    told = {"plan": plan.model_dump_json()}
    hub = {"id": "hub", "path": _path_of(NVFlareHub), "args": {**told, "resume": resume}}
    site = {"tasks": ["*"], "executor": {"path": _path_of(NVFlareSite), "args": told}}
    write_json(
        folder / "meta.json",
        {
            "name": folder.name,
            "resource_spec": {},
            "min_clients": plan.federated.min_sites or len(plan.sites),
            "deploy_map": {"hub": ["server"], "site": list(plan.sites)},
        },
    )
    write_json(
        folder / "hub/config/config_fed_server.json",
        {
            "format_version": 2,
            "server": {"task_request_interval": POLL_S},
            "workflows": [hub],
            "components": [],
            "task_data_filters": [],
            "task_result_filters": [],
        },
    )
    write_json(
        folder / "site/config/config_fed_client.json",
        {
            "format_version": 2,
            "executors": [site],
            "components": [],
            "task_data_filters": [],
            "task_result_filters": [],
        },
    )
    save_file(
        {name: value.contiguous() for name, value in join_members(initial).items()},
        folder / "hub/config" / INITIAL,
    )


def prepare_kit(kit: Path, images: Path | None, key: Path | None) -> None:
    """Make a provisioned startup kit ready for our jobs.

    Args:
        kit: The kit's folder, as `nvflare provision` made it.
        images: The site's own image set; None for the hub, which has none.
        key: The key that the sites share, of which the kit gets a copy; None without encryption,
            and for the hub.

    Raises:
        MissingInputError: If the folder is no kit, or holds no such image set or key.
        SettingsError: If the hub is given the sites' key.
    """
    default = kit / "local/resources.json.default"
    if not default.exists():
        raise MissingInputError(
            f"{kit} is no startup kit (local/resources.json.default is missing); "
            "`nvflare provision` makes one."
        )
    if key is not None and images is None:
        raise SettingsError(
            f"{kit} is given the sites' key {key}, and no image set: only sites may have the key. "
            "Name the site's --images, or leave out --key."
        )
    if images is not None:
        read_images(images)
        if key is not None:
            SiteKey.read(key).write(key_file(kit / "local"))
        about = read_json(kit / "startup/fed_client.json")
        site = about["client"]["fqsn"]
        write_json(
            site_file(kit / "local", site),
            {"images": str(images.resolve()), "noise_key": secrets.token_hex()},
        )
    elif (kit / "startup/fed_server.json").exists():
        write_json(hub_file(kit / "local"), {"standings": str(kit.resolve() / "standings")})
    write_json(kit / "local/resources.json", _restricted(read_json(default), kit.resolve()))


def read_result(run: Path) -> dict[int, dict[str, Tensor]] | None:
    """Read what the hub left in the folder of its run: each member's best weights.

    Returns:
        By member, its weights; None if the hub left neither result nor reason.

    Raises:
        TrainingError: If the hub gave up.
    """
    failure, found = run / FAILURE, run / "members.safetensors"
    if failure.exists():
        raise TrainingError(failure.read_text(encoding="utf-8"))
    return split_members(load_file(found)) if found.exists() else None


def _restricted(resources: dict[str, Any], kit: Path) -> dict[str, Any]:
    """Return a participant's resources, tightened.

    Of all classes that a job could name, ours, and NVFlare's own that it adds to each job. A site's
    logs stay there: NVFlare would stream them to the hub. The hub's jobs stay in its kit: NVFlare
    would keep them under /tmp.
    """
    tightened = resources | {
        "class_allow_list": [*COMPONENTS, "nvflare.app_common.logging."],
        "allow_log_streaming": False,
        "components": [
            component
            for component in resources["components"]
            if component["id"] != "site_log_streamer"
        ],
    }
    text = json.dumps(tightened).replace("/tmp/nvflare/", f"{kit}/")  # noqa: S108
    restricted: dict[str, Any] = json.loads(text)
    return restricted


def run_deployed(
    plan: Plan, job: Path, kit: Path, into: Path
) -> tuple[dict[int, dict[str, Tensor]], list[dict[str, Any]]]:
    """Submit a job to a running hub, wait for its end, and fetch what it found.

    Args:
        plan: What is to be trained, by whom.
        job: As `write_job` wrote it.
        kit: Startup kit of who submits it; its folder bears their name.
        into: Where to put what is fetched.

    Returns:
        By member, its best weights; and what the hub wrote down.

    Raises:
        TrainingError: If too few sites came, the hub was lost or gave up, or the job ended without
            a result.
    """
    # Only here: it brings the client of NVFlare's console.
    from nvflare.fuel.flare_api.api_spec import NoConnection, SessionClosed  # noqa: PLC0415
    from nvflare.fuel.flare_api.flare_api import new_secure_session  # noqa: PLC0415

    try:
        session = new_secure_session(kit.name, str(kit), timeout=LOGIN_S)
        try:
            session.set_timeout(LOGIN_S)
            _wait_for_sites(session, plan)
            number = session.submit_job(str(job))
            session.monitor_job(number)
            status = session.get_job_meta(number).get("status")
            fetched = Path(session.download_job_result(number, str(into)))
        finally:
            session.close()
    except (NoConnection, SessionClosed) as error:
        raise TrainingError(
            f"the hub of {kit} cannot be reached ({error}). Once it runs, --resume goes on after "
            "the last whole round of an interrupted job."
        ) from error
    found = read_fetched(fetched)
    if found is None:
        raise TrainingError(
            f"the job {number} ended as {status} without a result; the hub's log says why "
            f"(log.txt in its kit's folder {number})."
        )
    return found


def read_fetched(
    fetched: Path,
) -> tuple[dict[int, dict[str, Tensor]], list[dict[str, Any]]] | None:
    """Read what NVFlare brought of a job: result and events; None if it is not there.

    Raises:
        TrainingError: If the hub gave up, in its words. It may do so before anything happened, and
            then its reason is all that it left.
    """
    left = [note for name in (FAILURE, EVENTS) for note in sorted(fetched.rglob(name))]
    for run in dict.fromkeys(note.parent for note in left):
        best = read_result(run)
        if best is not None:
            told = (run / EVENTS).read_text(encoding="utf-8").splitlines()
            return best, [json.loads(line) for line in told]
    return None


def _wait_for_sites(session: Any, plan: Plan) -> None:
    """Wait for every site, as long as for an answer; in the end, for as many as a round needs.

    Raises:
        TrainingError: If too few came; NVFlare would keep the job waiting forever.
    """
    until = time.monotonic() + plan.federated.patience_s
    while True:
        here = {client.name for client in session.get_system_info().client_info}
        missing = sorted(set(plan.sites) - here)
        if not missing:
            return
        if time.monotonic() > until:
            break
        time.sleep(LOOK_S)
    needed = plan.federated.min_sites or len(plan.sites)
    if len(plan.sites) - len(missing) < needed:
        raise TrainingError(
            f"{', '.join(missing)} did not come within {plan.federated.patience_s} s, and "
            f"federated.min_sites asks for {needed} sites. Start the site, or lower "
            "federated.min_sites to go on without it."
        )


def _path_of(component: type) -> str:
    return f"{component.__module__}.{component.__qualname__}"


@final
class NVFlareHub(ModelController):  # type: ignore[misc]
    """Runs `rounds.Hub` in NVFlare's server."""

    def __init__(self, plan: str, resume: bool) -> None:  # noqa: FBT001 - NVFlare's calling
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=POLL_S)
        self.plan = plan
        self.resume = resume
        self.read_plan = Plan.model_validate_json(plan)
        self.patience_s = START_S + self.read_plan.federated.patience_s

    def run(self) -> None:
        """Train every member, and choose nothing silently: an error ends the job."""
        plan = self.read_plan
        initial = split_members(load_file(Path(self.get_app_dir()) / "config" / INITIAL))
        folder = Path(self.get_run_dir())
        hub = Hub(
            self._ask,
            sites=plan.sites,
            trained=plan.trained,
            federated=plan.federated,
            num_steps=plan.classifier.num_steps,
            seed=plan.seed,
            on_absence=lambda question, reasons: self._tell(
                "absence", question=asdict(question), reasons=dict(reasons)
            ),
        )
        try:
            best = self._train_members(hub, initial)
            score = hub.decide(join_members(best))
        except SitesynthError as error:
            write_text(folder / FAILURE, str(error))
            self.panic(str(error))
            return
        self._tell("score", score=asdict(score))
        with replacing(folder / "members.safetensors") as temporary:
            save_file(join_members(best), temporary)

    def _train_members(self, hub: Hub, initial: Mapping[int, Weights]) -> dict[int, Weights]:
        """Train one member after the other, and write down after each round where it stands.

        Raises:
            MissingInputError: If there is nothing to resume.
            TrainingError: If a round has too few usable answers.
        """
        local = Path(self.fl_ctx.get_workspace().get_site_config_dir())
        kept = standing_file(Path(read_json(hub_file(local))["standings"]), self.read_plan, initial)
        best: dict[int, Weights] = {}
        begun, standing = min(initial), None
        if self.resume:
            if not kept.exists():
                raise MissingInputError(
                    f"{kept} does not exist: no round of this plan and these weights is complete; "
                    "run it without --resume."
                )
            begun, standing, finished = read_standing(kept)
            best |= finished
            self._tell("resumed", member=begun, number=standing.number)
        for member in sorted(set(initial) - set(best)):

            def keep(reached: Standing, member: int = member) -> None:
                write_standing(kept, member, reached, best)

            best[member] = hub.train(
                initial[member],
                member=member,
                on_step=self._step_of(member),
                resumed=standing if member == begun else None,
                on_round=keep if self.read_plan.is_resumable else lambda standing: None,
            )
        kept.unlink(missing_ok=True)
        return best

    def _step_of(self, member: int) -> OnStep:
        return lambda step, losses: self._tell(
            "step", member=member, step=step, losses=dict(losses)
        )

    def _ask(self, question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        asked = time.monotonic()
        patience = self.patience_s
        self.patience_s = self.read_plan.federated.patience_s
        found: dict[str, Answer | Absence] = {
            site: Absence(f"no answer in {patience} s; its log says whether it was asked")
            for site in sites
        }
        for told in self.send_model_and_wait(
            task_name=question.kind,
            data=FLModel(
                params_type=ParamsType.FULL,
                params=pack(weights),
                meta={"member": question.member, "number": question.number},
            ),
            targets=sorted(sites),
            timeout=patience,
        ):
            site = told.meta["client_name"]
            self._tell("message", site=site, question=asdict(question), **told.meta["traffic"])
            found[site] = read_answer(told)
        self._tell("asked", question=asdict(question), seconds=time.monotonic() - asked)
        return found

    def _tell(self, event: str, **content: Any) -> None:
        with (Path(self.get_run_dir()) / EVENTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **content}) + "\n")


@final
class NVFlareSite(Executor):  # type: ignore[misc]
    """Runs `participant.Participant` in NVFlare's client."""

    def __init__(self, plan: str) -> None:
        super().__init__()
        self.plan = plan
        self.read_plan = Plan.model_validate_json(plan)
        self.participant: Participant | None = None

    def execute(
        self,
        task_name: Literal["train", "score", "open", "decide"],
        shareable: Shareable,
        fl_ctx: FLContext,
        abort_signal: Signal,  # noqa: ARG002 - a round is short
    ) -> Shareable:
        """Answer one question; an error of ours is told to the hub, which decides what it means."""
        received = traffic("Received")
        sent = traffic("Sent")
        started, worked = time.monotonic(), time.process_time()
        protected = 0.0 if self.participant is None else self.participant.protection_s
        # The task may run in another thread than the one that imported torch's settings.
        torch.set_flush_denormal(True)
        asked = FLModelUtils.from_shareable(shareable)
        question = Question(task_name, asked.meta["member"], asked.meta["number"])
        weights = unpack(asked.params)
        meta: dict[str, Any] = {}
        params: dict[str, Any] = {}
        try:
            if self.participant is None:
                local = Path(fl_ctx.get_workspace().get_site_config_dir())
                self.participant = sit_down(fl_ctx.get_identity_name(), self.read_plan, local)
            answer = self.participant.answer(question, weights)
        except SitesynthError as error:
            meta["problem"] = f"{type(error).__name__}: {error}"
        else:
            params = pack(answer.weights)
            meta["num_scans"] = answer.num_scans
            meta["losses"] = list(answer.losses)
            meta["score"] = None if answer.score is None else asdict(answer.score)
            meta["change"] = answer.change
        meta["traffic"] = {
            "received_before": received,
            "sent_before": sent,
            "seconds": time.monotonic() - started,
            "cpu_seconds": time.process_time() - worked,
            "protection_seconds": 0.0
            if self.participant is None
            else self.participant.protection_s - protected,
        }
        return FLModelUtils.to_shareable(
            FLModel(params_type=ParamsType.FULL, params=params, meta=meta)
        )


def sit_down(site: str, plan: Plan, local: Path) -> Participant:
    """Open a site's own scans, and nobody else's.

    Args:
        site: The site's name, as NVFlare has authenticated it.
        plan: What is to be trained.
        local: Folder of the site's own configuration.

    Raises:
        MissingInputError: If the site has not said where its images are, or has no key where the
            plan asks for encryption.
    """
    file = site_file(local, site)
    if not file.exists():
        raise MissingInputError(
            f'{file} does not exist; the site {site} must say there {{"images": "/its/image/set"}}.'
        )
    own = read_json(file)
    seal = None
    if plan.federated.encryption != "none":
        key = SiteKey.read(key_file(local))
        seal = Seal(key, site=site, sites=plan.sites, federated=plan.federated)
    images = read_images(Path(own["images"]))
    loader = SiteLoader(plan.label, plan.classes, plan.positive)
    model = build_classifier(
        plan.classifier,
        num_sequences=len(plan.sequences),
        num_classes=len(plan.classes),
        dims=plan.dims,
        rng=seeds.generator(plan.seed, "overwritten"),
    )
    return Participant(
        site,
        Site(
            real=loader.load(images.in_split("train"), "real"),
            synthetic=None,
            validate=loader.validator(images),
        ),
        model.to(best_device()),
        settings=plan.classifier,
        federated=plan.federated,
        seed=plan.seed,
        noise_key=own["noise_key"],
        seal=seal,
    )


def read_answer(told: FLModel) -> Answer | Absence:
    """Read what a site has sent; what is wrong with it is for the hub to find."""
    if "problem" in told.meta:
        return Absence(str(told.meta["problem"]))
    score = told.meta["score"]
    try:
        weights = unpack(told.params or {})
    except TrainingError as error:
        return Absence(str(error))
    return Answer(
        weights=weights,
        num_scans=int(told.meta["num_scans"]),
        losses=tuple(told.meta["losses"]),
        score=None if score is None else read_score(score),
        change=told.meta.get("change"),
    )


def read_score(told: Mapping[str, Any]) -> ValidationScore:
    """Read a score from JSON, which has no tuples."""
    hits = tuple((int(above), int(below)) for above, below in told["hits"])
    return ValidationScore(**{**told, "hits": hits})


def pack(weights: Weights) -> dict[str, bytes]:
    """Return weights as one message carries them.

    As safetensors and not as numpy arrays, which NVFlare reads in several threads: numpy reads an
    array's header with `ast`, which fails at random in threads before Python 3.11.8 (gh-106905).
    """
    return {WEIGHTS: save({k: v.detach().cpu().contiguous() for k, v in weights.items()})}


def unpack(params: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a message.

    Raises:
        TrainingError: If the message holds none.
    """
    try:
        return load(params[WEIGHTS])
    except (KeyError, TypeError, SafetensorError) as error:
        raise TrainingError(f"the weights of a message cannot be read: {error!r:.200}.") from error


def traffic(direction: Literal["Sent", "Received"]) -> int:
    """Return the bytes of messages of this process so far, as NVFlare itself counts them."""
    mebibytes = 0.0
    for name, told in StatsPoolManager.to_dict().items():
        if name.startswith(f"{direction.lower()}_msg_sizes"):
            bins = [bin_ for bins in told["pool"]["cat_data"].values() for bin_ in bins if bin_]
            mebibytes += sum(bin_["total"] for bin_ in bins)
    return round(mebibytes * 2**20)


COMPONENTS = (_path_of(NVFlareHub), _path_of(NVFlareSite))
"""The classes that a job of ours names; a site need allow no others."""
