"""What a namespace's runs say to the developer of the agent: findings, and a page of them. Pure."""

from somabrain.report.findings import findings
from somabrain.report.model import Findings, Share
from somabrain.report.names import Label, labels
from somabrain.report.page import page
from somabrain.report.runs import Forecast, Known, Run, Skill, Stated, Tool
from somabrain.report.shares import share
from somabrain.report.summary import Names, sentences

__all__ = [
    "Findings",
    "Forecast",
    "Known",
    "Label",
    "Names",
    "Run",
    "Share",
    "Skill",
    "Stated",
    "Tool",
    "findings",
    "labels",
    "page",
    "sentences",
    "share",
]
