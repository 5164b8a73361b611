"""A whole marketplace on one machine: the demo's processes, its story and its report.

Only here may one process see several merchants' data, because one person owns them all.
"""

from datasites.simulation.story import Story, StorySettings

__all__ = ["Story", "StorySettings"]
