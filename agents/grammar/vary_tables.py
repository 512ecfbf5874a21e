"""Operators on the tables of a document and on what its query is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agenticrs.agents.grammar.draft import Draft
from agenticrs.agents.grammar.vary_joins import join_into
from agenticrs.agents.grammar.vary_settings import Operator, pick


def add_features(draft: Draft, rng: np.random.Generator) -> str | None:
    """A table of vectors is summed with one that is made of features."""
    return _add_table(draft, rng, "feature_embedding")


def add_ids(draft: Draft, rng: np.random.Generator) -> str | None:
    """A table is summed with one of free vectors."""
    return _add_table(draft, rng, "embedding")


def add_graph(draft: Draft, rng: np.random.Generator) -> str | None:
    """The tables of users and items are smoothed over the graph of interactions."""
    # Every step smooths the whole graph: too much for the many steps of a query at every place.
    # Rankers are not given the graph.
    if draft.head["head"] != "dot" or draft.of_kind("graph_propagation"):
        return None
    if draft.shapes[draft.head["query"]].kind != "vector":
        return None
    items = draft.head["items"]
    tables = [v for v in draft.values("table") if draft.shapes[v].entity == "users"]
    fitting = [v for v in tables if draft.shapes[v].width == draft.shapes[items].width]
    if fitting:
        users = pick(rng, fitting)
    else:
        width = draft.shapes[items].width
        users = draft.add("embedding", "users", of="users", width=width)
    layers = pick(rng, (1, 2, 3))
    graph = draft.add("graph_propagation", "graph", users=users, items=items, layers=layers)
    used = draft.upstream(graph)
    draft.redirect(items, f"{graph}.items", but=used)
    draft.redirect(users, f"{graph}.users", but=used)
    return f"{graph}: {users} and {items} smoothed over the graph ({layers} layers)"


def drop_graph(draft: Draft, rng: np.random.Generator) -> str | None:
    """Tables are read as they are, not smoothed."""
    graphs = draft.of_kind("graph_propagation")
    if not graphs:
        return None
    body = pick(rng, graphs)
    draft.redirect(f"{body['name']}.users", body["users"])
    draft.redirect(f"{body['name']}.items", body["items"])
    return f"{body['name']}: graph_propagation removed"


def add_user(draft: Draft, rng: np.random.Generator) -> str | None:
    """A query that is a vector also gets a vector of the user's own."""
    if draft.head["head"] != "dot" or draft.shapes[draft.head["query"]].kind != "vector":
        return None
    if any(body["at"] == "user" for body in draft.of_kind("lookup")):
        return None
    width = draft.shapes[draft.head["query"]].width
    kind = pick(rng, ("embedding", "feature_embedding"))
    table = draft.add(kind, "people", of="users", width=width)
    fields = {"table": table, "at": "user", "scale": False, "dropout": 0.0}
    new = draft.add("lookup", "person", **fields)
    where = join_into(draft, rng, new, "vector", width)
    return where and f"{new}: {kind} of the user, goes into {where}"


def own_table(draft: Draft, rng: np.random.Generator) -> str | None:
    """A lookup gets a table of its own, which it shares with nobody."""
    able = [
        body
        for body in draft.of_kind("lookup")
        if len(draft.readers(body["table"])) > 1 or body["table"] in draft.head_reads()
    ]
    if not able:
        return None
    body = pick(rng, able)
    shape, old = draft.shapes[body["table"]], body["table"]
    body["table"] = draft.add("embedding", old, of=shape.entity, width=shape.width)
    return f"{body['name']}: reads a table of its own, {body['table']}, not {old}"


def other_table(draft: Draft, rng: np.random.Generator) -> str | None:
    """A lookup reads another of the tables that are there."""
    able = []
    for body in draft.of_kind("lookup"):
        entity = draft.shapes[body["table"]].entity
        tables = [v for v in draft.values("table") if draft.shapes[v].entity == entity]
        able += [(body, table) for table in tables if table != body["table"]]
    if not able:
        return None
    body, table = pick(rng, able)
    old, body["table"] = body["table"], table
    return f"{body['name']}: reads {table}, not {old}"


def pool_query(draft: Draft, rng: np.random.Generator) -> str | None:
    """A query at every place becomes one query out of all places."""
    if draft.head["head"] != "dot":
        return None
    query = draft.head["query"]
    if draft.shapes[query].kind != "sequence":
        return None
    how = pick(rng, ("newest", "attention", "mean"))
    draft.head["query"] = draft.add("pooling", "pooled", input=query, how=how)
    return f"head: one query ({how}) out of the places of {query}"


def query_at_every_place(draft: Draft, rng: np.random.Generator) -> str | None:
    """One query that is pooled out of a sequence becomes one at every place."""
    query = draft.blocks.get(draft.head.get("query", ""), {})
    if query.get("block") != "pooling" or draft.of_kind("graph_propagation"):
        return None
    draft.head["query"] = query["input"]
    return f"head: a query at every place of {query['input']}, not their {query['how']}"


def _add_table(draft: Draft, rng: np.random.Generator, kind: str) -> str | None:
    able = [v for v in draft.values("table") if not _made_of(draft, v, kind)]
    if not able:
        return None
    value = pick(rng, able)
    shape = draft.shapes[value]
    stem = "said" if kind == "feature_embedding" else "ids"
    table = draft.add(kind, f"{shape.entity}_{stem}", of=shape.entity, width=shape.width)
    both = draft.add("add", "tables", of=[value, table])
    draft.redirect(value, both, but=(both,))
    what = "what features say" if kind == "feature_embedding" else "free vectors"
    return f"{both}: {what} of {shape.entity} added to {value}"


def _made_of(draft: Draft, value: str, kind: str) -> bool:
    """Whether a table, or one that it is a part of, is made of that kind of table already."""
    owner, entity = value.partition(".")[0], draft.shapes[value].entity
    wholes = [draft.upstream(table) for table in draft.values("table")]
    parts = set().union(*(whole for whole in wholes if owner in whole))
    return any(body["of"] == entity for body in draft.of_kind(kind) if body["name"] in parts)


TABLES: Mapping[str, Operator] = {
    "add_features": add_features,
    "add_ids": add_ids,
    "add_graph": add_graph,
    "drop_graph": drop_graph,
    "add_user": add_user,
    "own_table": own_table,
    "other_table": other_table,
    "pool_query": pool_query,
    "query_at_every_place": query_at_every_place,
}
"""All of them by name."""
