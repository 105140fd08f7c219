"""A short soak: everything that the palette offers once, in a seeded random order. ``make soak`` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.soak import soak


@pytest.mark.slow
async def test_everything_once(tmp_path: Path) -> None:
    counted = await soak(tmp_path / "home", times=1, seed=7)
    assert len(counted) >= 2, "no profile is lost; any may have been renamed"
    assert [*tmp_path.glob("tokmem-desk-*.svg")], "its pictures lie beside its home, not in the checkout"
