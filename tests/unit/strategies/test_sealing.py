"""Sums that are exact, and that only a key opens."""

import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from sitesynth.errors import MissingInputError, TrainingError
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.fixed_point import MODULUS, count_numbers
from sitesynth.strategies.sealed import CIPHER_BYTES, SLOTS, sealed_bytes
from sitesynth.strategies.sealing import Seal, SiteKey, add_sealed, check_sealed
from tests.unit.strategies.test_strategies import FEDERATED


SITES = ("alder", "birch", "cedar")
SEALED = FEDERATED.model_copy(update={"encryption": "bfv"})
LIKE = {"w": torch.zeros(5000), "seen": torch.tensor(0)}
NUMBERS = count_numbers(LIKE, 3)


@pytest.fixture(scope="module")
def key() -> SiteKey:
    return SiteKey.draw()


def seal_of(key: SiteKey, site: str) -> Seal:
    return Seal(key, site=site, sites=SITES, federated=SEALED)


def filled(value: float) -> Weights:
    return {"w": torch.full((5000,), value), "seen": torch.tensor(4)}


def sealed_by(key: SiteKey, site: str, value: float, num_scans: int) -> dict[str, torch.Tensor]:
    return seal_of(key, site).seal(filled(value), num_scans=num_scans)


def test_the_hub_adds_what_it_cannot_read(key: SiteKey) -> None:
    """(1 x 2.0 + 3 x 6.0) / 4 = 5.0 in each of two ciphertexts' numbers; any site opens it."""
    total = add_sealed([sealed_by(key, "alder", 2.0, 1), sealed_by(key, "cedar", 6.0, 3)])
    two = SEALED.model_copy(update={"min_sites": 2})

    assert total["sizes"].shape == (2,)
    for site in SITES:
        opened = Seal(key, site=site, sites=SITES, federated=two).open(total, like=LIKE)
        assert opened["w"].tolist() == [5.0] * 5000
        assert opened["seen"].item() == 4


def test_no_message_is_the_same_and_every_sum_is(key: SiteKey) -> None:
    """What is drawn to encrypt changes each message, and no bit of the result, key included."""

    def total(key: SiteKey) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [sealed_by(key, site, 0.1, n) for n, site in enumerate(SITES, start=1)]
        return parts[0]["cipher"], seal_of(key, "alder").open(add_sealed(parts), like=LIKE)["w"]

    (first, one), (second, two), (_, three) = total(key), total(key), total(SiteKey.draw())

    assert not torch.equal(first, second)
    assert torch.equal(one, two)
    assert torch.equal(one, three)


def test_a_sum_of_a_hundred_sites_is_exact(key: SiteKey) -> None:
    """Noise grows with each addition, and stays below what decryption rounds away."""
    numbers = np.array([MODULUS // 2 // 100, -(MODULUS // 2 // 100), 0, 1], np.int64)
    parts = [key.encrypt(numbers) for _ in range(100)]
    total = parts[0]
    for part in parts[1:]:
        total = _added(total, part)

    assert key.decrypt(total).tolist() == [100 * number for number in numbers.tolist()]


def _added(one: list[bytes], two: list[bytes]) -> list[bytes]:
    from sitesynth.strategies.sealed import chunks_of, sealed_weights  # noqa: PLC0415

    return chunks_of(add_sealed([sealed_weights(part, "k") for part in (one, two)]))


def test_a_wrong_key_opens_nothing(key: SiteKey) -> None:
    """By its name where it says it; by what comes out where it lies."""
    other = SiteKey.draw()
    total = add_sealed([sealed_by(other, site, 1.0, 1) for site in SITES])

    with pytest.raises(TrainingError, match=f"sealed with the key {other.name}, and this site has"):
        seal_of(key, "alder").open(total, like=LIKE)
    lying = total | {"key": sealed_by(key, "alder", 1.0, 1)["key"]}
    with pytest.raises(TrainingError, match="sealed with another key, or garbled"):
        seal_of(key, "alder").open(lying, like=LIKE)


def test_a_sum_of_one_site_is_not_opened(key: SiteKey) -> None:
    """Nor one that leaves out a site which a round needs."""
    alone = sealed_by(key, "alder", 1.0, 9)
    two = SEALED.model_copy(update={"min_sites": 2})

    with pytest.raises(TrainingError, match=r"weights of 1 sites \['alder'\], and a round needs 2"):
        Seal(key, site="birch", sites=SITES, federated=two).open(alone, like=LIKE)
    pair = add_sealed([alone, sealed_by(key, "cedar", 1.0, 9)])
    with pytest.raises(TrainingError, match=r"\['alder', 'cedar'\], and a round needs 3"):
        seal_of(key, "birch").open(pair, like=LIKE)


def test_a_part_that_is_not_what_its_site_says_is_refused_by_all(key: SiteKey) -> None:
    """Numbers a thousand times those whose length the site has sealed."""
    seal = seal_of(key, "birch")
    from sitesynth.strategies.fixed_point import numbers_of  # noqa: PLC0415
    from sitesynth.strategies.sealed import sealed_weights  # noqa: PLC0415

    numbers = numbers_of(filled(1.0), count=1, place=1, num_sites=3)
    numbers[4:] *= 1000
    bad = sealed_weights(key.encrypt(numbers), key.name)
    total = add_sealed([sealed_by(key, "alder", 1.0, 1), bad, sealed_by(key, "cedar", 1.0, 1)])

    with pytest.raises(TrainingError, match=r"is 334 times as long as its parts can make it"):
        seal.open(total, like=LIKE)


def without(name: str, sealed: Weights) -> Weights:
    return {k: v for k, v in sealed.items() if k != name}


def flipped(sealed: Weights, place: int, *, mend_digest: bool) -> Weights:
    """Return a message of which one byte is another, with or without a digest that says so."""
    from hashlib import sha256  # noqa: PLC0415

    cipher = sealed["cipher"].clone()
    cipher[place] ^= 0xFF
    digest = torch.frombuffer(
        bytearray(sha256(cipher.numpy().tobytes()).digest()), dtype=torch.uint8
    )
    return {**sealed, "cipher": cipher} | ({"digest": digest} if mend_digest else {})


def test_odd_messages_are_refused_before_they_are_parsed(key: SiteKey) -> None:
    good = sealed_by(key, "alder", 1.0, 1)
    sizes = good["sizes"]
    odd: list[tuple[Weights, str]] = [
        ({"w": torch.zeros(3)}, "are not sealed"),
        (without("digest", good), "are not sealed"),
        ({**good, "sizes": sizes[:1]}, r"its 1 ciphertexts .* are not the 2"),
        ({**good, "sizes": torch.stack([sizes.sum(), -sizes[1]])}, "ciphertexts of at most"),
        ({**good, "sizes": sizes.flip(0) + 1}, "are not those that were sealed"),
        ({**good, "cipher": good["cipher"][:-1]}, "are not those that were sealed"),
        ({**good, "cipher": good["cipher"].float()}, "is torch.float32 of shape"),
        (flipped(good, 5000, mend_digest=False), "SHA-256 differ"),
        (flipped(good, 20, mend_digest=True), "cannot be read"),
    ]

    check_sealed(good, num_numbers=NUMBERS)
    for message, match in odd:
        with pytest.raises(TrainingError, match=match):
            check_sealed(message, num_numbers=NUMBERS)


def test_damage_ends_in_an_error_of_ours_or_in_a_ciphertext(key: SiteKey) -> None:
    """Whatever byte is another, the parser neither crashes nor raises anything else."""
    good = sealed_by(key, "alder", 1.0, 1)
    seen = set()
    for place in [*range(120), *range(120, len(good["cipher"]), 4001)]:
        try:
            check_sealed(flipped(good, place, mend_digest=True), num_numbers=NUMBERS)
            seen.add("read")
        except TrainingError as error:
            assert "cannot be read" in str(error)  # noqa: PT017
            seen.add("refused")

    assert "refused" in seen


def test_a_ciphertext_has_the_size_that_the_ledger_takes_for_it(key: SiteKey) -> None:
    """Within half a percent, and 27 bytes a number where float32 has 4.

    The median of ten: they are compressed, and one in a hundred is 1 % larger than the others.
    """
    sealed = [sealed_by(key, "alder", 0.3, 5)["sizes"] for _ in range(5)]
    size = float(torch.cat(sealed).float().median())

    assert size == pytest.approx(CIPHER_BYTES, rel=0.005)
    assert sealed_bytes(NUMBERS) == 2 * CIPHER_BYTES
    assert size / SLOTS == pytest.approx(26.6, abs=0.1)


def test_a_key_survives_its_file_which_nobody_else_may_read(key: SiteKey, tmp_path: Path) -> None:
    key.write(tmp_path / "kit/sites.key")
    back = SiteKey.read(tmp_path / "kit/sites.key")

    assert back.name == key.name
    assert stat.S_IMODE((tmp_path / "kit/sites.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "kit").iterdir()] == ["sites.key"]
    assert back.decrypt(key.encrypt(np.array([3, -4], np.int64))).tolist() == [3, -4]


@pytest.mark.parametrize("content", [None, b"", b"no key"])
def test_what_is_no_key_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "k").write_bytes(content)

    with pytest.raises(MissingInputError, match=r"k holds no key of the sites .*federate key"):
        SiteKey.read(tmp_path / "k")


def test_a_key_without_its_secret_is_none(key: SiteKey) -> None:
    """What opens nothing is not taken for a key."""
    public = key.context.copy()
    public.make_context_public()

    with pytest.raises(ValueError, match="no secret"):
        SiteKey(public.serialize())
