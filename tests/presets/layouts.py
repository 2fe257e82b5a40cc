"""What tools leave on a disk, as recorded: by the tool itself where it could be run, else as its sources say.

docs/presets.md says which of them were run, and in which version. A line is a path: a directory where a slash ends it,
a symlink where `->` follows, else a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

XET = "ab" * 32
BASE, OTHER_BASE = "8ad4e50961e776345582bdcbedc94dc7", "0cc175b9c0f1b6a831c399e269772661"
KERNEL = "VOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5LVOV2XK5LVOVQ"


def build(root: Path, tree: str) -> None:
    """Make a layout below a directory."""
    for line in tree.split("\n"):
        name, _, target = line.strip().partition(" -> ")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        elif name.endswith("/") or not name:
            path.mkdir(exist_ok=True)
        else:
            path.touch()


class Preset(NamedTuple):
    """What lies in a root of an example, and what of it are folders.

    Attributes:
        example: The file in config/examples.
        at: The root's path below the cache.
        tree: The layout.
        folders: Its folders, all of them.
        never: What must be none, though it is a directory.
    """

    example: str
    at: str
    tree: str
    folders: set[str]
    never: set[str]


PRESETS = [
    Preset(
        "huggingface",
        "huggingface/hub",
        """CACHEDIR.TAG
        .locks/models--org--name/f6ee99edde6199a3e982c46ef72bdd5cb5e41ddf.lock
        models--org--name/blobs/f6ee99edde6199a3e982c46ef72bdd5cb5e41ddf
        models--org--name/refs/main
        models--org--name/snapshots/4015b57a/model.safetensors -> ../../blobs/f6ee99edde6199a3e982c46ef72bdd5cb5e41ddf
        models--org--name/trees/4015b57a.json
        datasets--org--data/blobs/
        spaces--org--app/blobs/
        blobs/""",
        {"models--org--name", "datasets--org--data", "spaces--org--app"},
        {".locks", ".locks/models--org--name", "blobs", "models--org--name/blobs", "models--org--name/snapshots"},
    ),
    Preset(
        "vllm",
        "vllm/torch_compile_cache",
        """ccfc716f7f/rank_0_0/backbone/vllm_compile_cache.py
        ccfc716f7f/rank_0_0/backbone/computation_graph.py
        torch_aot_compile/9c839203a75d7c12/rank_0_0/model""",
        {"ccfc716f7f", "torch_aot_compile"},
        {"ccfc716f7f/rank_0_0"},
    ),
    Preset(
        "vllm",
        "triton",
        f"""{KERNEL}/k.cubin
        {KERNEL}/k.json
        {KERNEL}/__grp__k.json
        {KERNEL[::-1]}/k.cubin""",
        {KERNEL, KERNEL[::-1]},
        set(),
    ),
    Preset(
        "playwright",
        "ms-playwright",
        """.links/0da230435fd0ced5bab416c9dadfc8842079b30b
        __dirlock/
        ffmpeg-1013/INSTALLATION_COMPLETE
        ffmpeg-1013/DEPENDENCIES_VALIDATED
        ffmpeg-1013/ffmpeg-linux
        chromium_headless_shell-1255/INSTALLATION_COMPLETE""",
        {"ffmpeg-1013", "chromium_headless_shell-1255"},
        {".links", "__dirlock"},
    ),
    Preset(
        "github-runner",
        "_tool",
        """node/20.1.0/x64/bin/node
        node/20.1.0/x64.complete
        node/22.0.0/arm64/
        node/22.0.0/arm64.complete
        Python/3.12.4/x64/""",
        {"node/20.1.0", "node/22.0.0", "Python/3.12.4"},
        {"node", "node/20.1.0/x64"},
    ),
    Preset(
        "gradle-wrapper",
        "gradle/wrapper/dists",
        """CACHEDIR.TAG
        gradle-8.0-bin/3qw40n2ls0kw871ht9kseydqh/gradle-8.0/bin/gradle
        gradle-8.0-bin/3qw40n2ls0kw871ht9kseydqh/gradle-8.0-bin.zip.lck
        gradle-8.0-bin/3qw40n2ls0kw871ht9kseydqh/gradle-8.0-bin.zip.ok
        gradle-9.0-bin/97st84avcsf7ex7hy7yq92yfs/gradle-9.0-bin.zip.part""",
        {"gradle-8.0-bin/3qw40n2ls0kw871ht9kseydqh", "gradle-9.0-bin/97st84avcsf7ex7hy7yq92yfs"},
        {"gradle-8.0-bin", "gradle-8.0-bin/3qw40n2ls0kw871ht9kseydqh/gradle-8.0"},
    ),
    Preset(
        "bazel",
        "bazel",
        f"""_bazel_root/{BASE}/lock
        _bazel_root/{BASE}/server/jvm.out
        _bazel_root/{BASE}/install -> ../install/5bd3fa4cb5d4da2ef5b1b4b5ff4a3c1a
        _bazel_root/{OTHER_BASE}/execroot/
        _bazel_root/cache/repos/
        _bazel_root/install/5bd3fa4cb5d4da2ef5b1b4b5ff4a3c1a/""",
        {f"_bazel_root/{BASE}", f"_bazel_root/{OTHER_BASE}"},
        {"_bazel_root", "_bazel_root/cache", "_bazel_root/install", f"_bazel_root/{OTHER_BASE}/execroot"},
    ),
    Preset(
        "terraform",
        "terraform",
        """registry.example.org/hashicorp/aws/5.0.0/linux_amd64/terraform-provider-aws_v5.0.0_x5
        registry.example.org/hashicorp/aws/5.0.0/linux_arm64/
        registry.example.org/hashicorp/null/3.2.1/linux_amd64/""",
        {"registry.example.org/hashicorp/aws/5.0.0", "registry.example.org/hashicorp/null/3.2.1"},
        {"registry.example.org", "registry.example.org/hashicorp/aws/5.0.0/linux_amd64"},
    ),
]


class Kept(NamedTuple):
    """What a tool keeps for itself.

    Attributes:
        title: How `check` calls it.
        tree: The layout.
        inside: A directory in it that is no root either.
    """

    title: str
    tree: str
    inside: str | None


KEPT = [
    Kept("pre-commit's home", "README\n.lock\ndb.db\nrepo0vs4_m0b/h.sh", "repo0vs4_m0b"),
    Kept(
        "uv's cache",
        """.lock
        .gitignore
        CACHEDIR.TAG
        archive-v0/5nExRc96a6mfYAwX/six.py
        simple-v28/pypi/six.rkyv
        wheels-v8/pypi/six/""",
        "archive-v0",
    ),
    Kept(
        "conda's package cache",
        "urls\nurls.txt\ncache/497deca9.json\nnumpy-2.0.0-py312_0.conda\nnumpy-2.0.0-py312_0/info/index.json",
        "numpy-2.0.0-py312_0",
    ),
    Kept(
        "a store of ollama's models",
        "blobs/sha256-ab12\nmanifests/registry.example.org/library/llama3/latest",
        "manifests/registry.example.org",
    ),
    Kept("a store of ollama's models", "history\nmodels/blobs/sha256-ab12\nmodels/manifests/", None),
    Kept("a Nix store", ".links/\nxmg0zc9vvwxdl4gvrjnba4jh6hm8jw23-hello/bin/hello", ".links"),
    Kept("Apptainer's cache", "blob/index.json\nlibrary/\nnet/\noci-tmp/9f86d081\noras/\nshub/", "oci-tmp"),
    Kept(
        "a model's folder in a Hugging Face hub",
        "blobs/f6ee\nrefs/main\nsnapshots/4015/m.bin -> ../../blobs/f6ee\ntrees/4015.json",
        "snapshots",
    ),
    Kept("pip's cache", "http-v2/5/3/\nselfcheck/", "http-v2/5"),
    Kept("pip's cache", "http/8/9/\nwheels/", "wheels"),
    Kept("npm's cache", "_cacache/content-v2/sha512/\n_cacache/index-v5/14/\n_logs/", "_cacache/content-v2"),
    Kept("a disk cache of Bazel", "ac/\ncas/42/421c619b", "cas"),
    Kept("ccache's cache", "0/b/9dub\n0/stats\n9/5/9221\n9/stats\ntmp/", "9/5"),
    Kept("Go's build cache", "00/\n01/\nfe/\nff/\nREADME\ntrim.txt", "ff"),
    Kept(
        "Go's module cache",
        "cache/lock\ncache/download/example.com/m/@v/list\nexample.com/m@v1.0.0/m.go",
        "example.com",
    ),
    Kept("a cache of torch inductor", "2w/c2w.py\naotautograd/\nfxgraph/ab/\ntriton/0/", "fxgraph"),
    Kept("the cache of Gradle's dependencies", "8.0/\njars-9/\njournal-1/\nmodules-2/files-2.1/", "modules-2"),
    Kept("the cache of Gradle's dependencies", "4.4.1/scripts/\njars-3/\nmodules-2/", "4.4.1"),
    Kept("Gradle's home", "caches/4.4.1/\ncaches/jars-3/\ncaches/modules-2/\ndaemon/4.4.1/\nnative/", None),
    Kept("Gradle's home", "caches/8.0/\nwrapper/dists/", None),
    Kept("the home of Hugging Face's tools", "token\nhub/CACHEDIR.TAG\nhub/models--org--name/\nxet/", None),
]
