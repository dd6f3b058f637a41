"""Tables of wanted scans: what they ask for, and what is wrong with them."""

from pathlib import Path

import pytest

from sitesynth.errors import MissingInputError, SitesynthError
from sitesynth.generators.generator import GeneratorConfig
from sitesynth.wanted import Wanted, read_wanted
from tests.unit.tiny_models import TINY_COVARIATES, tiny_generator


@pytest.fixture(scope="module")
def config() -> GeneratorConfig:
    """Return what a generator of t1 and mask says that knows age and sex."""
    return tiny_generator((8, 8), covariates=TINY_COVARIATES).config


def write(folder: Path, text: str, name: str = "wanted.csv") -> Path:
    """Write a table."""
    (folder / name).write_text(text)
    return folder / name


def test_each_row_is_a_scan(tmp_path: Path, config: GeneratorConfig) -> None:
    """An empty cell is unknown; a covariate without a column is not asked for."""
    table = write(tmp_path, "label,age,has_mask\nmutant,60,true\nwildtype,,FALSE\n")

    assert read_wanted(table, config) == [
        Wanted("mutant", {"age": "60"}),
        Wanted("wildtype", {"age": ""}, ("mask",)),
    ]


def test_tabs_separate_cells_too(tmp_path: Path, config: GeneratorConfig) -> None:
    table = write(tmp_path, "sex\tlabel\nF\tmutant\n", "wanted.tsv")

    assert read_wanted(table, config) == [Wanted("mutant", {"sex": "F"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\nmutated\n", r"wanted.csv .*row 2: .*one of \['wildtype', 'mutant'\], not 'mutat"),
        ("label\na,b\n", "row 2, has 2 cells, but the header has 1"),
        ("label,age\nmutant,200\n", r"row 2: .*learned age .*from 20 to 80, not '200'"),
        ("label,age\nmutant,old\n", r"row 2: .*from 20 to 80, not 'old'"),
        ("label,sex\nmutant,X\n", r"row 2: .*knows sex as one of \['F', 'M'\], not 'X'"),
        ("label,sex\n,F\n", r"row 2: .*one of \['wildtype', 'mutant'\], not ''"),
        ("label,weight\nmutant,70\n", r"has a column 'weight'; .*covariates \['age', 'sex'\].*Ren"),
        ("age\n60\n", "has no column 'label'.*Rename"),
        ("label,has_t1\nmutant,no\n", "row 2: has_t1 must be true or false, not 'no'"),
        ("label,has_t1\nmutant,false\n", "row 2: a scan must have a sequence"),
        ("label,age\n", "wanted.csv is empty: it has a header, but no row"),
        ("", "wanted.csv is empty"),
    ],
)
def test_what_cannot_be_drawn_is_one_error_of_file_row_value_and_rule(
    tmp_path: Path, config: GeneratorConfig, text: str, message: str
) -> None:
    with pytest.raises(SitesynthError, match=f"(?s){message}"):
        read_wanted(write(tmp_path, text), config)


def test_bad_rows_are_told_of_together(tmp_path: Path, config: GeneratorConfig) -> None:
    """Five of seven, and how many more there are."""
    table = write(tmp_path, "label,age\n" + "mutant,60\n" + "mutant,200\n" * 7)

    with pytest.raises(SitesynthError) as raised:
        read_wanted(table, config)
    assert [f"row {number}:" in str(raised.value) for number in range(2, 9)] == [
        False,
        *[True] * 5,
        False,
    ]
    assert str(raised.value).endswith("and 2 more")


def test_a_table_that_is_not_there_is_named(tmp_path: Path, config: GeneratorConfig) -> None:
    with pytest.raises(MissingInputError, match=r"wanted.csv does not exist or is no file; name a"):
        read_wanted(tmp_path / "wanted.csv", config)
