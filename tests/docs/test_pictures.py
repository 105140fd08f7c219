"""The pictures in the documentation show the app as it is now."""

from __future__ import annotations

from docs import screenshots


async def test_pictures_are_current(own_home, monkeypatch):
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TOKMEM_HOME"):
        monkeypatch.delenv(name, raising=False)
    drawn = await screenshots.draw(own_home)
    assert {file.stem for file in screenshots.IMAGES.glob("*.svg")} == set(drawn)
    stale = [name for name, svg in drawn.items() if (screenshots.IMAGES / f"{name}.svg").read_text("utf-8") != svg]
    assert not stale, "the app has changed: make docs, and look at them"
