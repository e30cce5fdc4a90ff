"""Hooks of MkDocs: the API reference, one page a folder of modules, and the local copy of Mermaid.

Pages are written from the folders themselves, so a module that is added or moved needs no change here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "storage": "codi2_storage",
    "datasets": "codi2_datasets",
    "codi2_model": "codi2_model",
    "flows": "codi2_flows",
}
"""Folder and import name, lowest floor first."""
MERMAID = ROOT / "build" / "docs" / "mermaid.min.js"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the API reference to the navigation."""
    packages: dict[str, list[str | dict[str, str]]] = {}
    for name, path, _ in pages():
        package, _, folder = name.partition(".")
        packages.setdefault(package, []).append({folder: path} if folder else path)
    config.nav = [*(config.nav or []), {"API reference": [{name: links} for name, links in packages.items()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the API reference and Mermaid's script to the site's files."""
    if not MERMAID.is_file():
        raise PluginError(f"{MERMAID.relative_to(ROOT)} is missing: run `make docs`, which gets it from npm")
    files.append(File.generated(config, "assets/mermaid.min.js", abs_src_path=str(MERMAID)))
    for name, path, modules in pages():
        text = "\n\n".join([f"# {name}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, path, content=text + "\n"))
    return files


def pages() -> Iterator[tuple[str, str, list[str]]]:
    """For every folder with modules: its dotted name, the path of its page, and the dotted names of its modules."""
    for folder, package in PACKAGES.items():
        for directory in sorted({path.parent for path in (ROOT / folder).rglob("*.py")}):
            parts = (package, *directory.relative_to(ROOT / folder).parts)
            modules = [
                ".".join((*parts, path.stem)) for path in sorted(directory.glob("*.py")) if path.stem != "__init__"
            ]
            if (directory / "__init__.py").exists():
                modules.insert(0, ".".join(parts))
            page = "/".join(parts) if len(parts) > 1 else f"{package}/index"
            yield ".".join(parts), f"reference/{page}.md", modules
