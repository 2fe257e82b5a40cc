"""What docs/access.md shows works: each example, each command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
import yaml

import needs
from certificates import Authority
from gcsidecar.sidecar.cli import main
from gcsidecar.sidecar.web.checks import _HEADERS
from gcsidecar.sidecar.web.loader import load_access
from gcsidecar.sidecar.web.settings import HttpSettings, RateSettings, TlsSettings, WebSettings

PAGE = (Path(__file__).parents[2] / "docs/access.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
OURS = [text for text in EXAMPLES if "scrape_configs" not in text]
THEIRS = [text for text in EXAMPLES if "scrape_configs" in text]


@pytest.mark.parametrize("text", OURS)
def test_the_web_configs_are_right(tmp_path: Path, text: str) -> None:
    authority = Authority(tmp_path)
    authority.issue("tls")
    (tmp_path / "web.yaml").write_text(text)
    load_access(str(tmp_path / "web.yaml"))


@pytest.mark.parametrize("text", THEIRS)
def test_the_scrape_configs_are_right(tmp_path: Path, text: str) -> None:
    (tmp_path / "prometheus.yml").write_text(text)
    promtool = needs.program("promtool", "prometheus")
    subprocess.run([promtool, "check", "config", "--syntax-only", tmp_path / "prometheus.yml"], check=True)


def test_the_command_for_a_hash_prints_one_that_is_taken(tmp_path: Path) -> None:
    [command] = re.findall(r"^python3 -c '(.*)'$", PAGE, re.MULTILINE)
    ours, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its only terminal is ours
    ) as process:
        assert process.stderr
        assert process.stderr.read(len("Password: ")) == b"Password: "  # what is typed before that is dropped
        os.write(ours, b"secret\n")
        hashed = process.communicate(timeout=60)[0].decode().strip()
    os.close(ours)
    os.close(terminal)
    assert bcrypt.checkpw(b"secret", hashed.encode())
    (tmp_path / "web.yaml").write_text(yaml.safe_dump({"basic_auth_users": {"alice": hashed}}))
    load_access(str(tmp_path / "web.yaml"))


def test_every_flag_and_every_key_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    flags = set(re.findall(r"--web\.[a-z.-]+", capsys.readouterr().out))
    keys = {
        key for settings in (WebSettings, TlsSettings, HttpSettings, RateSettings) for key in settings.__struct_fields__
    }
    assert flags == set(re.findall(r"--web\.[a-z.-]+", PAGE))
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE] == []
    assert len(_HEADERS) == 5
