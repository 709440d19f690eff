"""Tiny files of the form in which large public logs are published, under the names that they are downloaded by."""

import gzip

import pandas as pd


def features(**ids):
    """`f101=7` -> 101, 7: a list of features as Ali-CCP has it; several ids of a field as a list."""
    several = [
        (field.removeprefix("f"), i)
        for field, found in ids.items()
        for i in (found if type(found) is list else [found])
    ]
    return "\x01".join(f"{field}\x02{number}\x031.0" for field, number in several)


def skeleton_row(number, click, purchase, index, listed):
    return f"{number},{click},{purchase},{index},{listed.count(chr(1)) + 1},{listed}\n"


def write_ali_ccp(folder, *, train=24, test=8, compressed=False):
    """Requests of four rows; the shopper's features by index, the item's in the row."""
    for part, rows in (("train", train), ("test", test)):
        home = folder / f"sample_{part}"
        home.mkdir(parents=True, exist_ok=True)
        common, skeleton = "", ""
        for n in range(rows // 4):
            listed = features(f101=100 + n, f121=n % 3, f122=5, f109_14=[8, 9])
            common += f"{part[:2]}{n:014x},{listed.count(chr(1)) + 1},{listed}\n"
        for n in range(rows):
            listed = features(f205=7000 + n % 5, f206=60 + n % 2, f207=1, f216=2, f301=3 + n % 3, f508=4, f210=[1, 2])
            skeleton += skeleton_row(n + 1, n % 2, int(n % 4 == 3), f"{part[:2]}{n // 4:014x}", listed)
        for kind, text in (("common_features", common), ("sample_skeleton", skeleton)):
            if compressed:
                (home / f"{kind}_{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
            else:
                (home / f"{kind}_{part}.csv").write_text(text)
    return folder


def write_ali_express(folder, *, train=24, test=8):
    """Searches are numbered anew in each file, as a download may have it."""
    folder.mkdir(parents=True)
    for part, rows in (("train", train), ("test", test)):
        frame = pd.DataFrame({"search_id": [n // 4 for n in range(rows)]})
        for i in range(1, 17):
            frame[f"categorical_{i}"] = [(n + i) % 4 for n in range(rows)]
        for i in range(1, 64):
            frame[f"numerical_{i}"] = [(n * i) % 7 / 7 for n in range(rows)]
        frame["click"] = [n % 2 for n in range(rows)]
        frame["conversion"] = [int(n % 4 == 3) for n in range(rows)]
        frame.to_csv(folder / f"{part}.csv", index=False)
    return folder


def write_census(folder, *, columns, numeric, train=60, test=20):
    """No header, a blank before every word, compressed."""
    folder.mkdir(parents=True)
    for part, rows in (("data", train), ("test", test)):
        lines = []
        for n in range(rows):
            row = dict.fromkeys(columns, f" w{n % 3}") | dict.fromkeys(numeric, f" {n % 7}")
            row["marital status"] = " Never married" if n % 2 else " Divorced"
            row["education"] = " Bachelors degree(BA AB BS)" if n % 3 else " Children"
            row["income"] = " 50000+." if n % 5 == 0 else " - 50000."
            lines.append(",".join(str(row[name]) for name in columns))
        (folder / f"census-income.{part}.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder


def write_criteo(folder, *, rows=120):
    """Half a day between clicks, every third converts, up to eight days later; counts and hashes may be empty."""
    folder.mkdir(parents=True)
    lines = []
    for n in range(rows):
        clicked = n * 43_200
        converted = str(clicked + 86_400 * (n % 9)) if n % 3 == 0 else ""
        counts = [str((n * i) % 5) if (n + i) % 4 else "" for i in range(8)]
        hashes = [f"{(n + i) % 6:032x}" if (n + i) % 5 else "" for i in range(9)]
        lines.append("\t".join([str(clicked), converted, *counts, *hashes]))
    (folder / "data.txt").write_text("\n".join(lines) + "\n")
    return folder / "data.txt"


def write_esci(folder, *, train=80, test=16):
    """Four products to a query; the same product number is another product in another country."""
    folder.mkdir(parents=True)
    n = range(train + test)
    examples = pd.DataFrame(
        {
            "example_id": list(n),
            "query": [f"red sofa {i // 4}" for i in n],
            "query_id": [1000 + i // 4 for i in n],
            "product_id": [f"B{i % 7:03d}" for i in n],
            "product_locale": ["jp" if i % 4 == 3 and i < train else "us" for i in n],
            "esci_label": ["ESCI"[(i // 2) % 4] for i in n],
            "small_version": [int(i % 8 != 0) for i in n],
            "large_version": 1,
            "split": ["train" if i < train else "test" for i in n],
        }
    )
    products = pd.DataFrame(
        [
            {
                "product_id": f"B{i:03d}",
                "product_title": f"{'Sofa' if locale == 'us' else 'ソファ'} {i}",
                "product_description": None,
                "product_bullet_point": "soft",
                "product_brand": None if i % 2 else "Acme",
                "product_color": "red",
                "product_locale": locale,
            }
            for locale in ("jp", "us")
            for i in range(7)
        ]
    )
    examples.to_parquet(folder / "shopping_queries_dataset_examples.parquet")
    products.to_parquet(folder / "shopping_queries_dataset_products.parquet")
    return folder / "shopping_queries_dataset_examples.parquet"


def write_wands(folder, *, queries=10):
    """Tabs in files that end in .csv; four judgments to a query."""
    folder.mkdir(parents=True)
    rows = range(4 * queries)
    query = pd.DataFrame({"query_id": range(queries), "query": [f"salon chair {i}" for i in range(queries)]})
    query["query_class"] = "Massage Chairs"
    product = pd.DataFrame({"product_id": range(9), "product_name": [f'{i}" wide chair' for i in range(9)]})
    product["product_class"] = [None if i % 3 else "Chairs" for i in range(9)]
    product["product_description"] = "soft , and blue"
    label = pd.DataFrame({"id": rows, "query_id": [i // 4 for i in rows], "product_id": [i % 9 for i in rows]})
    label["label"] = [("Exact", "Partial", "Irrelevant")[i % 3] for i in rows]
    for name, frame in (("query", query), ("product", product), ("label", label)):
        frame.to_csv(folder / f"{name}.csv", sep="\t", index=False)
    return folder / "label.csv"
