"""The package of a notebook's names: all of them there, none of them loaded before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ebsdsg

SOURCE = Path(ebsdsg.__file__)


@pytest.mark.parametrize("name", ebsdsg.__all__)
def test_each_name_is_the_one_of_its_module(name: str) -> None:
    module = ebsdsg._MODULES[name]
    found = getattr(ebsdsg, name)
    if module == "stores":
        assert found is import_module(f"stores.{name}")
    else:
        assert found is getattr(import_module(module), name)
        assert found.__doc__ and found.__module__ == module


def test_editors_are_told_the_same_names() -> None:
    tree = ast.parse(SOURCE.read_text())
    told = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == ebsdsg._MODULES
    assert dir(ebsdsg) == ebsdsg.__all__ == sorted(told)


def test_an_unknown_name_is_named_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'simulat'.*'simulate'"):
        ebsdsg.simulat  # noqa: B018


def test_importing_it_loads_nothing_and_physics_loads_no_database() -> None:
    code = (
        "import sys, ebsdsg; before = set(sys.modules);"
        "heavy = {'numpy', 'torch', 'pymongo', 'pydantic', 'fireworks'};"
        "assert not heavy & before, heavy & before;"
        "ebsdsg.simulate, ebsdsg.project;"
        "assert not {'pymongo', 'fireworks', 'ebsdsg_flows'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
