"""What tools keep for themselves, each with the names by which it is told; docs/presets.md has the reasons at length.

Only a table; `marks` looks for what is in it, and what is to be said of a root is for `layout`.
"""

from __future__ import annotations

from dataclasses import dataclass

_BY_HASH = "its subfolders are parts of hashes, no units"


@dataclass(frozen=True, slots=True)
class Store:
    """A directory whose subfolders are no units: evicting one breaks its tool, or is of no use.

    Attributes:
        title: What it is, such as "uv's cache".
        marks: Names that are all there, `|` between alternatives; one may lead deeper, or have wildcards, not both.
        why: What is wrong with evicting its subfolders.
        remedy: What to do instead.
        reaches_below: Whether no directory in it is a root either.
    """

    title: str
    marks: tuple[str, ...]
    why: str
    remedy: str
    reaches_below: bool = True


@dataclass(frozen=True, slots=True)
class Units:
    """A directory whose subfolders are units, all but a few that must stay.

    Attributes:
        title: What it is, such as "a Hugging Face hub".
        marks: As those of a `Store`.
        never: The names of those that must stay.
        why: What they are for.
        folders: The glob of those that are units.
    """

    title: str
    marks: tuple[str, ...]
    never: frozenset[str]
    why: str
    folders: str


def _pointed(setting: str) -> str:
    return f"a folder for each project or job below the root, and the tool pointed into it ({setting})"


def _each(path: str) -> str:
    """A mark of as many alternatives as a hexadecimal digit has."""
    return "|".join(path.format(digit) for digit in "0123456789abcdef")


# What is most particular comes first.
STORES = (
    Store(
        "pre-commit's home",
        ("db.db", ".lock"),
        "its database keeps the path of each folder, and a missing one breaks every later run",
        'leave it to "pre-commit gc"',
    ),
    Store(
        "uv's cache",
        ("CACHEDIR.TAG", "archive-v*|wheels-v*|simple-v*"),
        "environments have hard links to its files, so little comes back, and its documentation forbids it",
        'leave it to "uv cache prune"',
    ),
    Store(
        "conda's package cache",
        ("urls.txt", "cache|*.conda|*.tar.bz2"),
        "environments have hard links and symlinks to its files: little comes back, and some may break",
        'leave it to "conda clean"',
    ),
    Store(
        "a store of ollama's models",
        ("manifests|models/manifests", "blobs|models/blobs"),
        "a model's manifest and its blobs lie apart, so one would go without the other",
        'leave it to "ollama rm"',
    ),
    Store(
        "a Nix store",
        (".links", f"{'?' * 32}-*"),
        "its database lists every path, and what depends on one breaks",
        'leave it to "nix-collect-garbage"',
    ),
    Store(
        "Apptainer's cache",
        ("oci-tmp", "library", "net|oras|shub"),
        "an image is a file in it, and a folder is all images of a kind",
        'leave it to "apptainer cache clean --days"',
    ),
    Store(
        "a model's folder in a Hugging Face hub",
        ("blobs", "refs", "snapshots"),
        "its blobs, refs and snapshots are one unit",
        'as path the hub, with folders: "*--*"',
    ),
    Store("pip's cache", (f"http-v2|{_each('http/{}')}",), _BY_HASH, _pointed("PIP_CACHE_DIR")),
    Store("npm's cache", ("_cacache",), _BY_HASH, _pointed("npm_config_cache")),
    Store("a disk cache of Bazel", ("ac", "cas"), _BY_HASH, _pointed("--disk_cache")),
    Store("ccache's cache", (_each("{}/stats"),), _BY_HASH, _pointed("CCACHE_DIR")),
    Store("Go's build cache", ("00", "ff", "README|trim.txt"), _BY_HASH, _pointed("GOCACHE")),
    Store(
        "Go's module cache",
        ("cache/download",),
        "its subfolders are the hosts of modules, and what it downloaded is in one of them",
        _pointed("GOMODCACHE"),
    ),
    Store(
        "a cache of torch inductor", ("fxgraph", "aotautograd|triton"), _BY_HASH, _pointed("TORCHINDUCTOR_CACHE_DIR")
    ),
    Store(
        "the cache of Gradle's dependencies",
        ("modules-2", "jars-*|journal-1"),
        "its subfolders refer to each other",
        _pointed("GRADLE_USER_HOME"),
    ),
    Store(
        "Gradle's home",
        ("caches", "daemon|native|wrapper/dists"),
        "all dependencies of all projects are in one folder of it",
        f'as path its wrapper/dists, with folders: "*/*"; or {_pointed("GRADLE_USER_HOME")}',
        reaches_below=False,
    ),
    Store(
        "the home of Hugging Face's tools",
        ("hub/CACHEDIR.TAG|hub/.locks|hub/version.txt",),
        "all models of its hub are one folder of it",
        'as path its hub, with folders: "*--*"',
        reaches_below=False,
    ),
)

HUB = Units(
    "a Hugging Face hub",
    ("models--*|datasets--*|spaces--*",),
    frozenset({".locks", "blobs"}),
    "its downloads are locked there, or models have links to what is there",
    "*--*",
)
UNITS = (
    HUB,
    Units(
        "Playwright's browsers",
        (".links", "*-[0-9]*"),
        frozenset({".links", "__dirlock"}),
        "its installations are noted and locked there; without the notes, one removes the browsers of the others",
        "*-[0-9]*",
    ),
    Units(
        "Bazel's output user root",
        ("cache/repos|install", "?" * 32),
        frozenset({"cache", "install"}),
        "all output bases have links to what is there",
        "?" * 32,
    ),
)
