"""What an attacker would put where funneltune reads: payloads that leave a file behind if they ever run."""

import json
import os
import pickle
from pathlib import Path

import pandas as pd

from funneltune.cli import main


class Canary:
    """Unpickling it creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return (open, (self.mark, "w"))


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Canary(mark))


def code(mark: Path) -> str:
    """A module that leaves the mark when it is imported."""
    return f"open({str(mark)!r}, 'w').close()\n"


GADGETS = [
    *("os.system", "posix.system", "subprocess.run", "subprocess.Popen", "builtins.eval", "builtins.exec", "eval"),
    *("pickle.load", "pickle.loads", "pandas.read_pickle", "joblib.load", "numpy.load", "torch.load"),
    *("torch.hub.load", "cloudpickle.load", "marshal.loads", "shelve.open"),
    *("importlib.import_module", "runpy.run_path", "shutil.rmtree", "webbrowser.open", "ctypes.CDLL"),
    *("hydra.utils.instantiate", "hydra.utils.get_method", "functools.partial", "operator.methodcaller"),
    *("pty.spawn", "code.interact", "timeit.timeit", "antigravity.fly", "lib2to3.main.main"),
    # through our own modules, torch's and Lightning's
    *("funneltune.records.os.system", "funneltune.experiments.cell.subprocess.run"),
    *("funneltune.data.sources.reading.pd.read_pickle", "funneltune.runs.assemble.torch.load"),
    *("funneltune.data.store.np.load", "funneltune.runs.targets.importlib.import_module"),
    *("funneltune.runs.targets.instantiate", "funneltune.runs.train", "funneltune.cli.main"),
    *("funneltune.heads.esmm.ESMM", "funneltune.heads.ESMM.__init__", "funneltune.data.describe.os"),
    *("torch.optim.lr_scheduler.warnings.sys.modules.clear", "torch.optim.optimizer.functools.partial"),
    *("torch.optim.lr_scheduler", "torch.optim.swa_utils", "torch.optim.lr_scheduler.LambdaLR"),
    *("torch.optim.Adam.__init__", "torch.optim.swap_in_optimizer_params_and_state"),
    *("lightning.pytorch.loggers.wandb.os.system", "lightning.pytorch.callbacks.model_checkpoint.shutil.rmtree"),
    *("lightning.pytorch.callbacks.LambdaCallback", "lightning.pytorch.loggers.WandbLogger"),
    *("lightning.pytorch.Trainer.__init__", "lightning.pytorch.utilities.migration.utils.migrate_checkpoint"),
    # spelt otherwise
    *("OS.system", " os.system", "os..system", ".os.system", "os:system", "funneltune", "funneltune.heads."),
    *("funneltune.heads.ESMM ", "funneltune.heads.\uff25\uff33\uff2d\uff2d", "builtins.__import__"),
]
"""Targets that must never be built. None of them may even be imported in order to be refused."""


def written_by(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(Path(root, name).relative_to(folder)) for root, _, names in os.walk(folder) for name in names}


def refused(capsys, tmp_path, words):
    """The one line; nothing shown or written beside it."""
    before = {path.name for path in tmp_path.iterdir()}
    assert main(words) == 2, words
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert {path.name for path in tmp_path.iterdir()} == before
    return shown.err


def refuses(capsys, status, mark):
    shown = capsys.readouterr()
    assert status == 2, shown.err
    assert shown.err.count("\n") == 1, shown.err
    assert shown.err.startswith("error: ")
    assert not mark.exists()
    return shown.err


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


LOG = pd.DataFrame(
    {
        "request": [r for r in range(40) for _ in range(4)],
        "query": [f"word{r % 5}" for r in range(40) for _ in range(4)],
        "item": [f"i{(r + p) % 9}" for r in range(40) for p in range(4)],
        "title": [f"thing {(r + p) % 9}" for r in range(40) for p in range(4)],
        "time": [r for r in range(40) for _ in range(4)],
        "click": [int((r * p) % 3 == 1) for r in range(40) for p in range(4)],
        "purchase": [int((r * p) % 3 == 1 and r % 2) for r in range(40) for p in range(4)],
    }
)


def write_shop(folder):
    """A log and its column map: `data=shop --config-dir FOLDER/groups`."""
    LOG.to_csv(folder / "log.csv", index=False)
    (folder / "groups" / "data").mkdir(parents=True)
    (folder / "groups" / "data" / "shop.yaml").write_text(
        f"""
path: {folder}/log.csv
source:
  _target_: funneltune.data.Table
  path: ${{data.path}}
  request: request
  query_text: {{query: query}}
  item: item
  item_text: {{title: title}}
  time: time
  labels: {{click: click, purchase: purchase}}
tasks: {{click: {{rate: ctr}}, purchase: {{given: [click], rate: cvr, joint_rate: ctcvr}}}}
split: {{_target_: funneltune.data.Split, by: time, validation: 0.2, test: 0.3, seed: 0}}
texts: {{query: "{{query}}", item: "{{title}}"}}
rows_per_batch: 14
cache_dir: {folder}/cache
"""
    )
    return folder
