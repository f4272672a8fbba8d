"""All attacks: to import this fills ``test.hostile.ATTACKS``."""

from __future__ import annotations

from test.hostile import frames

__all__ = ["frames"]
