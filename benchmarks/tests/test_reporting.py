"""Tables of result cards: one order in all forms, nothing a card says becomes markup, nothing missing is hidden."""

from __future__ import annotations

from typing import Any

from made_cards import card, distance, entry, likelihood
from zoo_bench import cards, htmlreport, reporting


def groups(found: list[cards.Card]) -> dict[str, list[str]]:
    """The models of the only table by the relation of their group, in order."""
    (table,) = reporting.tables(found)
    return {title.partition(",")[0]: [row.name for row in rows] for title, rows in table.groups}


def distances(relation: str, kl: float) -> list[dict[str, Any]]:
    """kl before the likelihood, as the suite toy@1 lists them."""
    return [entry("kl", kl, relation), entry("tv", kl / 2, relation)]


EXACT, BOUNDS, ESTIMATES = (title.partition(",")[0] for title in list(reporting.GROUPS.values())[:3])


def test_the_likelihood_says_where_a_row_stands_though_the_card_lists_a_distance_first() -> None:
    found = [
        card("gaussian", *distances("≈", 0.1), likelihood(3.0, "≤")),
        card("first", *distances("=", 0.9), likelihood(1.0, "=")),
        card("second", *distances("=", 0.2), likelihood(2.0, "=")),
    ]
    assert groups(found) == {EXACT: ["first", "second"], BOUNDS: ["gaussian"]}
    (table,) = reporting.tables(found)
    assert [column.title for column in table.columns] == ["bits_per_dim", "kl", "tv"]


def test_without_a_likelihood_another_metric_with_a_relation_orders_the_rows() -> None:
    found = [card("far", *distances("=", 0.9)), card("near", *distances("=", 0.2)), card("off", *distances("≈", 0.1))]
    assert groups(found) == {EXACT: ["near", "far"], ESTIMATES: ["off"]}
    found = [card("low", entry("precision", 0.2, "=")), card("high", entry("precision", 0.9, "="))]
    assert groups(found) == {EXACT: ["high", "low"]}, "more is better: best first is the highest first"


def test_the_likelihood_that_most_rows_have_leads_the_table_and_the_page() -> None:
    given = card("a_given", likelihood(0.5, "=", "class"), distance(0.1))
    given["model"]["conditioning"] = "class"
    found = [given, card("b", *distances("≈", 0.1), likelihood(2.0, "=")), card("c", likelihood(1.0, "="))]
    (table,) = reporting.tables(found)
    assert [column.title for column in table.columns][:2] == ["bits_per_dim", "bits_per_dim given labels"]
    assert table.lead == table.columns[0].key
    assert groups(found)[EXACT] == ["c", "b", "a_given"]
    page = htmlreport.page(found)
    assert page.index('data-model="c.digits"') < page.index('data-model="b.digits"')
    assert 'data-lead="0"' in page


def test_a_distance_that_more_rows_have_than_a_likelihood_leads_nothing() -> None:
    found = [card(name, *distances("=", kl)) for name, kl in (("a", 0.1), ("b", 0.2))]
    found.append(card("c", *distances("≈", 0.3), likelihood(1.0, "≤")))
    (table,) = reporting.tables(found)
    assert table.columns[0].title == "bits_per_dim" and table.lead == table.columns[0].key
    assert 'data-lead="0"' in htmlreport.page(found)
