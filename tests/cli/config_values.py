"""Values that are right for some keys and files and wrong for most: what the fuzz of configs writes."""

VALUES = (
    *("null", "true", "false", "''", "abc", "'3'", "3.5", "-1", "0", "1", "7", "1e30", "-1e30", "nan", "inf", "-inf"),
    *("9223372036854775808", "1" + "0" * 40, "[]", "{}", "[1,2]", "[null]", "[[1],[a]]", "{a: 1}", "{a: {b: [1]}}"),
    *("'\u00e9\u4e2d\U0001f600'", "'a b'", "'a\\'b'", "x" * 5000, "../../etc/passwd", "/", "~", "'%s %d {} {0}'"),
    *("'{'", "'{title.nothing}'", "'[a'", "1_000", "0x10", "012", "1e-400", "2026-01-01", "'\u202eabc'", "'a\\tb'"),
    *("{_target_: os.system}", "[{_target_: os.system}]", "'a,b'", "[true,1,x]", "{1: 2}", "{null: 1}", "'???'"),
)
"""Right for some keys, wrong for most."""
INTERPOLATIONS = (
    *("${KEY}", "${nothing.there}", "${.}", "${..}", "${", "${}", "$", "${seed}", "${seed", "${${name}}", "${KEY.x}"),
    *("${oc.env:NOTHING_SET_HERE}", "${oc.env:NOTHING_SET_HERE,4}", "${oc.decode:'[1'}", "${oc.decode:'3'}"),
    *("${oc.create:{a:1}}", "${oc.select:nothing}", "${oc.dict.keys:data}", "${now:%Y}", "${hydra:runtime.cwd}"),
    *("${no_such_resolver:1}", "\\${seed}", "\\\\${seed}", "x${seed}x", "${head}", "${data}", "${.seed}", "${[0]}"),
)
SYNTAX = (
    *("=", "==", "=3", "KEY", "KEY==1", "KEY=[", "KEY=]", "KEY={", "KEY='", 'KEY="', "KEY=a b", "KEY= 1", "KEY =1"),
    *("KEY=[1,,2]", "KEY={a}", "KEY={a:}", "KEY=(1)", "KEY=a:b", "KEY=\\", "KEY=a=b", "KEY=[1]2", "KEY=,", "KEY=1,"),
    *("+KEY=1", "++KEY=1", "+++KEY=1", "~KEY", "~KEY=1", "~~KEY", "+~KEY", "+", "++", "~", "+KEY", "KEY@a=1"),
    *("KEY@=1", "@KEY=1", ".KEY=1", "KEY.=1", "KEY..x=1", "KEY.x=1", "+KEY.x=1", "++KEY.x.y=1", "KEY[0]=1"),
    *("KEY/x=1", "KEY=choice(1,2)", "KEY=range(3)", "KEY=glob(*)", "KEY=interval(0,1)", "KEY=sort(3,1)"),
    *("KEY=shuffle(1,2)", "KEY=int('x')", "KEY=float(3)", "KEY=str(3)", "KEY=json_str(3)", "KEY=extend_list(1)"),
    *("KEY=no_function(1)", "KEY=\n1", "KEY=1\n", "K\u00c9Y=1", "KEY=\u00e9", "KEY=\x00", "\u202eKEY=1", "KEY=#1"),
    *("#KEY=1", "KEY=%", "!KEY=1", "hydra.run.dir=x", "+hydra.x=1", "hydra/launcher=joblib", "hydra.verbose=true"),
    *("+hydra/x=1", "hydra=null", "--KEY=1", "-KEY=1", "-", "--", "--cfg", "--cfg=all", "--config-dir"),
    *("--config-dir=nowhere", "-m", "--help=x"),
)
GROUP_CHOICES = (
    *("", "null", "[]", "{}", "3", "nothing", "[quickstart]", "[a,b]", "{a: 1}", "../train", "/etc/passwd", "a/b"),
    *(".", "..", "none", "default", "'a b'", "\u4e2d", "x" * 300, "true", "a.yaml", "none.yaml", "~", "${name}"),
    *("a,b", "///", "'none'", "none/", "./none", "NONE", "none@x", "'none '", "shapes", "shapes/bert_base", "parts"),
    "_self_",
)
TARGETS = (
    *("funneltune.heads.ESMM", "funneltune.heads.PLE", "funneltune.data.Table", "funneltune.data.Simulated"),
    *("funneltune.data.Split", "funneltune.tuning.LoRA", "funneltune.tuning.AdaLoRA", "funneltune.tuning.Frozen"),
    *("funneltune.backbones.Backbone", "funneltune.backbones.NoBackbone", "funneltune.objectives.ESCM2DR"),
    *("funneltune.objectives.EntireSpaceBCE", "funneltune.objectives.RowLoss", "funneltune.objectives.PCGrad"),
    *("funneltune.callbacks.History", "funneltune.callbacks.Checkpoints", "funneltune.callbacks.wandb_logger"),
    *("funneltune.modules.constant", "funneltune.modules.FGM", "funneltune.modules.FunnelModule"),
    *("torch.optim.LBFGS", "torch.optim.SGD", "torch.optim.SparseAdam", "torch.optim.Optimizer", "lightning.Trainer"),
    *("torch.nn.Linear", "lightning.pytorch.callbacks.EarlyStopping", "lightning.pytorch.callbacks.Timer"),
    *("os.system", "builtins.dict", "lightning.pytorch.loggers.CSVLogger", "funneltune", "funneltune.heads", ""),
    *("'.'", "null", "3", "[a]", "{a: 1}", "funneltune.heads.Nothing", "funneltune..heads.ESMM"),
    *("'funneltune.heads.ESMM '", "x" * 500, "\u4e2d.\u6587"),
)
HYDRAS = ("_partial_", "_args_", "_recursive_", "_convert_", "_mode_", "_target_", "__class__", "_metadata", "_content")

BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12)).encode()
WHOLE = (
    *(b"", b"\n", b"# nothing\n", b"---\n", b"---\n---\n", b"a: 1\n---\nb: 2\n", b"3", b"abc", b"[1, 2]", b"null"),
    *(b"- a", b"\xef\xbb\xbfname: x\n", b"\xff\xfename: x\n", b"name: \xe9\xff\n", b"name: \x00\n"),
    *(b"\x1f\x8b\x08\x00", b"%PDF-1", b"name: [1\n", b"name: {a\n", b"name: 'x\n", b"\tname: x\n", b"name:\tx\n"),
    *(b"a: b: c\n", b"name: *nothing\n", b"name: &a [*a]\n", b"&a a: *a\n", b"<<: 3\n", b"<<: *x\n"),
    *(b"&x data: {<<: *x}\n", b"? [a]\n: b\n", b"? {a: b}\n: c\n", b"1: 2\n", b"null: 2\n", b"1.5: 2\n"),
    *(b"true: 1\n", b"2026-01-01: 1\n", b"name: 2026-01-01\n", b"name: 12:30:45\n", b"name: !!binary aGk=\n"),
    *(b"name: !!set {a, b}\n", b"name: !!omap [a: 1]\n", b"name: !!float x\n", b"name: !!int x\n"),
    *(b"name: !!timestamp x\n", b"name: !x y\n", b"!!python/object/apply:os.system ['x']\n", b"name: !!map 3\n"),
    *(b"name: ???\n", b"defaults: 3\n", b"defaults: [mine]\n", b"defaults: [3]\n"),
    *(b"defaults: [{override /head: 3}]\n", b"defaults: {a: b}\n", b"defaults: [{override head: esmm}]\n"),
    *(b"defaults: [{/head: esmm}]\n", b"defaults: [{override /head: [esmm]}]\n", b"defaults: [/data/nothing]\n"),
    *(b"defaults: [optional nothing]\n", b"defaults: [_self_, _self_]\n", b"defaults:\n"),
    *(b"defaults: [{override /nothing: x}]\n", b"defaults: [{a: b, c: d}]\n", b"defaults: [null]\n"),
    *(b"defaults: [[]]\n", b"# @package _global_\ndefaults: [{override /experiment: mine}]\n"),
    *(b"# @package\nname: x\n", b"# @package a.b\nc: 1\n", b"# @package _group_\nname: x\n"),
    *(b"# @package ..\nname: x\n", b"# @package _global_.data\nseed: 1\n"),
    *(b"# @package _global_\nhydra: {callbacks: {x: {_target_: os.system}}}\n", b"# @package hydra\nverbose: true\n"),
    *(b"# @package _global_\n${a}: 1\n", b"# @package _global_\na.b: 1\n", b"# @package _global_\nname: {a: 1}\n"),
    *(b"# @package _global_\nname: '${name}'\n", b"# @package _global_\nseed: ${seed}\n"),
    *(b"# @package _global_\nseed: 1e3\n", BOMB, b"# @package _global_\n" + BOMB, b"[" * 5000, b"{a: " * 3000),
    *(b"a:\n" + b" " * 100_000 + b"- b\n", b"# @package _global_\nname: " + b"x" * 300_000 + b"\n"),
    *(b"x" * 2000 + b": 1\n", b"a: 0o99\n", b"a: " + b"9" * 9000),
)
