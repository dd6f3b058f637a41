"""dvc.yaml and the stages say the same thing.

A stage's signature says what it reads, writes and obeys; dvc.yaml says it again, because DVC reruns
a stage by what stands there. A promise below is a function that lists what breaks it, so that it
can itself be tested on a graph that does.
"""

import copy
import importlib
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import grimp
import pytest
from ruamel.yaml import YAML

from pipelines._stage import Knob, StageSignature, obeyed_by
from sitesynth.settings import OVERRIDABLE, LabelUnit, SiteSettings, load_settings


Entry = Mapping[str, Any]

ROOT = Path(__file__).parents[2]
DVC_FILE: Mapping[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
STAGES: Mapping[str, Entry] = DVC_FILE["stages"]

DATA = {"bundles", "data", "models", "results"}
"""Folders that stages write to."""

SITE = "${item.site}"

SOURCE = "${cohort.source}"
"""What a study is made from; it lies outside the graph, and every site is cut from it."""

PHANTOM = "src/sitesynth/phantom"
"""What `SOURCE` is in the default study: the code that makes the scans."""

# Plumbing carries values and chooses none: what passes through it is tracked as params and deps,
# and an edit to it must not retrain a diffusion model. Snapshots are for MLflow alone.
PLUMBING = {
    "pipelines._stage",
    "sitesynth.errors",
    "sitesynth.processes",
    "sitesynth.progress",
    "sitesynth.settings",
    "sitesynth.snapshots",
    "sitesynth.storage",
    "sitesynth.threads",
    "sitesynth.tracking",
}


def paths(entries: Iterable[str | Mapping[str, Any]]) -> set[str]:
    """Return the paths of a `deps` or `outs` list, options dropped."""
    return {next(iter(entry)) if isinstance(entry, Mapping) else entry for entry in entries}


def data_deps(entry: Entry) -> set[str]:
    """Return what a stage reads, its code left out."""
    return {dep for dep in paths(entry["deps"]) if dep == SOURCE or is_data(dep)}


def code_deps(entry: Entry) -> set[str]:
    """Return the code that a stage depends on, as paths."""
    return {PHANTOM if dep == SOURCE else dep for dep in paths(entry["deps"]) if not is_data(dep)}


def written(entry: Entry) -> set[str]:
    """Return what DVC hashes after a stage."""
    return paths([*entry.get("outs", ()), *entry.get("metrics", ()), *entry.get("plots", ())])


def is_data(path: str) -> bool:
    """Return whether a path lies where stages write."""
    return PurePosixPath(path).parts[0] in DATA


def is_own(path: str) -> bool:
    """Return whether a path of a per-site stage is that site's: a folder or file of its name."""
    return any(
        part == SITE or re.fullmatch(re.escape(SITE) + r"\.[a-z]+", part)
        for part in PurePosixPath(path).parts
    )


def runs_per_site(entry: Entry) -> bool:
    """Return whether a stage has one instance per site."""
    return "site" in entry.get("matrix", {})


def foreign_paths(entry: Entry) -> set[str]:
    """List the paths by which a site's stage could meet another site's scans."""
    if not runs_per_site(entry):
        return set()
    return {path for path in data_deps(entry) | written(entry) if not is_own(path)}


def expected_params(stage: StageSignature) -> set[str]:
    """Return the keys of params.yaml that decide what a stage does."""
    keys = set(stage.params.values())
    obeys_overrides = "site" in stage.items and keys & set(OVERRIDABLE)
    return keys | ({f"overrides.{SITE}"} if obeys_overrides else set())


def source_file(module: str) -> Path:
    """Return where a module's code is; a package's `__init__.py` holds a docstring only."""
    top = ROOT / "src" if module.startswith("sitesynth") else ROOT
    return top.joinpath(*module.split(".")).with_suffix(".py")


def code_that_matters(module: str, imports: grimp.ImportGraph) -> set[Path]:
    """Return the files of a stage and of all that it imports, at any depth, plumbing left out.

    What lies beside a module and is not code, such as a page's template, belongs to it.
    """
    modules = {module} | imports.find_upstream_modules(module)
    files = {file for name in modules if (file := source_file(name)).exists()}
    packages = {file.parent for file in files} - {ROOT / "pipelines", ROOT / "src/sitesynth"}
    return files | {
        file for package in packages for file in files_in(package) if file.suffix != ".py"
    }


def files_in(folder: Path) -> set[Path]:
    """Return the files of a package, without docstrings-only modules and bytecode."""
    return {
        file
        for file in folder.rglob("*")
        if file.is_file() and file.name != "__init__.py" and "__pycache__" not in file.parts
    }


def compact(files: set[Path]) -> set[str]:
    """Return files as they stand in dvc.yaml: a package of which half matters is one line.

    Every line is four of dvc.lock, which DVC reads and writes anew after every stage: with a line
    per module that was a tenth of the study's time.
    """
    lines = set()
    for file in files:
        package = file.parent
        is_package = (package / "__init__.py").exists() and package.parent != ROOT
        is_half = is_package and 2 * len(files & files_in(package)) >= len(files_in(package))
        lines.add(str((package if is_half else file).relative_to(ROOT)))
    return lines


def signature(name: str) -> StageSignature:
    """Return the signature of the stage of that name."""
    return StageSignature.of(importlib.import_module(f"pipelines.{name}").run)


@pytest.fixture(scope="session")
def imports() -> grimp.ImportGraph:
    """Return who imports whom in the project, as if plumbing imported nothing."""
    graph = copy.deepcopy(
        grimp.build_graph(
            "sitesynth", "pipelines", exclude_type_checking_imports=True, cache_dir=None
        )
    )
    within = {name for module in PLUMBING for name in graph.find_descendants(module)}
    for module in (PLUMBING | within) & graph.modules:
        graph.remove_module(module)
    return graph


def test_every_stage_has_a_file_and_every_file_a_stage() -> None:
    """`ls pipelines` is the table of contents of dvc.yaml."""
    files = {file.stem for file in (ROOT / "pipelines").glob("[!_]*.py")}

    assert files == set(STAGES)


@pytest.mark.parametrize("name", STAGES)
class TestStage:
    """Each promise holds for each stage."""

    def test_command_names_the_declared_paths(self, name: str) -> None:
        """A stage reads exactly its data `deps`, and writes exactly its `outs` and what it times.

        What differs from run to run (wall-clock times) is not hashed: it is no output of the graph.
        """
        python, option, module, *argv = shlex.split(STAGES[name]["cmd"])
        stage = signature(name)
        arguments = stage.parse(argv)

        assert [python, option, module] == ["python", "-m", f"pipelines.{name}"]
        assert {str(arguments[key]) for key in stage.inputs} == data_deps(STAGES[name])
        assert {str(arguments[key]) for key in stage.outputs} == written(STAGES[name])
        assert {str(arguments[key]) for key in stage.measured}.isdisjoint(written(STAGES[name]))

    def test_command_names_the_item_of_the_matrix(self, name: str) -> None:
        """An instance cannot be told one site and given another's paths."""
        _, _, _, *argv = shlex.split(STAGES[name]["cmd"])
        stage = signature(name)
        arguments = stage.parse(argv)

        assert stage.items == set(STAGES[name].get("matrix", {}))
        assert {key: arguments[key] for key in stage.items} == {
            key: f"${{item.{key}}}" for key in stage.items
        }

    def test_a_site_sees_its_own_data_only(self, name: str) -> None:
        """What is made per site cannot have met another site's scans: the graph shows it.

        One exception, stated: `acquire` cuts each site out of the one source of the study.
        """
        exception = {SOURCE} if name == "acquire" else set()

        assert foreign_paths(STAGES[name]) == exception

    def test_params_are_the_sections_it_takes(self, name: str) -> None:
        """A stage reruns when, and only when, a knob that it obeys is turned."""
        assert set(STAGES[name].get("params", ())) == expected_params(signature(name))

    def test_depends_on_the_code_it_imports(self, name: str, imports: grimp.ImportGraph) -> None:
        """A stage reruns when a module that it reaches is changed, or a package it is half of.

        The phantom's code is the source of the default study, which DVC watches as a whole.
        """
        reached = code_that_matters(f"pipelines.{name}", imports)
        declared = code_deps(STAGES[name])
        if SOURCE in paths(STAGES[name]["deps"]):
            reached, declared = reached - files_in(ROOT / PHANTOM), declared - {PHANTOM}

        assert declared == compact(reached)


def test_a_stage_may_obey_one_knob_of_a_section() -> None:
    """It is given the knob's value, and reruns for no other of the section; MLflow is told both."""

    def run(*, sites: SiteSettings, unit: Annotated[LabelUnit, Knob("cohort.label_unit")]) -> None:
        """Do nothing."""

    stage = StageSignature.of(run)
    study = load_settings(ROOT / "params.yaml")
    given, told = obeyed_by(stage, study)

    assert expected_params(stage) == {"sites", "cohort.label_unit"}
    assert given == {"sites": study.sites, "unit": "patient"}
    assert told["cohort"] == {"label_unit": "patient"}
    assert set(told) == {"sites", "cohort"}


def test_only_training_sites_train_a_generator() -> None:
    """An external site is tested on, and nothing else: no model is made of its scans."""
    makers = {
        name
        for name, entry in STAGES.items()
        if runs_per_site(entry)
        and any(path.split("/")[0] in {"models", "bundles"} for path in written(entry))
    }

    assert makers
    assert {STAGES[name]["matrix"]["site"] for name in makers} == {"${sites.training}"}


def test_the_hub_draws_from_bundles_and_sees_no_scan() -> None:
    """Synthetic scans are made of what left the site, and of nothing that did not."""
    assert {path.split("/")[0] for path in data_deps(STAGES["sample"])} == {"bundles"}


def test_a_new_site_reruns_its_own_stages_and_the_hubs() -> None:
    """What names the sites obliges `acquire`, whose table is then the same, and nobody's stages.

    Of a per-site stage, all else that it reads is its own site's (above).
    """
    named = {"sites", "phantom", "strategies", "overrides"}
    touched = {
        name
        for name, entry in STAGES.items()
        if runs_per_site(entry) and named & set(entry.get("params", ()))
    }

    assert touched == {"acquire"}


class TestPromises:
    """The promises notice when they are broken."""

    @pytest.mark.parametrize(
        "foreign",
        [
            "data/images",  # every site's
            "data/images/birch",  # a named site's
            "data/images/${item.site}-and-others",  # of another name that begins alike
            "models/autoencoder/${sites.training}",
            SOURCE,
        ],
    )
    def test_another_sites_path_is_noticed(self, foreign: str) -> None:
        """A training stage that read it would break the study's first claim."""
        entry = {
            "matrix": {"site": "${sites.training}"},
            "deps": ["data/images/${item.site}", foreign, "src/sitesynth/seeds.py"],
            "outs": ["models/autoencoder/${item.site}", {"results/${item.site}.json": None}],
        }

        assert foreign_paths(entry) == {foreign}

    def test_a_shared_output_is_noticed(self) -> None:
        """Sites that write to one file would read each other through it."""
        entry = {"matrix": {"site": "${sites.all}"}, "deps": [], "outs": ["data/all.csv"]}

        assert foreign_paths(entry) == {"data/all.csv"}

    def test_a_stage_of_the_hub_may_read_every_site(self) -> None:
        """The promise is about sites; `split` and `compare` are nobody's."""
        assert not foreign_paths({"deps": ["data/acquired"], "outs": ["data/splits"]})

    def test_an_import_at_any_depth_is_code_that_matters(self) -> None:
        """A stage that imports a, which imports b, reruns when b is edited; plumbing stops it."""
        graph = grimp.ImportGraph()
        for importer, imported in [
            ("pipelines._stage", "sitesynth.tracking"),
            ("sitesynth.images", "sitesynth.seeds"),
            ("pipelines.made_up", "sitesynth.images"),
        ]:
            graph.add_import(importer=importer, imported=imported)

        assert code_that_matters("pipelines.made_up", graph) == {
            ROOT / "src/sitesynth/images.py",
            ROOT / "src/sitesynth/seeds.py",
        }
