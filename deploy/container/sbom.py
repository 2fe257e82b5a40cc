"""Writes what is in the image besides its base as a CycloneDX bill of materials: what the lock file has, no more.

It needs nothing but Python, since it runs while the image is built. The same input gives the same bytes.

    sbom.py requirements.lock pyproject.toml src/gcsidecar/__init__.py >gcsidecar.cdx.json
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VIA = re.compile(r"^ +# +(?:via +)?([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class Package:
    """A pin of the lock file.

    Attributes:
        name: Its name.
        version: Its version.
        hashes: SHA-256 of each of its files.
        wanted_by: Those that depend on it.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def url(self) -> str:
        """Its package URL, by which scanners know it."""
        return f"pkg:pypi/{self.name}@{self.version}"


def packages(lock: str) -> list[Package]:
    """The pins of a lock file, in its order."""
    found = []
    for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        pin = PIN.match(block)
        if pin is not None:
            via = [match[1] for line in block.splitlines() if (match := VIA.match(line))]
            found.append(Package(pin[1], pin[2], tuple(HASH.findall(block)), tuple(via)))
    return found


def bill(found: list[Package], project: dict[str, Any], version: str) -> dict[str, Any]:
    """The bill of materials of a project and what it was locked with."""
    own = Package(project["name"], version, (), ())
    component = _component(own, "application") | {"licenses": [{"license": {"id": project["license"]}}]}
    content = {
        "metadata": {"component": component},
        "components": [_component(package, "library") | _files(package) for package in found],
        "dependencies": [_dependencies(package, found) for package in (own, *found)],
    }
    # A number that stands for this content, so that the same lock file gives the same bill.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
    } | content


def _component(package: Package, kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "bom-ref": package.url,
        "name": package.name,
        "version": package.version,
        "purl": package.url,
    }


def _files(package: Package) -> dict[str, Any]:
    """The files of which one, that for the platform, is installed."""
    hashes = [{"alg": "SHA-256", "content": content} for content in package.hashes]
    return {"externalReferences": [{"type": "distribution", "url": package.url, "hashes": hashes}]}


def _dependencies(package: Package, found: list[Package]) -> dict[str, Any]:
    return {"ref": package.url, "dependsOn": [other.url for other in found if package.name in other.wanted_by]}


def main(lock: str, pyproject: str, init: str) -> None:
    """Print the bill of materials of these files."""
    version = re.search(r'^__version__ = "([^"]+)"', Path(init).read_text(), re.MULTILINE)
    if version is None:
        sys.exit(f"sbom.py: {init} has no __version__; name the package's __init__.py")
    project = tomllib.loads(Path(pyproject).read_text())["project"]
    print(json.dumps(bill(packages(Path(lock).read_text()), project, version[1]), indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
