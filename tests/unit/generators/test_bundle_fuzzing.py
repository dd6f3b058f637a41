"""A bundle from a site with bad intentions: read or refused, whatever was done to it and signed.

SITESYNTH_FUZZ_EXAMPLES sets how many examples are tried.
"""

import base64
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitesynth.generators.bundle import SIGNED, read_bundle, site_key, write_bundle
from sitesynth.storage import digest_of_file, write_json
from tests.unit.damage import Damage, answered, damages, fuzzed
from tests.unit.tiny_models import TINY_COVARIATES, tiny_generator


pytestmark = pytest.mark.slow  # a bundle is copied and signed for each example


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    """Return a sound bundle, whose key the damage may sign with."""
    key, _ = site_key("alder", seed=1)
    path = folder / "bundle"
    generator = tiny_generator((8, 8), covariates=TINY_COVARIATES)
    write_bundle(path, generator, card={}, card_text="# card\n", signing_key=key)
    return path


@pytest.mark.parametrize("name", [*SIGNED, "SHA256SUMS", "SIGNATURE.json"])
@fuzzed
@given(damage=damages())
def test_a_damaged_bundle_is_read_or_refused(
    folder: Path, bundle: Path, name: str, damage: Damage
) -> None:
    """Even where the site itself signs the damage."""
    path = folder / "damaged"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(bundle, path)
    (path / name).write_bytes(damage((path / name).read_bytes()))
    if name in SIGNED:
        sign(path)

    with answered():
        read_bundle(path)


NUMBERS = st.one_of(
    st.integers(-1, 10**9),
    st.floats(allow_subnormal=False),  # torch flushes them to zero
    st.text(max_size=3),
    st.none(),
    st.just([]),
    st.booleans(),
)


@fuzzed
@given(data=st.data())
def test_a_config_of_any_number_is_read_or_refused(
    folder: Path, bundle: Path, data: st.DataObject
) -> None:
    """No network is built before its size is known to fit the file of its weights."""
    path = folder / "configured"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(bundle, path)
    config = json.loads((path / "config.json").read_text())
    told = config["covariates"]
    parts = [config, config["autoencoder"], config["diffusion"], *told["columns"]]
    parts += [cell for cells in told["cells"] for cell in cells]
    holder = data.draw(st.sampled_from(parts))
    key = data.draw(st.sampled_from(sorted(holder)))
    known = holder[key]
    if isinstance(known, list) and data.draw(st.booleans()):
        holder[key] = [data.draw(NUMBERS) for _ in known]
    else:
        holder[key] = data.draw(NUMBERS)
    (path / "config.json").write_text(json.dumps(config))
    sign(path)

    with answered():
        read_bundle(path)


def sign(folder: Path) -> None:
    """Sign a bundle as it is."""
    key, _ = site_key("alder", seed=1)
    sums = "".join(f"{digest_of_file(folder / name)}  {name}\n" for name in SIGNED)
    (folder / "SHA256SUMS").write_text(sums)
    signature = {
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(key.sign(sums.encode())).decode(),
    }
    write_json(folder / "SIGNATURE.json", signature)
