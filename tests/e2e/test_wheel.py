"""What is installed works without the checkout: the policy, the schemas, the migrations and the pages are inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
import somabrain, libs.kafka_cog
from libs.kafka_cog.avro_schemas import load_schemas
from somabrain.policy.embedded import EmbeddedPolicy, policy_source
from starlette.testclient import TestClient
from common.config.settings import Settings
from somabrain.bootstrap import make_app

assert Path(somabrain.__file__).is_relative_to(sys.argv[1]), somabrain.__file__
assert "OptionCreated" in load_schemas().names
EmbeddedPolicy(policy_source(None))
with TestClient(make_app(Settings()), base_url="http://localhost") as client:
    target = {"features": {"at": "goal"}}
    assert client.post("/oak/option/create", json={"name": "x", "target": target}).status_code == 201
    assert client.get("/docs/assets/swagger-ui.css").status_code == 200
print("installed")
"""


def test_the_wheel_holds_all_that_it_needs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, check=True, capture_output=True)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    settings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, target],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("installed"), done.stderr
