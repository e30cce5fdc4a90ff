"""Plot of the losses, `loss.png`: one panel per stage, one line per loss, dots for the validation split."""

from __future__ import annotations

from pathlib import Path

from codi2_model.training.config import STAGES
from codi2_model.training.metrics.journal import Row, read_rows
from codi2_storage.locations.files import replacing

NOT_LOSSES = ("stage", "step", "split", "lr", "seconds", "data_wait", "grad_norm", "accuracy", "n")


def plot_losses(metrics: Path, out: Path) -> Path:
    """Plot the losses of a metrics file. Raises ValueError if it has no rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_rows(metrics)
    stages = [stage for stage in STAGES if any(row["stage"] == stage for row in rows)]
    if not stages:
        raise ValueError(f"{metrics}: no rows to plot")
    figure = Figure(figsize=(5.0 * len(stages), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for column, stage in enumerate(stages):
        panel = figure.add_subplot(1, len(stages), column + 1, title=stage, xlabel="step")
        _lines(panel, [row for row in rows if row["stage"] == stage])
        panel.set_ylabel("loss" if column == 0 else "")
        panel.grid(alpha=0.3)
    with replacing(out) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    return out


def _lines(panel: object, rows: list[Row]) -> None:
    names: dict[str, None] = {}  # in order of first appearance
    for row in rows:
        if row["split"] == "train":
            names.update(dict.fromkeys(k for k, v in row.items() if k not in NOT_LOSSES and isinstance(v, float)))
    for name in names:
        colour = None
        for split, style in (("train", "-"), ("validation", "o")):
            points = [(row["step"], row[name]) for row in rows if row["split"] == split and row.get(name) is not None]
            if not points:
                continue
            label = name if split == "train" else None
            lines = panel.plot(*zip(*points, strict=True), style, label=label, color=colour, markersize=4)  # type: ignore[attr-defined]
            colour = lines[0].get_color()
    panel.legend(fontsize=8)  # type: ignore[attr-defined]
