"""A study as one self-contained HTML file, and as PDF: for those who were not there."""

from __future__ import annotations

from trilemma.report.document import html_report as html_report
from trilemma.report.pdf import find_browser as find_browser
from trilemma.report.pdf import pdf_report as pdf_report
from trilemma.report.view import PlanView as PlanView
from trilemma.report.view import View as View
