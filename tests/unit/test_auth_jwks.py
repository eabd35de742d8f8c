"""What of an issuer's discovery document is relied on."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain.auth.jwks import keys_address

SECURE, PLAIN = "https://id.example.com/realms/a", "http://127.0.0.1:8080/realms/a"


@pytest.mark.parametrize(
    ("issuer", "address"),
    [
        (SECURE, "https://id.example.com/realms/a/keys"),
        (SECURE, "https://keys.example.com/"),
        (PLAIN, "http://127.0.0.1:8080/keys"),
        (PLAIN, "https://keys.example.com/"),
    ],
)
def test_keys_come_from_where_the_issuer_says(issuer: str, address: str) -> None:
    assert keys_address(issuer, {"issuer": issuer, "jwks_uri": address}) == address


@pytest.mark.parametrize(
    "change",
    [
        {"jwks_uri": "http://id.example.com/realms/a/keys"},
        {"jwks_uri": "file:///etc/hostname"},
        {"jwks_uri": "/realms/a/keys"},
        {"jwks_uri": "https://"},
        {"jwks_uri": ""},
        {"jwks_uri": None},
        {"jwks_uri": ["https://id.example.com/keys"]},
        {"issuer": SECURE + "/"},
        {"issuer": "https://id.example.com/realms/b"},
        {"issuer": None},
        {"issuer": [SECURE]},
    ],
)
def test_a_document_of_another_issuer_or_that_leaves_https_is_not_relied_on(change: dict[str, Any]) -> None:
    good = {"issuer": SECURE, "jwks_uri": "https://id.example.com/keys"}
    assert keys_address(SECURE, good | change) is None
