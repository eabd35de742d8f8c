"""The policy, in process: its table, its refusals, and what it makes of documents that nobody should send."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import regorus
from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain.errors import ConfigurationError, PolicyUnavailableError
from somabrain.policy.document import UNCLEAR, read_decision
from somabrain.policy.embedded import UNASKABLE, EmbeddedPolicy, policy_source
from somabrain.ports import Decision, Principal, Question
from somabrain.tenancy import TenantId
from tests.reference.policy import ACTIONS, LADDER, permitted, verdict

ROOT = Path(__file__).resolve().parents[2]
EVERY_ACTION = sorted(set().union(*ACTIONS.values()))
PREAMBLE = "package somabrain.option\nimport rego.v1\n"

VALID: dict[str, Any] = {
    "method": "POST",
    "path": ["oak", "plan"],
    "action": "plan",
    "tenant": "acme",
    "namespace": "default",
    "resource": {"kind": "plan", "id": None},
    "user": {"subject": "agent-7", "tenant": "acme", "roles": ["brain_reader"]},
    "usage": {"requests_last_minute": 3, "requests_per_minute_max": 10, "seconds_to_reset": 12.2},
}


@pytest.fixture(scope="module")
def policy() -> EmbeddedPolicy:
    return EmbeddedPolicy(policy_source(None))


def asked(action: str = "plan", *, roles: tuple[str, ...] = ("brain_reader",), **usage: float) -> Question:
    return Question(
        method="POST",
        path=("oak", "plan"),
        action=action,
        namespace="default",
        resource_kind="plan",
        resource_id=None,
        principal=Principal(tenant=TenantId("acme"), subject="agent-7", roles=roles),
        usage={"requests_last_minute": 3.0, "requests_per_minute_max": 10.0, **usage},
    )


@pytest.mark.parametrize("action", EVERY_ACTION)
@pytest.mark.parametrize("role", LADDER)
def test_a_role_may_what_its_rank_says(policy: EmbeddedPolicy, role: str, action: str) -> None:
    decision = policy.decide(asked(action, roles=(role,)))
    assert decision.allowed is (action in permitted(role))
    if not decision.allowed:
        needed = next(name for name in LADDER if action in ACTIONS[name])
        assert decision == Decision(allowed=False, reasons=(f"{action} needs the role {needed} or a higher one",))


@pytest.mark.parametrize("action", EVERY_ACTION)
@pytest.mark.parametrize("roles", [(), ("other",), ("BRAIN_ADMIN",), ("brain_admin ",)])
def test_without_a_known_role_nothing_is_allowed(policy: EmbeddedPolicy, roles: tuple[str, ...], action: str) -> None:
    assert not policy.decide(asked(action, roles=roles)).allowed


def test_the_highest_of_several_roles_counts(policy: EmbeddedPolicy) -> None:
    assert policy.decide(asked("event_list", roles=("other", "brain_reader", "brain_admin"))).allowed


@pytest.mark.parametrize("action", ["", "consider", "PLAN", "plan ", "brain_reader", "__proto__"])
def test_an_action_that_is_not_listed_is_denied_to_the_admin(policy: EmbeddedPolicy, action: str) -> None:
    decision = policy.decide(asked(action, roles=("brain_admin",)))
    assert decision == Decision(allowed=False, reasons=("this policy does not know the action",))


def test_the_tenant_asked_about_must_be_the_callers_own(policy: EmbeddedPolicy) -> None:
    document = {**VALID, "tenant": "globex", "user": {**VALID["user"], "roles": ["brain_admin"]}}
    decision = policy.decide_input(document)
    assert decision == Decision(allowed=False, reasons=("the tenant is not the caller's own",))


@pytest.mark.parametrize(
    ("seen", "reset", "wait_s"),
    [
        (10, 5, None),
        (11, 5, 5),
        (10.5, 5.01, 6),
        (11, 0, 1),
        (11, -3, 1),
        (11, 60, 60),
        (11, 61, 60),
        (11, "7", 60),
        (11, True, 60),
    ],
)
def test_above_the_rate_the_wait_is_told(policy: EmbeddedPolicy, seen: float, reset: Any, wait_s: int | None) -> None:
    usage = {"requests_last_minute": seen, "requests_per_minute_max": 10, "seconds_to_reset": reset}
    decision = policy.decide_input({**VALID, "usage": usage})
    assert decision.allowed is (wait_s is None)
    assert decision.retry_after_s == wait_s


def test_the_wait_is_a_minute_where_the_reset_is_not_told(policy: EmbeddedPolicy) -> None:
    assert policy.decide(asked(requests_last_minute=11)).retry_after_s == 60


@pytest.mark.parametrize("document", [None, True, 0, "allow", [], {}, [VALID], {"input": VALID}])
def test_what_is_no_input_document_is_denied_with_reasons(policy: EmbeddedPolicy, document: Any) -> None:
    decision = policy.decide_input(document)
    assert not decision.allowed
    assert decision.reasons


@pytest.mark.parametrize(
    "document",
    [
        {**VALID, "usage": {"requests_last_minute": float("nan"), "requests_per_minute_max": 10}},
        {**VALID, "usage": {"requests_last_minute": 1, "requests_per_minute_max": float("inf")}},
        {**VALID, "usage": {"requests_last_minute": 1, "requests_per_minute_max": 10**400}},
        {**VALID, "path": ["\ud800"]},
    ],
)
def test_what_json_cannot_carry_is_denied(policy: EmbeddedPolicy, document: Any) -> None:
    assert policy.decide_input(document) == Decision(allowed=False, reasons=(UNASKABLE,))


SPICE = st.sampled_from([*LADDER, *EVERY_ACTION, "acme", "globex", "default", "GET", "a" * 64, "a" * 65, "a\n", ""])
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    SCALARS | SPICE | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SPICE | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside `value`."""
    if isinstance(value, dict):
        below = [places(inner, (*prefix, key)) for key, inner in value.items()]
    elif isinstance(value, list):
        below = [places(inner, (*prefix, index)) for index, inner in enumerate(value)]
    else:
        below = []
    return [prefix, *(place for group in below for place in group)]


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A valid input in which up to four values are replaced, removed or joined by another."""
    document = copy.deepcopy(VALID)
    document["user"]["roles"] = [draw(st.sampled_from(LADDER))]
    document["action"] = draw(st.sampled_from(EVERY_ACTION))
    document["tenant"] = document["user"]["tenant"] = draw(st.sampled_from(["acme"] * 4 + ["a b", "", 7, None]))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.sampled_from(places(document)))
        if not place:
            continue
        holder: Any = document
        for part in place[:-1]:
            holder = holder[part]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "join"]))
        if kind == "replace":
            holder[place[-1]] = draw(JSON_VALUES)
        elif kind == "remove":
            del holder[place[-1]]
        elif isinstance(holder, list):
            holder.append(draw(JSON_VALUES))
        else:
            holder[draw(SPICE)] = draw(JSON_VALUES)
    return document


@settings(max_examples=1500, deadline=None)
@given(document=documents() | JSON_VALUES)
def test_on_any_document_it_decides_as_the_words_of_the_policy_do(policy: EmbeddedPolicy, document: Any) -> None:
    decision, expected = policy.decide_input(document), verdict(document)
    assert decision.allowed is expected.allowed
    assert decision.retry_after_s == expected.retry_after_s
    assert bool(decision.reasons) is not decision.allowed


def test_eight_threads_get_the_same_decisions(policy: EmbeddedPolicy) -> None:
    questions = [asked(action, roles=(role,)) for action in EVERY_ACTION for role in LADDER] * 10
    expected = [question.action in permitted(question.principal.roles[0]) for question in questions]

    def decide_all() -> list[bool]:
        return [policy.decide(question).allowed for question in questions]

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(decide_all) for _ in range(8)]
    assert [answer.result() for answer in answers] == [expected] * 8


def test_the_policys_own_tests_pass_in_this_engine() -> None:
    folder = ROOT / "infra/helm/charts/opa/policies"
    source = (folder / "option_test.rego").read_text(encoding="utf-8")
    engine = regorus.Engine()
    engine.add_policy("option.rego", policy_source(folder / "option.rego"))
    engine.add_policy("option_test.rego", source)
    names = re.findall(r"^(test_\w+) if", source, re.MULTILINE)
    assert len(names) > 10
    results = {name: engine.eval_rule(f"data.somabrain.option_test.{name}") for name in names}
    assert [name for name, result in results.items() if result is not True] == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "expecting `package`"),
        ("package somabrain.other\nx := 1\n", "not a valid rule path"),
        ("package somabrain.option\n", "not a valid rule path"),
        (PREAMBLE + "decision := \n", "option.rego:4:1"),
        (PREAMBLE + "decision := frobnicate(1)\n", "Unknown function"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_a_policy_that_does_not_compile_stops_the_start(source: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)) as caught:
        EmbeddedPolicy(source)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("POLICY_PATH: ")


ALLOWING = 'decision := {"allow": true, "deny": [], "limit": null}'


@pytest.mark.parametrize(
    "rule",
    [
        f"{ALLOWING} if input.nowhere",
        f'{ALLOWING} if input.action == "plan"\ndecision := {{"allow": false}} if input.action == "plan"',
        f'{ALLOWING} if to_number(input.action) == 1\nreason := "not a number"',
        'decision := "true"',
        "decision := true",
        'decision := [{"allow": true, "deny": [], "limit": null}]',
        'decision := {"allow": "true", "deny": [], "limit": null}',
        'decision := {"allow": 1, "deny": [], "limit": null}',
        'decision := {"allow": true, "deny": ["no"], "limit": null}',
        'decision := {"allow": true, "deny": "", "limit": null}',
        'decision := {"allow": true, "deny": [1], "limit": null}',
        'decision := {"allow": true, "deny": [], "limit": {"retry_after_s": 1}}',
        'decision := {"allow": true, "deny": [], "limit": false}',
        'decision := {"allow": true, "deny": []}',
        'decision := {"allow": true, "limit": null}',
    ],
)
def test_a_document_that_is_not_a_clear_allow_is_a_denial(rule: str) -> None:
    assert not EmbeddedPolicy(PREAMBLE + rule).decide(asked()).allowed


def test_a_clear_allow_of_another_policy_is_an_allow() -> None:
    assert EmbeddedPolicy(PREAMBLE + ALLOWING).decide(asked()).allowed


@pytest.mark.parametrize("seconds", [-1, 1.5, True, None, "1", []])
def test_a_limit_without_whole_seconds_is_unclear(seconds: Any) -> None:
    decision = read_decision({"allow": False, "deny": ["slow down"], "limit": {"retry_after_s": seconds}})
    assert decision == Decision(allowed=False, reasons=("slow down", UNCLEAR))


PANICKING = 'decision := {"allow": numbers.range_step(0, 4, input.usage.step) == [0, 2, 4], "deny": [], "limit": null}'


def test_a_policy_that_panics_is_unavailable_and_the_next_decision_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    fickle = EmbeddedPolicy(PREAMBLE + PANICKING)
    for _ in range(3):
        with pytest.raises(PolicyUnavailableError):
            fickle.decide(asked(step=0))
        assert fickle.decide(asked(step=2)).allowed
    assert "panicked" in capfd.readouterr().err


def test_the_shipped_source_is_the_charts() -> None:
    chart = ROOT / "infra/helm/charts/opa/policies/option.rego"
    assert policy_source(None) == chart.read_text(encoding="utf-8")


def test_an_installed_package_has_its_own_copy(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "somabrain", tmp_path / "somabrain", ignore=ignored)
    (tmp_path / "somabrain/policy/option.rego").write_text("# installed\n", encoding="utf-8")
    program = "from somabrain.policy.embedded import policy_source; print(policy_source(None), end='')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "# installed\n"


def test_a_policy_file_that_cannot_be_read_stops_the_start_with_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary.rego"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.rego", tmp_path, binary):
        with pytest.raises(ConfigurationError, match=r"^POLICY_PATH: [^\n]+$") as caught:
            policy_source(path)
        assert str(path) in str(caught.value)
