"""Tokens against a real issuer: an HTTP server on loopback with discovery, keys, and ways to misbehave."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.auth.jwks import RESPONSE_BYTES_MAX
from somabrain.auth.oidc import OidcAuthenticator
from somabrain.errors import ConfigurationError, IdentityUnavailableError, TenantInvalidError, UnauthenticatedError
from somabrain.ports import Principal
from somabrain.tenancy import TenantId

NOW = 1_767_323_045
TTL_S, COOLDOWN_S, TIMEOUT_S, LEEWAY_S = 300, 5, 0.5, 60
DISCOVERY = "/realms/test/.well-known/openid-configuration"
JWKS = "/realms/test/keys"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Answer = Callable[["Issuer", BaseHTTPRequestHandler], None]


@dataclass(slots=True)
class Clock:
    """Seconds that pass only when told to."""

    seconds: float

    def __call__(self) -> float:
        return self.seconds


def public_jwk(key: PrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", **members}


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@dataclass(slots=True)
class Issuer:
    """An identity provider: its keys, what it was asked, and answers that replace the right ones."""

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    discovery: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def fetches(self) -> int:
        return self.asked.count(DISCOVERY)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        if handler.path in self.answers:
            self.answers[handler.path](self, handler)
        elif handler.path == DISCOVERY:
            document = {"issuer": self.url, "jwks_uri": self.url.removesuffix("/realms/test") + JWKS}
            send(handler, json.dumps(document | self.discovery).encode())
        elif handler.path == JWKS:
            send(handler, json.dumps({"keys": self.keys}).encode())
        else:
            send(handler, b"{}", 404)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Private keys, made once: they are slow to make."""

    rsa: rsa.RSAPrivateKey
    other: rsa.RSAPrivateKey
    weak: rsa.RSAPrivateKey
    ec: ec.EllipticCurvePrivateKey
    wide: ec.EllipticCurvePrivateKey


@pytest.fixture(scope="module")
def secrets() -> Secrets:
    return Secrets(
        rsa=rsa.generate_private_key(65537, 2048),
        other=rsa.generate_private_key(65537, 2048),
        weak=rsa.generate_private_key(65537, 1024),
        ec=ec.generate_private_key(ec.SECP256R1()),
        wide=ec.generate_private_key(ec.SECP384R1()),
    )


@contextlib.contextmanager
def serving(secrets: Secrets) -> Iterator[Issuer]:
    """An issuer that answers on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: Any) -> None:
            """Nothing: the output is the tests'."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that hangs up early is part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    state = Issuer(url=f"http://127.0.0.1:{server.server_port}/realms/test")
    state.keys = [public_jwk(secrets.rsa, "r1"), public_jwk(secrets.ec, "e1")]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(slots=True)
class Scene:
    """An authenticator of the issuer, and its clocks."""

    issuer: Issuer
    secrets: Secrets
    wall: Clock = field(default_factory=lambda: Clock(NOW))
    monotonic: Clock = field(default_factory=lambda: Clock(1000.0))
    auth: OidcAuthenticator = field(init=False)

    def __post_init__(self) -> None:
        self.auth = self.opened(monotonic=self.monotonic)

    def opened(self, *, monotonic: Callable[[], float], issuer: str | None = None) -> OidcAuthenticator:
        return OidcAuthenticator(
            issuer=issuer or self.issuer.url,
            audience="somabrain",
            tenant_claim="tenant",
            leeway_s=LEEWAY_S,
            keys_ttl_s=TTL_S,
            keys_cooldown_s=COOLDOWN_S,
            timeout_s=TIMEOUT_S,
            wall=self.wall,
            monotonic=monotonic,
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims; a change to `...` takes the claim out."""
        good = {
            "iss": self.issuer.url,
            "aud": "somabrain",
            "sub": "user-1",
            "exp": NOW + 300,
            "tenant": "acme",
            "realm_access": {"roles": ["brain_writer", "offline_access"]},
        }
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def token(self, key: PrivateKey | None = None, kid: str | None = "r1", /, **changes: Any) -> str:
        key = key or self.secrets.rsa
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.api_jws.encode(
            json.dumps(self.claims(**changes)).encode(), key, algorithm, headers={"kid": kid} if kid else None
        )

    def ask(self, token: str) -> Principal:
        return self.auth.authenticate({"authorization": f"Bearer {token}"})

    def refuses(self, token: str, told: str | None = None) -> None:
        with pytest.raises(UnauthenticatedError, match=told):
            self.ask(token)


@pytest.fixture
def scene(secrets: Secrets) -> Iterator[Scene]:
    with serving(secrets) as issuer:
        yield Scene(issuer, secrets)


@pytest.fixture(scope="module")
def shared(secrets: Secrets) -> Iterator[Scene]:
    """One scene for all examples of a property, which leave it as it is."""
    with serving(secrets) as issuer:
        yield Scene(issuer, secrets)


def test_a_good_token_is_its_subject_and_the_keys_are_fetched_once(scene: Scene) -> None:
    expected = Principal(tenant=TenantId("acme"), subject="user-1", roles=("brain_writer", "offline_access"))
    assert scene.ask(scene.token()) == expected
    assert scene.ask(scene.token(scene.secrets.ec, "e1")) == expected
    assert scene.ask(scene.token(aud=["account", "somabrain"], nbf=NOW, iat=NOW)) == expected
    assert scene.issuer.asked == [DISCOVERY, JWKS]


def test_nothing_is_fetched_before_the_first_token_or_for_one_that_cannot_be_good(scene: Scene) -> None:
    scene.refuses("a.b.c")
    scene.refuses(jwt.encode(scene.claims(), None, algorithm="none"))
    scene.refuses(scene.token(scene.secrets.rsa, None))
    assert scene.issuer.asked == []


def test_a_token_of_another_signature_issuer_or_audience_is_refused(scene: Scene) -> None:
    scene.refuses(scene.token(scene.secrets.other, "r1"), "InvalidSignature")
    scene.refuses(scene.token()[:-4] + "AAAA", "InvalidSignature")
    for iss in (scene.issuer.url + "/", "https://example.com", "", None, [scene.issuer.url], ...):
        scene.refuses(scene.token(iss=iss))
    for aud in ("account", "", None, [], ["somabrain2"], {"somabrain": 1}, [1, "somabrain"], ...):
        scene.refuses(scene.token(aud=aud))


def test_the_claims_are_those_that_were_signed(scene: Scene) -> None:
    header, _, signature = scene.token().split(".")
    other = scene.token(tenant="globex").split(".")[1]
    scene.refuses(f"{header}.{other}.{signature}", "InvalidSignature")


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_the_public_key_is_no_shared_secret(scene: Scene) -> None:
    """The attack of RFC 8725 §2.1: sign by HMAC with what everyone can read."""
    scene.ask(scene.token())
    public = scene.secrets.rsa.public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public_jwk(scene.secrets.rsa, "r1")).encode(),
        b"",
    ]
    for algorithm in ("HS256", "RS256"):
        signing_input = unsigned({"alg": algorithm, "kid": "r1"}, scene.claims())
        for secret in secrets:
            signature = hmac.digest(secret, signing_input.encode(), hashlib.sha256)
            scene.refuses(f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, ["RS256"], {"RS256": 1}, 256])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_an_unsigned_token_is_refused(scene: Scene, algorithm: Any, signature: str) -> None:
    scene.refuses(unsigned({"alg": algorithm, "kid": "r1"}, scene.claims()) + "." + signature)


def test_other_algorithms_of_a_known_key_are_refused(scene: Scene) -> None:
    for algorithm in ("RS384", "RS512", "PS256"):
        scene.refuses(jwt.encode(scene.claims(), scene.secrets.rsa, algorithm, headers={"kid": "r1"}))
    scene.issuer.keys.append(public_jwk(scene.secrets.wide, "w1"))
    scene.refuses(jwt.encode(scene.claims(), scene.secrets.wide, "ES384", headers={"kid": "w1"}))


def test_the_type_of_the_key_must_be_the_algorithms(scene: Scene) -> None:
    scene.refuses(scene.token(scene.secrets.rsa, "e1"), "does not list")
    scene.refuses(scene.token(scene.secrets.ec, "r1"), "does not list")


def test_a_header_with_something_critical_or_a_key_of_its_own_is_refused(scene: Scene) -> None:
    payload = json.dumps(scene.claims()).encode()
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": True}):
        signing = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "r1", **header}).encode()).rstrip(b"=")
        signing += b"." + base64.urlsafe_b64encode(payload).rstrip(b"=")
        algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(algorithm.sign(signing, scene.secrets.rsa)).rstrip(b"=")
        scene.refuses((signing + b"." + signature).decode())
    own = {"kid": "r1", "jwk": public_jwk(scene.secrets.other, "r1")}
    scene.refuses(jwt.encode(scene.claims(), scene.secrets.other, "RS256", headers=own), "InvalidSignature")


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": NOW - LEEWAY_S + 1}, None),
        ({"exp": NOW - LEEWAY_S + 0.5}, None),
        ({"exp": NOW - LEEWAY_S}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": ...}, "MissingRequiredClaim"),
        ({"exp": None}, "MissingRequiredClaim"),
        ({"exp": str(NOW + 300)}, "expired"),
        ({"exp": True}, "expired"),
        ({"exp": [NOW + 300]}, "expired"),
        ({"exp": float("inf")}, "expired"),
        ({"exp": float("nan")}, "expired"),
        ({"exp": 10**400}, "expired"),
        ({"nbf": NOW + LEEWAY_S}, None),
        ({"nbf": NOW + LEEWAY_S + 1}, "not valid yet"),
        ({"nbf": None}, "not valid yet"),
        ({"nbf": True}, "not valid yet"),
        ({"nbf": "0"}, "not valid yet"),
        ({"nbf": float("nan")}, "not valid yet"),
        ({"nbf": -(10**400)}, "not valid yet"),
        ({"iat": NOW + 10_000}, None),
    ],
)
def test_a_token_is_good_between_its_times(scene: Scene, claims: dict[str, Any], told: str | None) -> None:
    token = scene.token(**claims)
    if told is None:
        assert scene.ask(token).subject == "user-1"
    else:
        scene.refuses(token, told)


def test_a_token_ends_while_the_service_runs(scene: Scene) -> None:
    token = scene.token()
    scene.ask(token)
    scene.wall.seconds = NOW + 300 + LEEWAY_S
    scene.refuses(token, "expired")


@pytest.mark.parametrize("tenant", [..., None, 7, True, ["acme"], {"name": "acme"}, "", "a/b", "acme\n", "a" * 65])
def test_a_token_without_a_valid_tenant_is_refused(scene: Scene, tenant: Any) -> None:
    with pytest.raises(TenantInvalidError):
        scene.ask(scene.token(tenant=tenant))


@pytest.mark.parametrize("sub", [..., None, "", 7, ["user-1"], "a" * 256, "a\nb", "a\u0000", "\ud800"])
def test_a_token_without_a_clear_subject_is_refused(scene: Scene, sub: Any) -> None:
    scene.refuses(scene.token(sub=sub))


@pytest.mark.parametrize(
    ("access", "roles"),
    [
        ({"roles": ["brain_reader"]}, ("brain_reader",)),
        ({"roles": []}, ()),
        ({"roles": "brain_admin"}, ()),
        ({"roles": {"brain_admin": True}}, ()),
        ({"roles": ["brain_admin", 1]}, ()),
        ({"roles": [["brain_admin"]]}, ()),
        ({"roles": None}, ()),
        ({}, ()),
        (["brain_admin"], ()),
        ("brain_admin", ()),
        (None, ()),
        (..., ()),
    ],
)
def test_unclear_roles_are_none(scene: Scene, access: Any, roles: tuple[str, ...]) -> None:
    assert scene.ask(scene.token(realm_access=access, roles=["brain_admin"])).roles == roles


def test_keys_that_are_not_for_signing_weak_or_malformed_are_left_out(scene: Scene) -> None:
    rs, good = scene.secrets.rsa, public_jwk(scene.secrets.rsa, "k")
    scene.issuer.keys = [
        public_jwk(rs, "enc", use="enc"),
        public_jwk(rs, "ops", key_ops=["encrypt"]),
        public_jwk(rs, "other", alg="RSA-OAEP"),
        public_jwk(rs, "pss", alg="PS256"),
        public_jwk(scene.secrets.weak, "weak"),
        public_jwk(scene.secrets.wide, "wide"),
        {**good, "kid": "e", "e": 65537},
        {**good, "kid": "n", "n": "!"},
        {**good, "kid": "kty", "kty": "oct", "k": "AAAA"},
        {**good, "kid": 7},
        {**public_jwk(scene.secrets.ec, "curve"), "y": "AAAA"},
        "key",
        None,
        public_jwk(rs, "good", alg="RS256", key_ops=["verify"]),
        {name: value for name, value in good.items() if name not in ("use", "key_ops")},
    ]
    for kid in ("good", "k"):
        assert scene.ask(scene.token(rs, kid)).subject == "user-1"
    scene.refuses(scene.token(scene.secrets.ec, "curve"), "does not list")
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        weak = scene.token(scene.secrets.weak, "weak")
    scene.refuses(weak, "does not list")
    for kid in ("enc", "ops", "other", "pss", "e", "n", "kty", "wide"):
        scene.refuses(scene.token(rs, kid), "does not list")


def test_a_private_key_in_the_set_is_used_as_a_public_one(scene: Scene) -> None:
    private = jwt.algorithms.RSAAlgorithm.to_jwk(scene.secrets.rsa, as_dict=True)
    scene.issuer.keys = [{name: value for name, value in private.items() if name != "key_ops"} | {"kid": "p"}]
    assert scene.ask(scene.token(scene.secrets.rsa, "p")).subject == "user-1"


def test_a_new_key_is_looked_for_at_most_once_each_cooldown(scene: Scene) -> None:
    scene.ask(scene.token())
    rotated = scene.token(scene.secrets.other, "r2")
    for _ in range(10):
        scene.refuses(rotated, "does not list")
    assert scene.issuer.fetches == 1
    scene.issuer.keys.append(public_jwk(scene.secrets.other, "r2"))
    scene.monotonic.seconds += COOLDOWN_S
    assert scene.ask(rotated).subject == "user-1"
    assert scene.ask(scene.token()).subject == "user-1"
    assert scene.issuer.fetches == 2
    scene.monotonic.seconds += COOLDOWN_S
    for number in range(10):
        scene.refuses(scene.token(scene.secrets.rsa, f"unknown-{number}"), "does not list")
    assert scene.issuer.fetches == 3


def test_a_disabled_key_is_refused_after_its_ttl(scene: Scene) -> None:
    scene.ask(scene.token())
    scene.issuer.keys = [public_jwk(scene.secrets.other, "r2")]
    scene.monotonic.seconds += TTL_S - 0.001
    assert scene.ask(scene.token()).subject == "user-1"
    scene.monotonic.seconds += 0.001
    scene.refuses(scene.token(), "does not list")
    assert scene.ask(scene.token(scene.secrets.other, "r2")).subject == "user-1"
    assert scene.issuer.fetches == 2


def test_the_last_key_can_be_disabled(scene: Scene) -> None:
    scene.ask(scene.token())
    scene.issuer.keys = []
    scene.monotonic.seconds += TTL_S
    scene.refuses(scene.token(), "does not list")


def failing(status: int = 500) -> Answer:
    return lambda _, handler: send(handler, b"{}", status)


def sending(body: bytes) -> Answer:
    return lambda _, handler: send(handler, body)


def redirecting(_: Issuer, handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"", 302, Location=JWKS)


def dripping(_: Issuer, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _step in range(30):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def silent(_: Issuer, __: BaseHTTPRequestHandler) -> None:
    time.sleep(3 * TIMEOUT_S)


def endless(_: Issuer, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65536)


def cut_short(_: Issuer, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


BAD_ANSWERS: dict[str, tuple[str, Answer]] = {
    "discovery: 500": (DISCOVERY, failing()),
    "discovery: 404": (DISCOVERY, failing(404)),
    "discovery: garbage": (DISCOVERY, sending(b"<html>")),
    "discovery: a list": (DISCOVERY, sending(b"[]")),
    "discovery: empty": (DISCOVERY, sending(b"{}")),
    "discovery: deep": (DISCOVERY, sending(b"[" * 100_000)),
    "discovery: redirected": (DISCOVERY, redirecting),
    "keys: 500": (JWKS, failing()),
    "keys: 204": (JWKS, failing(204)),
    "keys: garbage": (JWKS, sending(b"\xff\xfe")),
    "keys: no keys": (JWKS, sending(b'{"keys": {}}')),
    "keys: huge": (JWKS, sending(b'{"keys": [' + b" " * RESPONSE_BYTES_MAX + b"]}")),
    "keys: endless": (JWKS, endless),
    "keys: cut short": (JWKS, cut_short),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_issuer_that_fails_at_first_is_unavailable_and_asked_again_after_the_cooldown(
    scene: Scene, name: str
) -> None:
    path, answer = BAD_ANSWERS[name]
    scene.issuer.answers[path] = answer
    for _ in range(5):
        with pytest.raises(IdentityUnavailableError):
            scene.ask(scene.token())
    assert scene.issuer.fetches == 1
    scene.issuer.answers.clear()
    scene.monotonic.seconds += COOLDOWN_S
    assert scene.ask(scene.token()).subject == "user-1"
    assert scene.issuer.fetches == 2


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://example.com"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": ""},
        {"jwks_uri": "/realms/test/keys"},
        {"jwks_uri": "file:///etc/hostname"},
        {"jwks_uri": "http://127.0.0.1:99999/"},
        {"jwks_uri": "http://[::1"},
        {"jwks_uri": "http://" + "a" * 300 + "/"},
        {"jwks_uri": "http://xn--/"},
    ],
)
def test_a_discovery_document_of_another_issuer_or_without_an_address_is_not_used(
    scene: Scene, document: dict[str, Any]
) -> None:
    scene.issuer.discovery = document
    with pytest.raises(IdentityUnavailableError):
        scene.ask(scene.token())
    assert JWKS not in scene.issuer.asked


def test_an_issuer_that_fails_later_is_bridged_for_known_keys_for_one_more_ttl(scene: Scene) -> None:
    scene.ask(scene.token())
    scene.issuer.answers[JWKS] = failing()
    scene.monotonic.seconds += TTL_S
    assert scene.ask(scene.token()).subject == "user-1"
    assert scene.ask(scene.token()).subject == "user-1"
    assert scene.issuer.fetches == 2
    with pytest.raises(IdentityUnavailableError):
        scene.ask(scene.token(scene.secrets.other, "r2"))
    scene.monotonic.seconds += TTL_S - 1
    assert scene.ask(scene.token()).subject == "user-1"
    scene.monotonic.seconds += 1
    with pytest.raises(IdentityUnavailableError):
        scene.ask(scene.token())
    scene.issuer.answers.clear()
    scene.monotonic.seconds += COOLDOWN_S
    assert scene.ask(scene.token()).subject == "user-1"


def test_while_the_issuer_fails_fresh_keys_serve_and_unknown_ones_are_unavailable(scene: Scene) -> None:
    scene.ask(scene.token())
    scene.issuer.answers[DISCOVERY] = failing()
    scene.monotonic.seconds += COOLDOWN_S
    with pytest.raises(IdentityUnavailableError):
        scene.ask(scene.token(scene.secrets.other, "r2"))
    assert scene.ask(scene.token()).subject == "user-1"


@pytest.mark.parametrize("answer", [dripping, silent])
@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
def test_a_slow_issuer_is_given_up_at_the_deadline(scene: Scene, path: str, answer: Answer) -> None:
    scene.issuer.answers[path] = answer
    scene.auth = scene.opened(monotonic=time.monotonic)
    started = time.monotonic()
    with pytest.raises(IdentityUnavailableError):
        scene.ask(scene.token())
    assert time.monotonic() - started < 4 * TIMEOUT_S


def test_a_server_that_is_down_is_unavailable(scene: Scene, secrets: Secrets) -> None:
    down = Scene(Issuer(url="http://127.0.0.1:1/realms/test"), secrets)
    with pytest.raises(IdentityUnavailableError):
        down.ask(down.token())


def test_threads_share_one_fetch(scene: Scene) -> None:
    tokens = [scene.token(), scene.token(scene.secrets.ec, "e1")] * 20
    with ThreadPoolExecutor(8) as threads:
        principals = list(threads.map(scene.ask, tokens))
    assert {principal.subject for principal in principals} == {"user-1"}
    assert scene.issuer.fetches == 1


def test_known_keys_do_not_wait_for_the_search_of_an_unknown_one(scene: Scene) -> None:
    scene.ask(scene.token())
    entered, release = threading.Event(), threading.Event()

    def held(_: Issuer, handler: BaseHTTPRequestHandler) -> None:
        entered.set()
        release.wait(timeout=10)
        send(handler, b"{}", 500)

    scene.issuer.answers[DISCOVERY] = held
    scene.monotonic.seconds += COOLDOWN_S
    with ThreadPoolExecutor(1) as threads:
        search = threads.submit(scene.ask, scene.token(scene.secrets.other, "r2"))
        assert entered.wait(timeout=10)
        assert scene.ask(scene.token()).subject == "user-1"
        assert not search.done()
        release.set()
        assert isinstance(search.exception(), IdentityUnavailableError)


@pytest.mark.parametrize("issuer", ["", "keycloak", "ftp://example.com", "https://", "http://[::1", "file:///etc"])
def test_an_issuer_that_is_no_address_stops_the_start(issuer: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^OIDC_ISSUER: [^\n]+$"):
        OidcAuthenticator(
            issuer=issuer,
            audience="somabrain",
            tenant_claim="tenant",
            leeway_s=LEEWAY_S,
            keys_ttl_s=TTL_S,
            keys_cooldown_s=COOLDOWN_S,
            timeout_s=TIMEOUT_S,
            wall=Clock(NOW),
            monotonic=Clock(0),
        )


SEGMENTS = st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["RS256", "ES256", "r1", "alg", "kid"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "sub"]), inner, max_size=5)
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0), character=st.sampled_from("AQgw_-.=~"))
def test_a_token_with_one_other_character_is_refused(shared: Scene, position: int, character: str) -> None:
    token = shared.token()
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        shared.refuses(changed)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(SEGMENTS.map(lambda part: base64.urlsafe_b64encode(part).rstrip(b"=").decode()), max_size=5))
def test_whatever_is_sent_is_refused(shared: Scene, parts: list[str]) -> None:
    shared.refuses(".".join(parts))


def test_headers_and_claims_of_deep_nesting_are_refused(scene: Scene) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 5000).decode()
    scene.refuses(f"{deep}.{deep}.AAAA")
    payload = b'{"sub": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    scene.refuses(jwt.api_jws.encode(payload, scene.secrets.rsa, "RS256", headers={"kid": "r1"}))
