"""A log of the embedded marketplace: text, shoppers and clicks whose true probabilities are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from funneltune.data.pictures import Named, as_png
from funneltune.data.sources.reading import TableFiles
from funneltune.data.sources.table import Table
from funneltune.data.store import LogStore
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.marketplace import Mixture, World, simulate
from funneltune.marketplace.images import photographs

PHOTO = "photo"
LABELS = ("click", "cart", "purchase")
ITEM_TEXTS = ("brand", "category", "product_type", "domain", "seller", "rating", "reviews")
"""Texts that an item has beside its title."""


class Simulated:
    """A world and its default logging policy, by flat knobs; each is explained in `marketplace.World` and `Mixture`.

    `impressions` is rounded up to whole pages; `seed` draws the world and the log.
    """

    def __init__(
        self,
        impressions: int = 50_000,
        seed: int = 0,
        items: int = 10_000,
        queries: int = 2_000,
        shoppers: int = 5_000,
        domains: Sequence[str] = ("home", "fashion"),
        page: int = 20,
        days: int = 90,
        ctr: float = 0.06,
        cvr: float = 0.08,
        click_model: str = "position",
        position_decay: float = 0.15,
        selection_bias: float = 0.5,
        taste_shift: float = 0.0,
        cold_items: float = 0.05,
        cold_shoppers: float = 0.1,
        fitting: float = 0.5,
        popular: float = 0.4,
        language: str = "en",
        purchase_delay: float = 0.0,
        purchase_window: float = 14.0,
        taste_weight: float = 1.0,
        price_confounding: float = 0.0,
        price_hidden: float = 0.0,
        price_spread: float = 0.0,
        loyalty: float = 0.0,
        taste_groups: float = 0.5,
    ) -> None:
        self.impressions = impressions
        self.knobs: dict[str, Any] = {
            "seed": seed,
            "items": items,
            "queries": queries,
            "shoppers": shoppers,
            "domains": list(domains),
            "page": page,
            "days": days,
            "ctr": ctr,
            "cvr": cvr,
            "click_model": click_model,
            "position_decay": position_decay,
            "selection_bias": selection_bias,
            "taste_shift": taste_shift,
            "cold_items": cold_items,
            "cold_shoppers": cold_shoppers,
            "language": language,
        }
        if purchase_delay:  # logs without delays keep their fingerprint
            self.knobs |= {"purchase_delay": purchase_delay, "purchase_window": purchase_window}
        if taste_weight != 1.0:  # likewise
            self.knobs["taste_weight"] = taste_weight
        pricing = {"price_confounding": price_confounding, "price_hidden": price_hidden, "price_spread": price_spread}
        self.knobs |= {name: value for name, value in pricing.items() if value}  # likewise
        if loyalty:  # likewise
            self.knobs["loyalty"] = loyalty
        if taste_groups != 0.5:  # likewise
            self.knobs["taste_groups"] = taste_groups
        self.fitting, self.popular = fitting, popular

    def describe(self) -> dict[str, Any]:
        """The knobs: they decide every value of the log."""
        drawn_by = {"fitting": self.fitting, "popular": self.popular}
        return {"kind": "simulated", "impressions": self.impressions, **self.knobs, **drawn_by}

    def unlabelled(self, path: Path) -> Table:
        """A file with the marketplace's column names: `query` and `title`; `request`, `user`, `item` and further texts
        of items where it has them.
        """
        found = TableFiles(path).header()
        return Table(
            path,
            item="item" if "item" in found else "title",
            item_text={name: name for name in ("title", *(name for name in ITEM_TEXTS if name in found))},
            query_text={"query": "query"},
            request="request" if "request" in found else None,
            user="user" if "user" in found else None,
            price="price" if "price" in found else None,
            labels_required=False,
        )

    def pictures(self, name: str, store: LogStore) -> Iterator[Named]:
        """Each item's photograph, as a PNG file.

        Raises:
            ConfigError: if the name is not `photo`.
        """
        if name != PHOTO:
            raise ConfigError(f"vision.images: the marketplace has no pictures {name!r}; it has {PHOTO}.")
        world = World(**self.knobs)
        for item, pixels in enumerate(photographs(world.vocabulary, world.catalogue, world.seed)):
            yield Named(as_png(pixels), f"photograph {item}")

    def write(self, writer: StoreWriter) -> None:
        """Stream the log into a store.

        Raises:
            DataError: if a task is no label of the marketplace, or its window ends before all purchases have come.
        """
        for task in writer.tasks.names:
            if task not in LABELS:
                raise DataError(f"data.tasks.{task}: the marketplace has no such label; it has {', '.join(LABELS)}.")
        window = writer.tasks["purchase"].window if "purchase" in writer.tasks.names else None
        if window is not None and window < (latest := self.knobs.get("purchase_window", 0.0)):
            raise DataError(
                f"data.tasks.purchase.window={window:g} must be >= {latest:g}, data.source.purchase_window: purchases "
                "come until then, and the true probabilities count them all; raise it, or lower purchase_window."
            )
        world = World(**self.knobs)
        writer.entities("queries", {k: v.tolist() for k, v in world.queries.items()})
        writer.entities("items", {k: v.tolist() for k, v in world.items.items()})
        writer.entities("users", {k: v.tolist() for k, v in world.users.items()})
        writer.vectors("image", world.vectors)
        for chunk in simulate(world, Mixture(fitting=self.fitting, popular=self.popular), self.impressions):
            writer.impressions(chunk)
