"""A CSV log of a test's own, and the config group that reads it: `data=shop --config-dir FOLDER/groups`."""

CONFIG = """
path: {folder}/log.csv
source:
  _target_: funneltune.data.Table
  path: ${{data.path}}
  request: request
  user: user
  query_text: {{query: query}}
  item: item
  item_text: {{title: title}}
  price: price
{more}
texts: {{query: "{{query}}", item: "{{title}}"}}
rows_per_batch: 30
cache_dir: {folder}/cache
"""


def write_group(folder, log, more):
    """Puts both into a folder; `more` of the config begins with what else the source is."""
    log.to_csv(folder / "log.csv", index=False)
    (folder / "groups" / "data").mkdir(parents=True)
    (folder / "groups" / "data" / "shop.yaml").write_text(CONFIG.format(folder=folder, more=more.strip("\n")))
