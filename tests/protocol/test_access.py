"""Which scopes may call what: the whole table, generated."""

import itertools

import pytest

from bus.rpc import Scope
from gatewayd.protocol.access import Rights

GRANTS = {
    "operator.admin": {"read", "write", "admin", "pairing", "approvals"},
    "operator.write": {"read", "write"},
    "operator.read": {"read"},
    "operator.pairing": {"pairing"},
    "operator.approvals": {"approvals"},
}
SETS = [held for size in range(4) for held in itertools.combinations(GRANTS, size)]


@pytest.mark.parametrize("held", SETS)
def test_an_operator_may_what_its_scopes_grant(held: tuple[str, ...]):
    granted = set().union(*(GRANTS[scope] for scope in held))
    rights = Rights("operator", held)
    assert {scope.value for scope in Scope if rights.allows(scope)} == granted


@pytest.mark.parametrize("held", [(), ("operator.admin",)])
def test_a_node_may_only_what_is_for_nodes(held: tuple[str, ...]):
    rights = Rights("node", held)
    assert [scope for scope in Scope if rights.allows(scope)] == [Scope.NODE]
    assert rights.refusal("read").message == "unauthorized role: node"
    assert not rights.hears("admin")


def test_refusals_name_what_is_missing():
    rights = Rights("operator", ("operator.read",))
    assert rights.refusal("write").message == "missing scope: operator.write"
    assert rights.refusal("node").message == "unauthorized role: operator"
    assert rights.refusal("admin").code == "INVALID_REQUEST"


def test_an_unknown_scope_is_held_by_nobody():
    assert not Rights("operator", ("operator.admin",)).allows("other")
    assert not Rights("operator", ("other", "admin", "read")).allows("read")
