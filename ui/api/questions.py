"""What may be asked, and what is answered: models that check, and that OpenAPI is made from."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "MOST_BASKET",
    "MOST_LISTED",
    "Basket",
    "Found",
    "Popular",
    "Problem",
    "Similar",
    "Suggested",
]

MOST_LISTED = 100
MOST_BASKET = 200
ItemId = Annotated[str, Field(min_length=1, max_length=200)]
Listed = Annotated[int, Field(ge=1, le=MOST_LISTED, description="How many toys to list.")]
Price = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False, description="In the catalogue's currency.")
]
Years = Annotated[
    float, Field(ge=0, le=120, allow_inf_nan=False, description="Of the child, in years.")
]
Category = Annotated[
    str,
    Field(min_length=1, max_length=300, description="A category path or the beginning of one."),
]


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Popular(_Question):
    """What many families choose, for somebody of whom nothing is known."""

    n: Listed = 12
    price_min: Price | None = None
    price_max: Price | None = None
    age: Years | None = None
    category: Category | None = None


class Similar(_Question):
    """Toys that go with one toy."""

    item: ItemId
    n: Listed = 8


class Basket(_Question):
    """Recommendations for a basket, or for a shopper of this shop by id; in the body, so that
    nobody's choice is part of an address."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    basket: Annotated[
        list[ItemId],
        Field(max_length=MOST_BASKET, description="Item ids, the oldest first."),
    ] = []
    shopper: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=200,
                description="Adds what this shopper bought here; needs a key made with --shoppers.",
            ),
        ]
        | None
    ) = None
    n: Listed = 12
    together: Annotated[
        bool, Field(description="With what all shops learned; false: this shop alone.")
    ] = True
    price_min: Price | None = None
    price_max: Price | None = None
    age: Years | None = None
    categories: Annotated[list[Category], Field(max_length=50)] = []
    exclude: Annotated[
        list[ItemId], Field(max_length=1000, description="Item ids that are not to be listed.")
    ] = []

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers_are_numbers(cls, values: object) -> object:
        """JSON does not tell 30 from 30.0."""
        if isinstance(values, dict):
            return {
                name: float(value)
                if name in ("price_min", "price_max", "age")
                and isinstance(value, int)
                and not isinstance(value, bool)
                and abs(value) < 1e12
                else value
                for name, value in values.items()
            }
        return values


class Suggested(BaseModel):
    """One toy. Facts that the catalogue lacks are null or ""."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item_id: str
    title: str
    reason: Annotated[
        str, Field(description="In plain words; may name a toy of the basket or the history.")
    ]
    category: str
    brand: str
    price: float | None
    age_from: float | None
    age_to: float | None
    image_url: str


class Found(BaseModel):
    """The answer: the best toys first; fewer than asked for where fewer are left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shop: str
    study: Annotated[str | None, Field(description="Whose model is blended in.")]
    items: list[Suggested]
    unknown: Annotated[
        int, Field(ge=0, description="Items that were sent and that this shop's model lacks.")
    ] = 0


class Problem(BaseModel):
    """Why there is no answer. Never repeats a value that was sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expected: str
    found: str
    what_to_do: str
