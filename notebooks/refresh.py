"""Execute the notebooks in fresh kernels and keep what they show beside their source: `make notebooks`.

The `.py` files (jupytext's percent format) are the source; each `.ipynb` is that source with its outputs. A notebook
runs in a folder of its own, laid out as here, and what it writes is thrown away.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCES = tuple(sorted(HERE.glob("[0-9]*.py")))
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "disabled",
    "NO_COLOR": "1",
    "OMP_NUM_THREADS": "1",  # beside other work more threads than cores slow one another manifold
}
SECONDS = 600


class OwnKernel(AsyncKernelManager):
    """A kernel of this very Python, whatever kernels the machine has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def executed(source: Path, folder: Path) -> NotebookNode:
    """The notebook of a source with the outputs of a fresh kernel, run in `folder`/notebooks.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    place = folder / "notebooks"
    place.mkdir()
    (folder / "experiments").symlink_to(ROOT / "experiments")
    notebook = jupytext.read(source)
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    try:
        client = NotebookClient(
            notebook,
            kernel_manager_class=OwnKernel,
            timeout=SECONDS,
            resources={"metadata": {"path": str(place)}},
            record_timing=False,
        )
        client.execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    return told_apart(notebook, folder)


def told_apart(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The same without what belongs to this machine: its paths, its notes on stderr, ids that change at every run."""
    places = re.compile("|".join(re.escape(f"{path}/") for path in (folder.resolve(), folder, ROOT)))
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        outputs = [one for one in cell.get("outputs", []) if one.get("name") != "stderr" and not _of_the_machine(one)]
        for output in outputs:
            if "text" in output:
                output.text = places.sub("", output.text)
            for kind in [kind for kind in output.get("data", {}) if kind.startswith("text/")]:
                output.data[kind] = places.sub("", output.data[kind])
        if cell.cell_type == "code":
            cell.outputs = outputs
    notebook.metadata.pop("language_info", None)
    return notebook


def _of_the_machine(output: NotebookNode) -> bool:
    """Whether an output is a note on how busy the machine is, or nothing at all."""
    data = output.get("data", {})
    text = str(data.get("text/plain", ""))
    return (
        output.output_type == "display_data"
        and set(data) <= {"text/plain", "text/html"}
        and (not text.strip() or "the machine is busy" in text)
    )


def main() -> None:
    """Execute the notebooks that are named, or all, and write their `.ipynb`."""
    for source in [HERE / f"{Path(name).stem}.py" for name in sys.argv[1:]] or SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(source, Path(folder))
        jupytext.write(notebook, source.with_suffix(".ipynb"))
        sys.stdout.write(f"{source.stem}: {source.with_suffix('.ipynb').stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
