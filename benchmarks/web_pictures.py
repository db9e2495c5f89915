"""Pictures of every page, at the width of a desktop and of a phone, on light and on dark.

    python benchmarks/web_pictures.py DATA_ROOT docs/images/web

The data root is that of the demonstration (``make demo``).  It is copied; in the copy one campaign
more is put, whose members end in all the ways that a demonstration does not: the documents are
those that a worker writes, but nothing of it was computed.  Needs Playwright and Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ebsdsg_flows.web.access import Access
from ebsdsg_flows.web.app import create_app
from stores.collections import Stores
from stores.connect import connect
from stores.documents import (
    CampaignDocument,
    EngineReference,
    Failure,
    MemberDocument,
    PredictionDocument,
    SimulationDocument,
)
from stores.embedded import stop
from stores.runs import claim
from stores.states import State

TOKEN = "a token for the pictures only"
WIDTHS = {"desktop": 1000, "phone": 390}
TALLEST = 6000
COLOURS = 200
EAGER = "for (const image of document.querySelectorAll('img[loading]')) image.loading = 'eager'"
"""Pictures further down are loaded when somebody scrolls, which nobody does here."""

ENDS = {
    "timed_out": Failure(
        code=150,
        name="time-out",
        message="the 12 h of this stage ran out",
        log_tail=" Completed diagonalization step       6 of      11\n"
        "slurmstepd: error: *** JOB 4711 ON node7 CANCELLED DUE TO TIME LIMIT ***",
    ),
    "failed": Failure(
        code=140,
        name="disk full",
        message="no space left on /scratch",
        log_tail="HDF5-DIAG: Error detected in HDF5 (1.14.3):\n  No space left on device",
    ),
}


def add_night(stores: Stores) -> None:
    """A campaign ``night`` with members in every state, of the structures that are there."""
    members = []
    ends = ["timed_out", "timed_out", "failed", "running", "waiting", "completed", "completed"]
    found = stores.simulations.find({"state": "completed"}).sort("key", 1).limit(len(ends))
    for old, end in zip(list(found), ends, strict=True):
        parameters = {**old["parameters"], "dmin": 0.04}
        if end == "completed":
            key = old["key"]
        else:
            document = SimulationDocument.of(
                material_id=old["material_id"],
                formula=old["formula"],
                crystal=old["crystal"],
                parameters=parameters,
                engine=EngineReference(**old["engine"]),
                space_group=old["space_group"],
                relabelled=old["relabelled"],
            )
            stores.add(document)
            key = document.key
        members.append(old["material_id"])
        stores.add(
            MemberDocument(
                key=MemberDocument.key_of("night", key),
                campaign="night",
                member=key,
                material_id=old["material_id"],
                space_group=old["space_group"],
                outcome="open" if end in ("running", "waiting") else "ended",
                simulation=key,
            )
        )
        if end in ("completed", "waiting"):
            continue
        run = claim(stores, key, stage="master pattern", program="ebsdsg builtin", n_energies=11)
        if end in ENDS:
            more = "more time" if end == "timed_out" else "somebody must free the disk"
            run.finish(State(end), failure=ENDS[end], energies_done=6, next_action=more)
    stores.save(
        CampaignDocument(
            key="night",
            name="night",
            query={"description": "What a night on a cluster leaves behind."},
            parameters={"datasets": {"true": {}}, "queue": {}},
            structures=members,
        )
    )


@contextmanager
def served(stores: Stores, root: Path) -> Iterator[str]:
    """A server in a thread, and its address."""
    import uvicorn

    app = create_app(stores, root, Access.of("127.0.0.1", TOKEN))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.1)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def pages(stores: Stores) -> dict[str, str]:
    """Name and address of the pages that only need to be opened."""
    runs = list(stores.training_runs.find({"state": "completed"}).sort([("labels", -1)]))
    folds = [run for run in runs if run["fold"] is not None]
    run = max(folds, key=lambda run: run["accuracy"] or 0)
    prediction = stores.predictions.find_one(
        {"key": PredictionDocument.key_of(run["key"], run["dataset"])}
    )
    classes = [row["class"] for row in prediction["summary"]["by_class"]]
    counts = prediction["summary"]["confusion"]
    true, predicted = max(
        ((i, j) for i in range(len(classes)) for j in range(len(classes)) if i != j),
        key=lambda cell: counts[cell[0]][cell[1]],
    )
    same = [r["key"] for r in folds if r["labels"] == run["labels"]]
    return {
        "campaigns": "/",
        "campaign": "/campaigns/demo",
        "campaign-night": "/campaigns/night",
        "triage": "/triage?code=150&name=time-out",
        "structures": "/structures",
        "structure": "/structures/mp-149",
        "training": "/training",
        "run": f"/training/{run['key']}",
        "compare": "/training/compare?" + "&".join(f"run={key}" for key in same),
        "cell": f"/training/{run['key']}/confusion?true={classes[true]}"
        f"&predicted={classes[predicted]}",
        "predict": "/predict",
        "login": "/login",
    }


def patterns(stores: Stores, root: Path, folder: Path) -> list[Path]:
    """Images of five stored patterns of the relabelled data set."""
    import numpy as np
    from PIL import Image

    from ebsdsg_ml.dataset_file import open_dataset

    dataset = stores.datasets.find_one({"labels": "relabelled"})
    paths = []
    with open_dataset(root / dataset["file"]["path"]) as opened:
        for row in (5, 405, 805, 1205, 1605):
            paths.append(folder / f"pattern {row}.png")
            Image.fromarray(np.asarray(opened.patterns[row])).save(paths[-1])
    return paths


def save(page: Any, path: Path) -> None:
    """The page from its top, as a PNG of few colours."""
    from PIL import Image

    page.evaluate(EAGER)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    image = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    image = image.crop((0, 0, image.width, min(image.height, TALLEST))).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="data root of the demonstration")
    parser.add_argument("output", type=Path, help="folder of the pictures")
    parser.add_argument("--only", nargs="*", help="names of pages")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    def wanted(name: str) -> bool:
        return options.only is None or name in options.only

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        # sockets and locks are those of another server
        ignored = shutil.ignore_patterns("*.sock", "*.lock", "server.json", "launches")
        shutil.copytree(options.root, root, ignore=ignored)
        stores = connect(root=root, database="ebsdsg")
        try:
            add_night(stores)
            sent = patterns(stores, root, Path(folder))
            with served(stores, root) as address, sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                for kind, width in WIDTHS.items():
                    for scheme in ("light", "dark"):
                        viewport = {"width": width, "height": 800}
                        context = browser.new_context(color_scheme=scheme, viewport=viewport)
                        page = context.new_page()
                        page.set_default_timeout(400_000)
                        for name, path in pages(stores).items():
                            if wanted(name):
                                answer = page.goto(address + path)
                                if answer is None or answer.status != 200:
                                    raise SystemExit(f"{path}: {answer and answer.status}")
                                if name.startswith("campaign-") or name == "campaign":
                                    page.locator("#workflow .main-svg").first.wait_for()
                                save(page, options.output / f"{name}-{kind}-{scheme}.png")
                        for name, files in (("answer", sent[:1]), ("answers", sent)):
                            if wanted(name):
                                page.goto(f"{address}/predict")
                                page.locator("input[name=pattern]").set_input_files(files)
                                page.locator("input[name=one_grain]").check()
                                page.get_by_role("button", name="Name the space group").click()
                                page.wait_for_url("**/predict/answers/**")
                                save(page, options.output / f"{name}-{kind}-{scheme}.png")
                        context.close()
                browser.close()
        finally:
            stores.close()
            stop(root)


if __name__ == "__main__":
    main()
