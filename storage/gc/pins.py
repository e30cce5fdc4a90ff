"""Pins: builds and checkpoints that a person keeps, whatever the collector's numbers say.

What a live model was trained on needs none: deployments, checkpoints, runs and builds say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from codi2_storage.catalog.catalog import LATEST, Catalog, CatalogError
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store


@dataclass(frozen=True)
class Pin:
    """A row of `pins`. `kind` is build or checkpoint."""

    target: str
    kind: str
    reason: str
    created_at: str


def pins(catalog: Catalog) -> list[Pin]:
    """What is pinned, the oldest first."""
    with catalog.connect(tables=["pins"]) as connection:
        found = connection.execute(
            "select target, kind, reason, created_at from pins order by created_at, target"
        ).fetchall()
    return [Pin(*row) for row in found]


def pin(store: Store, target: str, reason: str = "") -> Pin:
    """Pin a build or a checkpoint, by its id or the beginning of it. Pinned again, it has the new reason.

    Raises CatalogError where there is none, or several begin so.
    """
    kind, name = find(Catalog(store), target)
    made = Pin(name, kind, reason, datetime.now(UTC).isoformat(timespec="seconds"))
    with Writer(store, f"pin-{name}", "pin") as writer:
        writer.append("pins", [made.__dict__])
    return made


def unpin(store: Store, target: str) -> Pin:
    """Take a pin away. Raises CatalogError where nothing is pinned under that id."""
    catalog = Catalog(store)
    known = pins(catalog)
    if target == LATEST:
        target = catalog.latest_build() or target
    found = [one for one in known if one.target.startswith(target)]
    if len(found) != 1:
        listed = ", ".join(one.target for one in found or known) or "nothing"
        raise CatalogError(f"{'no pin' if not found else 'several pins'} {target!r}; pinned: {listed}")
    store.remove(f"catalog/commits/pin/pin-{found[0].target}.json")
    return found[0]


def find(catalog: Catalog, target: str) -> tuple[str, str]:
    """(kind, id) of what is named."""
    if target == LATEST and (latest := catalog.latest_build()):
        return "build", latest
    with catalog.connect(tables=["checkpoints"]) as connection:
        weights = [name for (name,) in connection.execute("select distinct checkpoint_id from checkpoints").fetchall()]
    known = [("build", commit.id) for commit in catalog.builds()] + [("checkpoint", name) for name in weights]
    found = [one for one in known if one[1] == target] or [one for one in known if one[1].startswith(target)]
    if not target or len(found) != 1:
        several = ", ".join(name for _, name in sorted(found))
        why = f"several begin with {target!r}: {several}" if found else f"no build or checkpoint {target!r}"
        raise CatalogError(f"{why} under {catalog.store.root}")
    return found[0]
