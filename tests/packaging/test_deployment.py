"""What an organisation deploys: parts that exist, nobody is root, nothing is written but the workspace."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))["services"])


def test_every_service_drops_its_capabilities_and_only_the_app_is_built(services: dict[str, Any]) -> None:
    assert set(services) == {"app", "labels", "tls"}
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged") and "network_mode" not in service, name
    assert services["app"]["read_only"] is True
    assert [name for name, service in services.items() if "ports" in service] == ["tls"]


def test_database_is_reached_by_the_app_only(services: dict[str, Any]) -> None:
    networks = yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))["networks"]
    assert services["labels"]["networks"] == ["back"] and networks["back"]["internal"] is True
    assert [name for name, service in services.items() if "back" in service["networks"]] == ["app", "labels"]


def test_every_variable_that_compose_asks_for_is_in_the_example(services: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yml").read_text(encoding="utf-8")))
    assert asked == set(re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(encoding="utf-8"), re.MULTILINE))


def test_image_is_built_from_the_lock_with_hashes_and_runs_as_nobody_of_the_host() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    [locked] = [line for line in lines if "-r /src/requirements.lock" in line]
    assert "--require-hashes" in locked and "--no-deps" in locked
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users == ["10001:10001"]
    copied = [word for line in lines if re.match("COPY (?!--from)", line) for word in line.split()[1:-1]]
    assert copied and [word for word in copied if not (ROOT / word).exists()] == []
    [command] = [line for line in lines if line.startswith('CMD ["--workspace')]
    assert "--secrets" in command  # without it the app refuses to listen on 0.0.0.0


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "damage-ssl.service").read_text(encoding="utf-8")
    assert "User=damage-ssl" in unit and "ProtectSystem=strict" in unit
    there = tmp_path / "damage-ssl.service"
    there.write_text(unit.replace("/opt/damage-ssl/bin/damage-ssl", shutil.which("true") or "/bin/true"))
    checked = subprocess.run([analyze, "verify", str(there)], capture_output=True, text=True, check=False)
    if "Failed to" in checked.stderr and "init" in checked.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {checked.stderr.strip()[:200]}")
    assert checked.returncode == 0 and "damage-ssl.service:" not in checked.stderr, checked.stderr
