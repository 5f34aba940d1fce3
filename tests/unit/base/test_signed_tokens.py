"""Temporary tokens as text: signed, checked, found when leaked."""

import pytest

from steelyard.base import ids
from steelyard.base.tokens import Signer
from steelyard.canon.claims import Claims, decode_claims, encode_claims

SIGNER = Signer(b"k" * 32)
CLAIMS = Claims(token_id="token_x", parent="0" * 64, expires_s=1060, models=("m",), calls=3)
TOKEN = SIGNER.sign(encode_claims(CLAIMS), 1000)


def test_round_trip_and_expiry() -> None:
    """What was signed is read back until its second comes."""
    payload = SIGNER.read(TOKEN)
    assert payload is not None
    assert decode_claims(payload, 1059) == CLAIMS
    assert decode_claims(payload, 1060) is None
    assert decode_claims(b"nonsense", 0) is None


def test_any_change_is_noticed() -> None:
    """One character elsewhere, another installation's key, another kind of text."""
    for place in range(3, len(TOKEN)):
        changed = TOKEN[:place] + ("A" if TOKEN[place] != "A" else "B") + TOKEN[place + 1 :]
        assert SIGNER.read(changed) is None
        body = changed[: -ids.CHECK_CHARS]
        # with a checksum that holds, the signature still does not
        forged = body + ids.checksum(body)
        assert forged == TOKEN or SIGNER.read(forged) is None
    assert Signer(b"l" * 32).read(TOKEN) is None
    for text in ("", "st-", "st-" + "A" * 60, ids.new_credential(), TOKEN * 30):
        assert SIGNER.read(text) is None


def test_signing_key_changes_with_the_day() -> None:
    """The same payload is signed differently tomorrow, and both are read."""
    today, tomorrow = (SIGNER.sign(b"payload" * 9, seconds) for seconds in (86_399, 86_400))
    assert today[-28:-6] != tomorrow[-28:-6]
    assert SIGNER.read(today) == SIGNER.read(tomorrow) == b"payload" * 9


@pytest.mark.parametrize("around", ["{}", 'key = "{}"', "https://x/?k={}&y=1", "({})"])
def test_leaked_tokens_are_found(around: str) -> None:
    """By their checksum."""
    assert [one.credential for one in ids.find_credentials(around.format(TOKEN))] == [TOKEN]
    assert ids.find_credentials(around.format(TOKEN[:-1] + ("a" if TOKEN[-1] != "a" else "b"))) == []
