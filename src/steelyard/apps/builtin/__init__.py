"""Plugins that need no server of their own: one file each, with its name, its tools and what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.apps.builtin import calculator, clock, knowledge, web

if TYPE_CHECKING:
    from steelyard.apps.builtin.plugin import BuiltinPlugin

PLUGINS: dict[str, BuiltinPlugin] = {
    one.name: one for one in (clock.PLUGIN, calculator.PLUGIN, knowledge.PLUGIN, web.PLUGIN)
}
