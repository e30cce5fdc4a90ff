"""Grids that show a given number of things: parameters of the derivation `grid`, three by three cells."""

from __future__ import annotations

import json
from hashlib import md5

from codi2_storage.catalog.sql import literal

CELLS = 9
PAIRS = [(n, m) for n in range(1, 7) for m in range(1, 4) if n != m]  # numbers of one thing and of another, never equal
ARRANGEMENTS = 3  # per pair of numbers


def in_rows(n: int) -> dict:
    """n of the first input, row by row from the first cell."""
    return {"columns": 3, "cells": [0] * n + [-1] * (CELLS - n)}


def scattered(n: int, m: int, turn: int) -> dict:
    """n of the first input and m of the second, in pseudorandom cells."""
    order = sorted(range(CELLS), key=lambda cell: md5(f"{n}|{m}|{cell}".encode()).digest())
    ranks = [order.index((cell + 4 * turn) % CELLS) for cell in range(CELLS)]
    return {"columns": 3, "cells": [0 if rank < n else 1 if rank < n + m else -1 for rank in ranks]}


def arrangements() -> str:
    """SQL rows (n, m, params) of all pairs of numbers, each in several arrangements."""
    rows = [(n, m, json.dumps(scattered(n, m, turn))) for n, m in PAIRS for turn in range(ARRANGEMENTS)]
    return ", ".join(f"({n}, {m}, {literal(params)})" for n, m, params in rows)
