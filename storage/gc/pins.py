"""Pins: builds and checkpoints that garbage collection must keep, whatever its limits are.

The build of a deployed model needs no pin: retention follows deployments, checkpoints, runs and builds.
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
    """All pins, oldest first."""
    with catalog.connect(tables=["pins"]) as connection:
        rows = connection.execute(
            "select target, kind, reason, created_at from pins order by created_at, target"
        ).fetchall()
    return [Pin(*row) for row in rows]


def pin(store: Store, target: str, reason: str = "") -> Pin:
    """Pin a build or a checkpoint by its id or a unique prefix. Pinning it again replaces the reason.

    Raises CatalogError if none matches, or several.
    """
    kind, name = find(Catalog(store), target)
    made = Pin(name, kind, reason, datetime.now(UTC).isoformat(timespec="seconds"))
    with Writer(store, f"pin-{name}", "pin") as writer:
        writer.append("pins", [made.__dict__])
    return made


def unpin(store: Store, target: str) -> Pin:
    """Remove a pin. Raises CatalogError if no pin, or more than one, matches."""
    catalog = Catalog(store)
    known = pins(catalog)
    if target == LATEST:
        target = catalog.latest_build() or target
    matches = [one for one in known if one.target.startswith(target)]
    if len(matches) != 1:
        listed = ", ".join(one.target for one in matches or known) or "nothing"
        raise CatalogError(f"{'no pin' if not matches else 'several pins'} {target!r}; pinned: {listed}")
    store.remove(f"catalog/commits/pin/pin-{matches[0].target}.json")
    return matches[0]


def find(catalog: Catalog, target: str) -> tuple[str, str]:
    """Resolve a name to (kind, id). Raises CatalogError if none matches, or several."""
    if target == LATEST and (latest := catalog.latest_build()):
        return "build", latest
    with catalog.connect(tables=["checkpoints"]) as connection:
        weights = [name for (name,) in connection.execute("select distinct checkpoint_id from checkpoints").fetchall()]
    known = [("build", commit.id) for commit in catalog.builds()] + [("checkpoint", name) for name in weights]
    matches = [one for one in known if one[1] == target] or [one for one in known if one[1].startswith(target)]
    if not target or len(matches) != 1:
        several = ", ".join(name for _, name in sorted(matches))
        why = f"several begin with {target!r}: {several}" if matches else f"no build or checkpoint {target!r}"
        raise CatalogError(f"{why} under {catalog.store.root}")
    return matches[0]
