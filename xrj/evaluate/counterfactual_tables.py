"""Counterfactuals of ours and of rivals, measured alike: the tables that the paper lacks."""

from collections.abc import Callable, Mapping

from xrj.evaluate.axis_table import axis_table
from xrj.evaluate.bench import Bench
from xrj.evaluate.cycles_table import cycles_table
from xrj.evaluate.realism_table import realism_table
from xrj.evaluate.results import ResultTable
from xrj.evaluate.validity_table import change_table, validity_table

TABLES: Mapping[str, Callable[[Bench], ResultTable]] = {
    "counterfactuals_validity": validity_table,
    "counterfactuals_change": change_table,
    "counterfactuals_realism": realism_table,
    "counterfactuals_cycles": cycles_table,
    "counterfactuals_axis": axis_table,
}
"""Each table by its key."""


def counterfactual_tables(bench: Bench) -> list[ResultTable]:
    """Return all tables of what lies on the bench."""
    return [make(bench) for make in TABLES.values()]
