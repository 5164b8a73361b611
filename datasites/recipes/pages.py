"""What each recipe is good for, in plain words, for people who choose one."""

from __future__ import annotations

from dataclasses import dataclass

from datasites.recipes import recipe_named, recipe_names

__all__ = ["RecipePage", "recipe_pages"]


@dataclass(frozen=True)
class RecipePage:
    """One recipe's page.

    Args:
        name: as in study.toml.
        title: for people.
        learns: what the merchants learn together.
        releases: what leaves a datasite, noised.
        choose: when to choose it, and when not.
    """

    name: str
    title: str
    learns: str
    releases: str
    choose: str

    def markdown(self) -> str:
        """The page as Markdown."""
        return (
            f"**What it learns.** {self.learns}\n\n"
            f"**What it releases.** {self.releases}\n\n"
            f"**When to choose it.** {self.choose}\n"
        )


_WORDS = {
    "private-als": (
        "An embedding of its own for every toy, by alternating least squares: toys that the same "
        "shoppers buy come to lie close together. It needs no catalogue.",
        "Noised counts of buyers; in each round noised sums over shoppers, or the embeddings that "
        "were solved from them; once, noised quality figures.",
        "Many shoppers for each toy: hundreds of toys, thousands of shoppers at each merchant. "
        "With few buyers a toy the noise drowns the rare toys, and the blend leaves it out.",
    ),
    "co-purchase": (
        "Which toys are bought together, among pairs that the public catalogue describes alike. "
        "Each merchant reads the others' sums beside its own exact purchases, and believes them "
        "as far as their noise allows.",
        "Once, noised counts of buyers; once, noised purchases of the listed pairs. Two releases "
        "in all, so the whole budget goes into them.",
        "Thousands of toys with few buyers each. With twenty thousand shoppers over all merchants "
        "it takes an epsilon of 8; some hundred thousand shoppers, or sums that are aggregated "
        "securely, make it work at less. Merchants with a hundred thousand each gain little.",
    ),
    "custom": (
        "Whatever you write: a program says what one shopper contributes, for example gradients or "
        "counts. ToyFed runs it for each shopper apart, cuts her row to a fixed length, adds up, "
        "and adds the noise, so that no mistake in the program can cost privacy.",
        "In each phase the noised sum over shoppers of the arrays that study.toml declares.",
        "An idea that no shipped recipe covers. Start with `toyfed study new NAME --custom`, and "
        "try it on invented shoppers with `toyfed study try NAME` before you send it.",
    ),
    "neural": (
        "One small network for all toys: how much words, category, brand, price, age and "
        "popularity count, how fast old purchases fade, and which kinds of toys follow which. It "
        "starts as content similarity and learns from there.",
        "Noised counts of buyers; in each round the weights of the network, trained by DP-SGD: in "
        "every step a random sample of shoppers, each one's gradient clipped, noise added.",
        "Habits that the catalogue does not tell, and few buyers a toy: what it learns is shared "
        "by all toys, survives much noise, and serves new toys from the first day. It does not "
        "learn which two particular toys go together, and takes minutes where private-als takes "
        "seconds.",
    ),
}


def recipe_pages() -> list[RecipePage]:
    """Pages of all recipes of this installation, in the order of `recipe_names`."""
    return [
        RecipePage(name, recipe_named(name).title, *_WORDS[name])
        for name in recipe_names()
        if name in _WORDS
    ]
