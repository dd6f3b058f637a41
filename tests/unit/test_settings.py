"""A study that cannot be is refused with the key, the value and the rule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from sitesynth.classifiers.network import build_classifier
from sitesynth.errors import SettingsError
from sitesynth.settings import load_settings, settings_text


PARAMS = Path(__file__).parents[2] / "params.yaml"

Study = dict[str, Any]
Write = Callable[[Study], Path]


@pytest.fixture
def study() -> Study:
    """Return the default study without scores of labels, for a test to spoil in one place."""
    content: Study = YAML(typ="safe", pure=True).load(PARAMS.read_text())
    # They rule out much else.
    content["diffusion"]["label_score"] = False
    return content


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a study to `params.yaml` in the test's folder."""

    def write(study: Study) -> Path:
        path = tmp_path / "params.yaml"
        with path.open("w") as file:
            YAML(typ="safe", pure=True).dump(study, file)
        return path

    return write


@pytest.mark.parametrize("has_mask", [True, False])
def test_no_sequence_is_called_mask(study: Study, write: Write, *, has_mask: bool) -> None:
    study["cohort"] |= {"sequences": ["t1", "mask"], "has_mask": has_mask}

    with pytest.raises(SettingsError, match=r"cohort\.sequences: 'mask' is .*\['t1', 'mask'\]"):
        load_settings(write(study))


def test_a_sequence_that_is_named_twice_is_shown(study: Study, write: Write) -> None:
    study["cohort"]["sequences"] = ["t1", "t2", "t1"]

    with pytest.raises(
        SettingsError, match=r"cohort\.sequences: \['t1'\] are named more than once"
    ):
        load_settings(write(study))


@pytest.mark.parametrize(
    ("section", "key", "names", "message"),
    [
        (
            "cohort",
            "labels",
            {"idh": ["wildtype", "wildtype"]},
            r"\['wildtype'\] are .* each class",
        ),
        ("cohort", "covariates", ["age", "age"], r"\['age'\] are .* each covariate"),
        ("diffusion", "covariates", ["age", "age"], r"\['age'\] are .* each covariate"),
        ("registry", "candidates", ["synthetic"] * 2, r"\['synthetic'\] are .* each candidate"),
    ],
)
def test_a_name_that_is_there_twice_is_shown(
    study: Study, write: Write, section: str, key: str, names: object, message: str
) -> None:
    study[section][key] = names

    with pytest.raises(SettingsError, match=rf"{section}\.{key}: {message} once"):
        load_settings(write(study))


def test_a_strategy_that_is_there_twice_is_shown(study: Study, write: Write) -> None:
    """DVC would make one stage of both."""
    study["strategies"] += ["federated"]

    with pytest.raises(SettingsError, match=r"strategies: \['federated'\] are named more than"):
        load_settings(write(study))


def test_a_candidate_that_is_no_strategy_of_the_study_is_shown(study: Study, write: Write) -> None:
    """It could never become champion, and nobody would know why."""
    study["strategies"].remove("federated")

    with pytest.raises(SettingsError, match=r"candidates \['federated'\] are not among the strat"):
        load_settings(write(study))


def test_a_baseline_is_no_candidate(study: Study, write: Write) -> None:
    study["registry"]["candidates"] = ["federated", "baseline-site"]

    with pytest.raises(SettingsError, match=r"\['baseline-site'\] are baselines, which are not"):
        load_settings(write(study))


def test_a_baseline_of_covariates_needs_some(study: Study, write: Write) -> None:
    study["cohort"]["covariates"] = []

    with pytest.raises(SettingsError, match=r"baseline-covariates needs cohort\.covariates"):
        load_settings(write(study))


def test_a_covariate_that_the_cohort_does_not_have_is_shown(study: Study, write: Write) -> None:
    study["diffusion"]["covariates"] = ["age", "height"]

    with pytest.raises(SettingsError, match=r"covariates \['height'\] are not among cohort.cov"):
        load_settings(write(study))


def test_a_site_that_is_nowhere_is_named(study: Study, write: Write) -> None:
    """Without this it would get the settings of no site in particular."""
    with pytest.raises(SettingsError, match=r"params.yaml has no site 'nowhere'; sites.all is \["):
        load_settings(write(study), site="nowhere")


def test_sequences_keep_their_order(study: Study, write: Write) -> None:
    study["cohort"]["sequences"] = ["t2", "t1"]

    assert load_settings(write(study)).cohort.sequences == ("t2", "t1")


def test_a_quorum_that_no_round_could_reach_is_shown(study: Study, write: Write) -> None:
    study["federated"]["min_sites"] = 4
    with pytest.raises(SettingsError, match=r"min_sites 4 exceeds the 3 training sites \['alder'"):
        load_settings(write(study))


def test_more_sites_a_round_than_there_are_is_shown(study: Study, write: Write) -> None:
    study["federated"]["sites_per_round"] = 4
    with pytest.raises(SettingsError, match=r"sites_per_round 4 exceeds the 3 training sites"):
        load_settings(write(study))


def test_noise_without_a_unit_is_refused(study: Study, write: Write) -> None:
    study["federated"]["noise_multiplier"] = 0.5
    with pytest.raises(SettingsError, match=r"noise_multiplier 0.5 is in units of clip_norm"):
        load_settings(write(study))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (
            {"hub_momentum": 0.5},
            r"lets the hub add and nothing else, but hub_learning_rate is 1 and",
        ),
        ({"hub_learning_rate": 0.5}, r"hub_learning_rate is 0.5 and hub_momentum 0; set them to 1"),
        ({"sites_per_round": 1}, r"sites_per_round is 1: the sum of one site is its weights"),
        ({"min_sites": 1}, r"min_sites is 1: the sum of one site is its weights"),
        ({"encryption": "rot13"}, r"federated.encryption: Input should be 'none' or 'bfv'"),
    ],
)
def test_what_an_encrypted_sum_cannot_do_is_refused(
    study: Study, write: Write, knobs: dict[str, Any], message: str
) -> None:
    study["federated"] |= {"encryption": "bfv"}
    load_settings(write(study))
    study["federated"] |= knobs

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


@pytest.mark.parametrize(("layers", "size"), [((4,), 1), ((2, 3), 5), ((2, 3, 3), 13)])
def test_a_grid_that_a_classifier_would_halve_to_nothing_is_refused(
    study: Study, write: Write, layers: tuple[int, ...], size: int
) -> None:
    study["classifier"]["layers"] = list(layers)
    study["autoencoder"] |= {"patch": [1, 1, 1], "channels": [32]}
    study["diffusion"]["patch"] = [1, 1, 1]
    study["grid"]["shape"] = [24, 24, size]
    model = build_classifier(
        load_settings(write(study)).classifier,
        num_sequences=1,
        num_classes=2,
        dims=3,
        rng=torch.Generator(),
    )
    assert model.eval()(torch.zeros(1, 1, 24, 24, size)).isfinite().all()
    if size == 1:
        return

    study["grid"]["shape"] = [24, 24, size - 1]
    with pytest.raises(SettingsError, match=rf"{size - 1} must be at least {size}, because a"):
        load_settings(write(study))


@pytest.mark.parametrize("network", ["autoencoder", "diffusion"])
def test_patience_without_looks_is_refused(study: Study, write: Write, network: str) -> None:
    study[network] |= {"validate_every": None, "patience_looks": 3}
    with pytest.raises(SettingsError, match=r"patience_looks 3 needs validate_every, which is nul"):
        load_settings(write(study))


def test_a_site_that_is_not_there_is_not_finetuned(study: Study, write: Write) -> None:
    study["strategies"] = ["centralized", "finetuned-alder", "finetuned-zelkova"]
    with pytest.raises(SettingsError, match=r"unknown strategies \['finetuned-zelkova'\]"):
        load_settings(write(study))


def test_a_mistyped_key_is_named_and_so_is_the_one_that_is_missing(
    study: Study, write: Write
) -> None:
    study["privacy"]["confidense"] = study["privacy"].pop("confidence")

    with pytest.raises(SettingsError) as error:
        load_settings(write(study))

    assert "params.yaml is not a valid study" in str(error.value)
    assert "  privacy.confidence: Field required" in str(error.value)
    assert "  privacy.confidense: Extra inputs are not permitted (got 0.95)" in str(error.value)


def test_a_mistyped_section_is_named(study: Study, write: Write) -> None:
    study["difusion"] = study.pop("diffusion")

    with pytest.raises(SettingsError) as error:
        load_settings(write(study))

    assert "  diffusion: Field required" in str(error.value)
    assert "  difusion: Extra inputs are not permitted" in str(error.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("classifier", "num_steps", "160", "valid integer (got '160')"),
        ("classifier", "num_steps", 160.0, "valid integer (got 160.0)"),
        ("classifier", "num_steps", True, "valid integer (got True)"),
        ("classifier", "num_steps", None, "valid integer (got None)"),
        ("classifier", "learning_rate", "fast", "valid number (got 'fast')"),
        ("cohort", "has_mask", "yes", "valid boolean (got 'yes')"),
        ("cohort", "sequences", "t1", "valid tuple (got 't1')"),
        ("cohort", "labels", ["idh"], "valid dictionary (got ['idh'])"),
        ("task", "label", 1, "valid string (got 1)"),
    ],
)
def test_a_value_of_another_type_is_named_and_shown(
    study: Study, write: Write, section: str, key: str, value: object, message: str
) -> None:
    """Nothing is converted: what looks like a number in quotes is a string."""
    study[section][key] = value

    with pytest.raises(SettingsError) as error:
        load_settings(write(study))

    assert f"  {section}.{key}: Input should be a {message}" in str(error.value)


def test_every_problem_of_a_study_is_listed(study: Study, write: Write) -> None:
    study["classifier"]["num_steps"] = 0
    study["evaluation"]["margin"] = "small"

    with pytest.raises(SettingsError) as error:
        load_settings(write(study))

    assert "  classifier.num_steps: Input should be greater than 0 (got 0)" in str(error.value)
    assert "  evaluation.margin: Input should be a valid number" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("width", 0, "greater than 0 (got 0)"),
        ("batch_size", 1, "greater than or equal to 2 (got 1)"),
        ("learning_rate", 0.0, "greater than 0 (got 0.0)"),
        ("num_steps", -1, "greater than 0 (got -1)"),
    ],
)
def test_an_encoder_that_could_learn_nothing_is_refused(
    study: Study, write: Write, key: str, value: object, message: str
) -> None:
    """One scan a step has no other to be told from."""
    encoder = {"width": 8, "batch_size": 16, "learning_rate": 1e-3, "num_steps": 10}
    study["privacy"]["encoder"] = encoder | {key: value}

    with pytest.raises(SettingsError) as error:
        load_settings(write(study))

    assert f"  privacy.encoder.{key}: Input should be {message}" in str(error.value)


def spoil(*path: str, value: object) -> Callable[[Study], None]:
    """Return a change of one value of a study."""

    def change(study: Study) -> None:
        section = study
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = value

    return change


UNKNOWN_NAMES: dict[str, tuple[Callable[[Study], None], str]] = {
    "a site to train at": (
        spoil("sites", "training", value=["alder", "birch", "zelkova"]),
        r"sites: `all` must be `training` followed by `external`: .*'zelkova'",
    ),
    "a site to test at": (
        spoil("sites", "external", value=["dogwood", "zelkova"]),
        r"sites: `all` must be `training` followed by `external`: .*'zelkova'",
    ),
    "a site with overrides": (
        spoil("overrides", "zelkova", value={}),
        r"overrides names \[.*'zelkova'\], but must name every site of \['alder', ",
    ),
    "a site without a phantom": (
        spoil("sites", value={"all": ["oak", "elm"], "training": ["oak"], "external": ["elm"]}),
        r"phantom\.sites \['alder', .*\] must be sites\.all \['elm', 'oak'\]",
    ),
    "a strategy's site": (
        spoil("strategies", value=["centralized", "local-zelkova"]),
        r"unknown strategies \['local-zelkova'\]; there are \['local-alder', ",
    ),
    "the task's label": (
        spoil("task", "label", value="grade"),
        r"task\.label 'grade' is not in cohort\.labels \['idh', 'tumour_type'\]",
    ),
    "the task's positive class": (
        spoil("task", "positive", value="Mutant"),
        r"task\.positive 'Mutant' is not in the classes \['wildtype', 'mutant'\]",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
def test_a_name_that_a_study_does_not_know_is_told_the_known_ones(
    study: Study, write: Write, name: str
) -> None:
    change, message = UNKNOWN_NAMES[name]
    change(study)

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_trials", 1, "num_trials 1 leaves no room for the equal and the proportional mix"),
        ("validate_every", 121, "validate_every 121 exceeds num_steps 120"),
        ("max_total", 5, "min_per_class 20 exceeds the 0 scans per class of the equal mix"),
        ("min_per_class", 301, "min_per_class 301 exceeds the 300 scans per class"),
    ],
)
def test_a_search_that_cannot_work_is_refused(
    study: Study, write: Write, key: str, value: int, message: str
) -> None:
    study["mixing"][key] = value

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


@pytest.mark.parametrize("percentages", [[50, 100], [0, 100, 50], [0, 50, 50]])
def test_a_curve_ascends_from_the_real_scans_alone(
    study: Study, write: Write, percentages: list[int]
) -> None:
    study["supplementation"]["percentages"] = percentages

    with pytest.raises(SettingsError, match="must ascend from 0, the real scans alone"):
        load_settings(write(study))


def test_a_missing_params_file_is_told_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"params\.yaml does not exist; `sitesynth study use"):
        load_settings(tmp_path / "params.yaml")


def test_a_folder_is_no_params_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read \(Is a directory\)"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"study: [phantom", "params.yaml is not YAML"),
        (b"study: a\nstudy: b\n", "params.yaml is not YAML: .*duplicate key"),
        (b"study: M\xfcller\n", "params.yaml is not YAML: .*0xfc"),
        (b"", "params.yaml must hold the sections of a study, but holds None"),
        (b"- phantom\n", r"must hold the sections of a study, but holds \['phantom'\]"),
    ],
    ids=["bracket left open", "key twice", "not UTF-8", "empty", "a list"],
)
def test_a_params_file_that_holds_no_study_is_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "params.yaml").write_bytes(content)

    with pytest.raises(SettingsError, match=f"(?s){message}"):
        load_settings(tmp_path / "params.yaml")


STUDIES = sorted((PARAMS.parent / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_is_the_same_after_it_was_written(path: Path, tmp_path: Path) -> None:
    """1e-6, null, "2" and 2 must come back as what they were."""
    study = load_settings(path)

    (tmp_path / "params.yaml").write_text(settings_text(study, about="of two\nlines"))

    assert load_settings(tmp_path / "params.yaml") == study
    assert (tmp_path / "params.yaml").read_text().startswith("# of two\n# lines\n\nstudy: ")


def test_a_positive_class_is_one_of_two(study: Study, write: Write) -> None:
    study["task"] |= {"label": "tumour_type", "positive": "glioblastoma"}

    with pytest.raises(SettingsError, match=r"one of 3 classes .*null tells all of them apart"):
        load_settings(write(study))


@pytest.mark.parametrize(("label", "num_classes"), [("tumour_type", 3), ("idh", 2)])
def test_without_a_positive_class_all_are_told_apart(
    study: Study, write: Write, label: str, num_classes: int
) -> None:
    study["task"] |= {"label": label, "positive": None}
    found = load_settings(write(study))

    assert found.task.positive is None
    assert len(found.classes) == num_classes


def test_a_label_of_one_class_is_no_task(study: Study, write: Write) -> None:
    study["cohort"]["labels"]["idh"] = ["mutant"]

    with pytest.raises(SettingsError, match=r"'idh' must have two classes or more"):
        load_settings(write(study))


def test_the_equal_mix_has_room_for_every_class(study: Study, write: Write) -> None:
    """600 scans of three sites: 100 of each of two classes, 66 of each of three."""
    study["mixing"] |= {"max_total": 600, "min_per_class": 199}
    load_settings(write(study))
    study["task"] |= {"label": "tumour_type", "positive": None}

    with pytest.raises(SettingsError, match="exceeds the 198 scans per class of the equal mix"):
        load_settings(write(study))


def with_findings(study: Study) -> Study:
    """Make the study one of a finding and its sequel, told side by side."""
    study["cohort"]["labels"] |= {"seizure": ["no", "yes"], "findings": ["idh", "seizure"]}
    study["task"] = {"label": "findings", "positive": None, "stages": None}
    return study


def test_findings_are_labels_told_side_by_side(study: Study, write: Write) -> None:
    found = load_settings(write(with_findings(study)))

    assert found.classes == ("idh", "seizure")


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        (["idh", "stroke"], r"'findings' names 'stroke', which must be another label"),
        (["idh", "tumour_type"], r"'findings' names 'tumour_type', .* of two classes"),
        (["idh", "findings"], r"'findings' names 'findings'"),
        (["idh"], r"must have two classes or more, got \['idh'\]"),
    ],
)
def test_a_finding_is_another_label_of_two_classes(
    study: Study, write: Write, findings: list[str], message: str
) -> None:
    with_findings(study)["cohort"]["labels"]["findings"] = findings

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


def test_no_finding_is_the_positive_one(study: Study, write: Write) -> None:
    with_findings(study)["task"]["positive"] = "idh"

    with pytest.raises(SettingsError, match=r"set it to null, or task\.label to that finding"):
        load_settings(write(study))


def test_patterns_are_told_of_without_noise_or_not_at_all(study: Study, write: Write) -> None:
    private = {"noise_multiplier": 1.0, "clip_norm": 1.0, "delta": 1e-5}
    with_findings(study)["diffusion"]["dp"] = private

    with pytest.raises(SettingsError, match=r"diffusion\.dp does not cover which patterns"):
        load_settings(write(study))


def test_a_curve_of_one_auc_needs_a_positive_class(study: Study, write: Write) -> None:
    study["supplementation"]["percentages"] = [0, 100]
    study["task"]["positive"] = None

    with pytest.raises(SettingsError, match=r"ask for a curve of one AUC, and task\.positive is"):
        load_settings(write(study))


def test_a_brain_that_no_mask_shows_is_refused(study: Study, write: Write) -> None:
    study["intensity"]["foreground"] = "brain"

    with pytest.raises(SettingsError, match=r"'brain' needs cohort\.has_brain_mask true"):
        load_settings(write(study))


def test_labels_of_a_mask_that_is_not_there_are_refused(study: Study, write: Write) -> None:
    study["cohort"] |= {"has_mask": False, "mask_labels": [1, 4]}

    with pytest.raises(SettingsError, match=r"cohort\.mask_labels \[1, 4\] say what a mask holds"):
        load_settings(write(study))


def test_a_registration_that_cannot_be_is_refused(study: Study, write: Write) -> None:
    study["grid"]["registration"] = {"reference": "pd", "transform": "rigid", "template": None}

    with pytest.raises(SettingsError, match=r"grid\.registration\.reference 'pd' is none of"):
        load_settings(write(study))


def test_what_draws_in_one_pass_is_not_guided(study: Study, write: Write) -> None:
    study["generator"]["variant"] = "gan"
    study["sampling"]["guidance"] = 1.0
    load_settings(write(study))
    study["sampling"]["guidance"] = 2.0

    with pytest.raises(
        SettingsError, match=r"variant gan draws in one pass.*guidance must be 1, not 2"
    ):
        load_settings(write(study))


def test_phantoms_stand_in_for_sequences_they_have(study: Study, write: Write) -> None:
    study["autoencoder"]["validate_every"] = None
    study["latents"]["source"] = "phantom"
    load_settings(write(study))
    study["cohort"]["sequences"] = ["t1", "dwi"]

    with pytest.raises(SettingsError, match=r"needs sequences of .*but .* \['t1', 'dwi'\]"):
        load_settings(write(study))


def test_a_rival_of_the_flow_knows_no_covariate(study: Study, write: Write) -> None:
    study["generator"]["variant"] = "gaussian"
    study["diffusion"]["covariates"] = ["age"]

    with pytest.raises(SettingsError, match=r"variant gaussian knows the label only.*\['age'\]"):
        load_settings(write(study))


@pytest.mark.parametrize(
    ("section", "knob", "value"),
    [
        ("generator", "variant", "gan"),
        ("diffusion", "covariates", ["age"]),
        ("diffusion", "label_score", True),
        ("sampling", "correction", {"samples_per_scan": 1, "max_gain": 2.0}),
    ],
)
def test_noise_covers_a_plain_flow_only(
    study: Study, write: Write, section: str, knob: str, value: object
) -> None:
    study["autoencoder"]["validate_every"] = None
    study["sampling"]["correction"] = None
    study["diffusion"]["dp"] = {"noise_multiplier": 1.0, "clip_norm": 1.0, "delta": 1e-3}
    load_settings(write(study))
    study[section][knob] = value

    with pytest.raises(SettingsError, match=r"diffusion\.dp .* cover"):
        load_settings(write(study))


def test_scores_of_a_label_have_a_flow_classes_and_a_name_to_themselves(
    study: Study, write: Write
) -> None:
    study["diffusion"]["label_score"] = True
    load_settings(write(study))
    study["generator"]["variant"] = "gan"
    with pytest.raises(SettingsError, match=r"knows the label only: set diffusion\.label_score"):
        load_settings(write(study))

    study["generator"]["variant"] = "flow"
    with pytest.raises(SettingsError, match=r"label_score is of classes, and findings"):
        load_settings(write(with_findings(study)))


def test_no_column_may_be_called_like_a_score(study: Study, write: Write) -> None:
    study["diffusion"]["label_score"] = True
    study["cohort"]["covariates"] = ["age", "label_score"]

    with pytest.raises(SettingsError, match=r"\['label_score'\] have the names of what"):
        load_settings(write(study))


def test_phantoms_have_no_brain_masks(study: Study, write: Write) -> None:
    study["latents"]["source"] = "phantom"
    study["cohort"]["has_brain_mask"] = True
    study["intensity"]["foreground"] = "brain"

    with pytest.raises(SettingsError, match="wants brain masks, which phantoms lack"):
        load_settings(write(study))


ADVERSARY = {"weight": 0.01, "from_step": 20, "width": 16, "depth": 2, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"adversarial": ADVERSARY | {"from_step": 61}}, "from_step 61 comes after the last of"),
        ({"adversarial": ADVERSARY | {"depth": 3}}, r"16 must be at least 24, .*depth 3 halves"),
        ({"adversarial": ADVERSARY | {"weight": 0.0}}, "adversarial.weight.* greater than 0"),
        ({"adversarial": {"weight": 0.01}}, r"adversarial\.from_step"),
        ({"perceptual": 0.0}, "perceptual.* greater than 0"),
    ],
)
def test_terms_of_the_loss_count_or_are_null(
    study: Study, write: Write, knobs: dict[str, Any], message: str
) -> None:
    study["autoencoder"] |= {"adversarial": ADVERSARY, "perceptual": 0.5}
    load_settings(write(study))
    study["autoencoder"] |= knobs

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([(100, 128, 2), (50, 64, 1)], r"rising num_scans, got \[100, 50\]"),
        ([(50, 128, 2), (50, 64, 1)], r"rising num_scans, got \[50, 50\]"),
        ([(0, 128, 2)], "num_scans.* greater than 0"),
        ([(50, 100, 2)], "width.* multiple of 32"),
        ([(50, 128, 0)], "depth.* greater than 0"),
    ],
)
def test_sizes_of_a_flow_rise_with_its_scans(
    study: Study, write: Write, sizes: list[tuple[int, int, int]], message: str
) -> None:
    def rows(*told: tuple[int, int, int]) -> list[dict[str, int]]:
        return [dict(zip(("num_scans", "width", "depth"), row, strict=True)) for row in told]

    study["diffusion"]["sizes"] = rows((50, 128, 2), (500, 256, 4))
    assert load_settings(write(study)).diffusion.for_scans(60).width == 128
    study["diffusion"]["sizes"] = rows(*sizes)

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


def test_a_shared_autoencoder_is_the_same_everywhere(study: Study, write: Write) -> None:
    study["overrides"]["birch"] = {"autoencoder": {"num_steps": 3}}
    load_settings(write(study))
    study["latents"]["source"] = "phantom"

    with pytest.raises(SettingsError, match=r"one autoencoder at all sites.*\['birch'\]"):
        load_settings(write(study))


IDH = {"name": "idh", "groups": [["glioblastoma"], ["astrocytoma", "oligodendroglioma"]]}
CODELETION = {"name": "codeletion", "groups": [["astrocytoma"], ["oligodendroglioma"]]}


def in_stages(study: Study) -> None:
    """Make it a study of the tumour type, one of whose strategies is learned in stages."""
    study["task"] = {"label": "tumour_type", "positive": None, "stages": [IDH, CODELETION]}
    study["strategies"].append("centralized-staged")


def test_a_strategy_may_be_learned_in_stages(study: Study, write: Write) -> None:
    in_stages(study)

    settings = load_settings(write(study))

    assert settings.task.stages is not None
    assert [stage.name for stage in settings.task.stages] == ["idh", "codeletion"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (None, r"\['centralized-staged'\] learn in stages, and task.stages is null"),
        ([IDH], r"end with \[\['astro.*', 'oligo.*'\]\] not told apart"),
        ([CODELETION, IDH], r"codeletion tells \['astro.* must split one of"),
        ([IDH, CODELETION, CODELETION], r"\['codeletion'\] are named more than once.*must split"),
        ([IDH | {"groups": [["glioblastoma"]]}], r"stages.0.groups: Tuple should have at least 2"),
        ([IDH | {"groups": [["glioblastoma"]] * 2}], r"idh tells \['glio.*', 'glio.* must split"),
    ],
)
def test_stages_split_the_classes_until_each_is_alone(
    study: Study, write: Write, stages: Any, message: str
) -> None:
    in_stages(study)
    study["task"]["stages"] = stages

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


def test_a_task_with_a_positive_class_has_no_stages(study: Study, write: Write) -> None:
    study["task"]["stages"] = [{"name": "idh", "groups": [["wildtype"], ["mutant"]]}]

    with pytest.raises(SettingsError, match=r"positive is 'mutant': set positive to null"):
        load_settings(write(study))


def test_a_site_is_not_called_as_a_staged_strategy_is(study: Study, write: Write) -> None:
    """`local-x-staged` would be the site's own, or x's in stages."""
    study["sites"]["all"][-1] = study["sites"]["external"][-1] = "elm-staged"

    with pytest.raises(SettingsError, match=r"sites \['elm-staged'\] end in '-staged'"):
        load_settings(write(study))


ENTRY = {
    "network": "program",
    "weights": "w.pt2",
    "sha256": "ab" * 32,
    "size": [32, 32],
    "channels": 3,
    "mean": None,
    "spread": None,
    "slices": 4,
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"network": "medicalnet-resnet10"}, "needs a size of 3 axes and 1 channels, got .32, 32."),
        (
            {"network": "radimagenet-resnet50", "channels": 1},
            "needs a size of 2 axes and 3 channels",
        ),
        ({"slices": None}, "slices None does not fit size .32, 32."),
        ({"size": [8, 8, 8]}, "slices 4 does not fit size .8, 8, 8."),
        ({"mean": [0.5]}, "must both be null, or both have 3 values"),
        ({"mean": [0.5, 0.5], "spread": [0.5, 0.5]}, "must both be null, or both have 3 values"),
        ({"mean": [0.5] * 3, "spread": [0.5, 0.5, 0.0]}, "greater than 0"),
        ({"sha256": "AB" * 32}, "extractors.dino.sha256"),
        ({"weights": None}, "extractors.dino.weights"),
    ],
)
def test_an_extractor_that_cannot_work_is_refused(
    study: Study, write: Write, changed: dict[str, Any], message: str
) -> None:
    study["extractors"] = {"dino": ENTRY | changed}

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


def test_an_extractor_of_volumes_is_refused_for_pictures(study: Study, write: Write) -> None:
    """And one of slices for more of them than a picture has."""
    study |= {"extractors": {"dino": ENTRY, "med": ENTRY | {"size": [8] * 3, "slices": None}}}
    study["grid"] |= {"shape": [24, 24], "spacing_mm": [4.5, 4.5]}
    study["cohort"] |= {"table": "cohort.csv"}

    with pytest.raises(SettingsError) as told:
        load_settings(write(study))
    assert "extractors.dino.slices 4 must be 1" in str(told.value)
    assert "extractors.med.size [8, 8, 8] is of volumes" in str(told.value)


def test_an_extractor_that_fits_is_read(study: Study, write: Write) -> None:
    study["extractors"] = {"dino": ENTRY}

    assert load_settings(write(study)).extractors["dino"].size == (32, 32)


@pytest.mark.parametrize(
    ("private", "message"),
    [
        (
            {"diffusion": {"dp": {"noise_multiplier": 1.0, "clip_norm": 1.0, "delta": 1e-3}}},
            r"validate_every 20 chooses the autoencoder by held-out patients, which the noise of",
        ),
        (
            {"latents": {"source": "phantom"}},
            r"validate_every 20 chooses the autoencoder by the site's patients, and latents.source",
        ),
    ],
)
def test_an_autoencoder_is_not_chosen_by_patients_whom_nothing_would_hide(
    study: Study, write: Write, private: dict[str, dict[str, Any]], message: str
) -> None:
    """The noise of the flow's training comes after, and an autoencoder of phantoms knows nobody."""
    for section, knobs in private.items():
        study[section] |= knobs
    study["autoencoder"] |= {"validate_every": None}
    study["sampling"]["correction"] = None
    load_settings(write(study))
    study["autoencoder"] |= {"validate_every": 20}

    with pytest.raises(SettingsError, match=message):
        load_settings(write(study))


COVERED: dict[str, dict[str, Any]] = {
    "autoencoder": {"validate_every": None},
    "diffusion": {
        "dp": {"noise_multiplier": 1.0, "clip_norm": 1.0, "delta": 1e-3},
        "validate_every": None,
    },
    "latents": {"source": "phantom"},
    "privacy": {"max_epsilon": 3.0},
    "sampling": {"correction": None},
}


@pytest.mark.parametrize(
    ("section", "undone"),
    [
        ("diffusion", {"dp": None, "validate_every": None}),
        ("diffusion", {"validate_every": 50}),
        ("latents", {"source": "own"}),
    ],
)
def test_a_bound_on_epsilon_is_refused_where_no_bundle_could_have_one(
    study: Study, write: Write, section: str, undone: dict[str, Any]
) -> None:
    """Hours of training would end in a refusal of the gate."""
    for name, knobs in COVERED.items():
        study[name] |= knobs
    load_settings(write(study))
    study[section] |= undone

    with pytest.raises(SettingsError, match=r"max_epsilon 3 asks for bundles with an epsilon"):
        load_settings(write(study))
