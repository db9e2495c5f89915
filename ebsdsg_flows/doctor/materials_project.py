"""The key for the Materials Project."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ebsdsg_flows.doctor.findings import Finding

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

KEY_LENGTH = 32
SECONDS = 8.0
QUERY = "materials/summary/?material_ids=mp-149&_fields=material_id&_limit=1"


def check_key(settings: Settings) -> Iterator[Finding]:
    """The key has the right form and, if the server can be reached, is accepted."""
    name = "Materials Project"
    mend = "copy it from https://materialsproject.org/api into EBSDSG_MP_API_KEY or ~/.ebsdsg.yaml"
    if settings.mp_api_key is None:
        text = "no key; only `ebsdsg import` from the Materials Project needs one"
        yield Finding(name, "absent", text, mend)
        return
    key = settings.mp_api_key.get_secret_value()
    if len(key) != KEY_LENGTH or not key.isalnum():
        text = f"the key has {len(key)} characters; a key has {KEY_LENGTH} letters and digits"
        yield Finding(name, "fault", text, mend)
        return
    address = f"{settings.mp_endpoint.rstrip('/')}/{QUERY}"
    try:
        request = urllib.request.Request(address, headers={"X-API-KEY": key})
        with urllib.request.urlopen(request, timeout=SECONDS):
            pass
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            yield Finding(name, "fault", f"the key is refused (HTTP {error.code})", mend)
        else:
            text = f"{settings.mp_endpoint} answers with HTTP {error.code}"
            yield Finding(name, "warning", text, "try again later")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = f"{settings.mp_endpoint} cannot be reached ({reason}); the key was not tried"
        yield Finding(name, "warning", text, "check network, proxy and EBSDSG_MP_ENDPOINT")
    else:
        yield Finding(name, "ok", "the key is accepted")
