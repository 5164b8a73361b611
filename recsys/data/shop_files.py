"""One shop as a Parquet file: how a merchant's datasite keeps its purchases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.data.catalogue import Catalogue
from recsys.data.interactions import Interactions
from recsys.data.marketplace import Shop
from recsys.data.splits import by_labels
from recsys.errors import DataError
from recsys.files import atomic_path

__all__ = ["read_shop", "write_shop"]

_SCHEMA = pa.schema(
    [
        ("shopper_id", pa.string()),
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("split", pa.int8()),
    ]
)
_NAME = b"toyfed.merchant"


def write_shop(path: Path, shop: Shop, catalogue: Catalogue, mode: int = 0o600) -> None:
    """Write one shop as Parquet, whole or not at all.

    Columns: shopper_id, item_id (str), position (int32), split (int8 of 0 train, 1 valid, 2 test);
    the merchant's name is in the file's metadata. Shoppers without a purchase are left out.

    Args:
        path: the file.
        shop: what to write.
        catalogue: the catalogue that the shop's toys are indices of.
        mode: permissions; private to the user unless told otherwise.

    Raises:
        DataError: the catalogue has another size than the shop's.

    Privacy: writes exact purchases; the file stays at the merchant.
    """
    if catalogue.n_items != shop.all.n_items:
        raise DataError(
            f"Expected the shop's own catalogue of {shop.all.n_items} toys; found one of "
            f"{catalogue.n_items}. Pass the catalogue that the purchases were read with."
        )
    ids = pa.array(shop.all.shopper_ids.astype(object), type=pa.string())
    toys = pa.array(catalogue.item_ids, type=pa.string())
    table = pa.table(
        {
            "shopper_id": ids.take(pa.array(shop.all.row_index)),
            "item_id": toys.take(pa.array(shop.all.items)),
            "position": shop.positions.astype(np.int32),
            "split": shop.labels,
        },
        schema=_SCHEMA,
    ).replace_schema_metadata({_NAME: shop.name.encode()})
    with atomic_path(Path(path), mode) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_shop(path: Path, catalogue: Catalogue) -> Shop:
    """Read a shop that `write_shop` wrote.

    Raises:
        DataError: missing, damaged, of another schema, or of another catalogue.

    Privacy: stays at the merchant; messages hold no values.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"Expected a shop's Parquet file; {path.name!r} is not a file. "
            "Add the merchant's purchases first."
        )
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError):
        raise DataError(
            f"Expected whole Parquet in {path.name}; the file is damaged or of another format. "
            "Add the merchant's purchases again."
        ) from None
    if not table.schema.equals(_SCHEMA):
        raise DataError(
            f"Expected the columns shopper_id, item_id, position and split in {path.name}, as "
            "write_shop leaves them; found others. Add the merchant's purchases again."
        )
    table = table.combine_chunks()
    if any(column.null_count for column in table.columns):
        raise DataError(f"Expected no blank cell in {path.name}; found some. Add the data again.")
    items = pc.index_in(table["item_id"], value_set=pa.array(catalogue.item_ids, pa.string()))
    if items.null_count:
        raise DataError(
            f"Expected only toys of this catalogue in {path.name}; found {items.null_count} "
            "purchases of others. Use the catalogue that the file was written with."
        )
    encoded = pc.dictionary_encode(table["shopper_id"]).combine_chunks()
    shoppers = encoded.indices.to_numpy().astype(np.int64)
    labels = table["split"].to_numpy()
    by_time = np.lexsort((table["position"].to_numpy(), labels, shoppers))
    counts = np.bincount(shoppers, minlength=len(encoded.dictionary))
    interactions = Interactions(
        np.concatenate(([0], np.cumsum(counts))),
        items.to_numpy()[by_time],
        encoded.dictionary.to_numpy(zero_copy_only=False),
        catalogue.n_items,
    )
    name = (table.schema.metadata or {}).get(_NAME, path.stem.encode()).decode(errors="replace")
    return Shop(name, by_labels(interactions, labels[by_time]), interactions)
