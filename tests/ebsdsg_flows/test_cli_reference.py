"""The pages of commands and settings are what the commands and settings say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebsdsg_flows.cli.reference import PAGES, root_command, settings_page, walk
from ebsdsg_flows.settings import Settings

FOLDER = Path(__file__).parents[2] / "docs/reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_not_stale(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), (
        f"docs/reference/{name} is stale: run `make reference` "
        "(python -m ebsdsg_flows.cli.reference docs/reference) and commit it"
    )


def test_every_command_and_option_is_on_the_page_and_explained() -> None:
    page = (FOLDER / "commands.md").read_text()
    options = 0
    for name, command in walk(root_command()):
        if name == "ebsdsg":
            continue
        assert f"\n## {name}\n" in page
        assert command.help, f"{name} does not say what it does"
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for param in command.params:
            if param.name == "help":
                continue
            options += 1
            assert param.help, f"{name}: {param.name} has no help"
            for word in param.opts if param.param_type_name == "option" else ():
                assert f"`{word}`" in section, (name, word)
    assert options > 60


def test_every_setting_is_explained_and_secrets_have_no_default() -> None:
    page = settings_page()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `{name}` |" in page
    for secret in ("mongo_password", "mp_api_key", "web_token"):
        assert f"| `{secret}` |  |" in page
