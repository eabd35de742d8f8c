"""The pages of the manual that are made from the code: settings and errors."""

from __future__ import annotations

from pathlib import Path

from common.config.settings import Settings
from somabrain.api.errors import BY_CODE, STATUS
from somabrain.api.health import REASON_REMEDIES
from somabrain.commands.local import allowed_values
from somabrain.commands.output import fail

FOLDER = Path("docs/technical-manual")


SETTINGS_HEAD = """\
# Settings

From the environment and a `.env` file; `somabrain settings` shows the values in force and where each comes from. A
value out of range stops the start with exit status 2 and one line that names it.

| setting | default | range | what it does |
|---|---|---|---|
"""

CODES_HEAD = """\
# Errors

Every refusal is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `code`, `trace_id` and, for
bodies, `errors` with the place of each fault. The same page is served at `/docs/errors`.

| code | status | meaning | what to do |
|---|---|---|---|
"""

REASONS_HEAD = """
# Reasons of an empty plan

Finding no way is an answer: status 200, `reached: false` and one of these, tested in this order.

| reason | what to do |
|---|---|
"""


def settings_page() -> str:
    """Every setting with its default, its range, and what it does."""
    return SETTINGS_HEAD + "".join(
        f"| `{name.upper()}` | {_default(field.get_default())} | {allowed_values(field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    )


def errors_page() -> str:
    """Every code with its status, its meaning and what to do, and every reason of an empty plan."""
    codes = "".join(
        f"| `{code}` | {STATUS[error]} | {error.message()} | {error.remedy()} |\n"
        for code, error in sorted(BY_CODE.items())
    )
    reasons = "".join(f"| `{reason.value}` | {text} |\n" for reason, text in REASON_REMEDIES.items())
    return CODES_HEAD + codes + REASONS_HEAD + reasons


def write_reference(*, check: bool) -> None:
    """Writes the pages, or with `check` ends with status 1 where one is not what the code says."""
    for name, text in {"settings.md": settings_page(), "errors.md": errors_page()}.items():
        path = FOLDER / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            fail(f"{path} is not what the code says: run `somabrain reference` and commit the result")


def _default(value: object) -> str:
    if value is None or value == "":
        return ""
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"
