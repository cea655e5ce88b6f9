"""A table's runs, made, resumed and followed until the table is filled: what `pmsi tables` does.

A campaign has no files of its own. What is to be done follows from the table and from the runs that are there, so it
goes on wherever it was left, and what has finished is never done again, whoever did it.
"""

from pmsi.campaign.command import tables
from pmsi.campaign.following import follow, start
from pmsi.campaign.plan import Plan, make_plan

__all__ = ["Plan", "follow", "make_plan", "start", "tables"]
