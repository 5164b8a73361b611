"""The vocabulary of the invented toys: kinds, themes, makers. No real brand, no real product."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BRANDS", "KINDS", "SHOP_NAMES", "STYLES", "THEMES", "Kind"]


class Kind(NamedTuple):
    """A sort of toy.

    Args:
        category: path of two levels below 'Toys'.
        title: `{theme}`, `{style}`, `{n}` are filled in.
        ages: from and to in years; to is None for 'and up'.
        prices: lowest and highest.
        pieces: choices for `{n}`.
        season: 0 all year, 1 summer, -1 winter.
    """

    category: str
    title: str
    ages: tuple[float, float | None]
    prices: tuple[float, float]
    pieces: tuple[int, ...] = ()
    season: int = 0


THEMES = (
    "Dinosaur",
    "Outer Space",
    "Ocean",
    "Farmyard",
    "Jungle",
    "Castle",
    "Fairy Garden",
    "Pirate Cove",
    "Building Site",
    "Fire Station",
    "Unicorn Meadow",
    "Robot Workshop",
    "Arctic",
    "Circus",
    "Woodland",
    "Bakery",
    "Race Day",
    "Safari",
    "Dragon Valley",
    "Mermaid Lagoon",
)

STYLES = (
    "Classic",
    "Deluxe",
    "Rainbow",
    "Little",
    "Sunny Day",
    "Natural",
    "Meadow",
    "Cosy",
    "Country",
    "Seaside",
    "Starlight",
    "Harvest",
)

KINDS = (
    Kind("Baby & Toddler > Rattles & Teethers", "{theme} Wooden Rattle", (0, 1), (7, 15)),
    Kind(
        "Baby & Toddler > Rattles & Teethers", "{style} Teething Ring with Bells", (0, 1), (6, 13)
    ),
    Kind("Baby & Toddler > Play Mats", "{theme} Play Mat with Activity Arch", (0, 1), (32, 75)),
    Kind(
        "Baby & Toddler > Stacking & Sorting",
        "{style} Stacking Tower, {n} rings",
        (0.5, 3),
        (10, 24),
        (5, 6, 8, 10),
    ),
    Kind("Baby & Toddler > Stacking & Sorting", "{theme} Shape Sorter House", (1, 3), (15, 32)),
    Kind("Baby & Toddler > Pull Toys", "{theme} Pull-Along Friend", (1, 3), (14, 28)),
    Kind("Baby & Toddler > Walkers", "{style} Push Walker with Blocks", (1, 2), (45, 89)),
    Kind(
        "Building > Wooden Blocks",
        "{style} Wooden Blocks, {n} pieces",
        (1.5, 6),
        (18, 60),
        (30, 50, 75, 100),
    ),
    Kind(
        "Building > Brick Sets",
        "{theme} Brick Set, {n} pieces",
        (5, 12),
        (15, 95),
        (120, 240, 356, 512, 784),
        -1,
    ),
    Kind(
        "Building > Magnetic Tiles",
        "{style} Magnetic Tiles, {n} pieces",
        (3, 9),
        (28, 85),
        (24, 42, 60, 100),
    ),
    Kind(
        "Building > Marble Runs",
        "{style} Marble Run, {n} pieces",
        (4, 10),
        (24, 70),
        (45, 72, 98, 150),
    ),
    Kind(
        "Building > Gears & Mechanics",
        "{theme} Gear Builder, {n} pieces",
        (4, 9),
        (22, 49),
        (52, 81, 116),
    ),
    Kind(
        "Railways & Vehicles > Wooden Railways",
        "Wooden Railway {style} Set, {n} pieces",
        (3, 7),
        (29, 110),
        (32, 52, 80, 115),
        -1,
    ),
    Kind("Railways & Vehicles > Wooden Railways", "{theme} Railway Station", (3, 7), (19, 45)),
    Kind(
        "Railways & Vehicles > Cars & Garages",
        "{theme} Parking Garage with {n} Cars",
        (3, 8),
        (32, 79),
        (2, 3, 4),
        -1,
    ),
    Kind("Railways & Vehicles > Cars & Garages", "{style} Pull-Back Racer", (3, 8), (6, 16)),
    Kind(
        "Railways & Vehicles > Tracks",
        "{theme} Loop Track with Launcher",
        (5, 10),
        (22, 55),
        (),
        -1,
    ),
    Kind("Railways & Vehicles > Working Machines", "{style} Tipper Truck", (2, 6), (17, 42), (), 1),
    Kind(
        "Railways & Vehicles > Remote Control",
        "{theme} Remote-Control Crawler",
        (6, None),
        (35, 99),
    ),
    Kind("Dolls & Dollhouses > Soft Dolls", "Soft Doll with {theme} Outfit", (1, 6), (19, 39)),
    Kind("Dolls & Dollhouses > Baby Dolls", "{style} Baby Doll with Carry Cot", (2, 7), (25, 59)),
    Kind(
        "Dolls & Dollhouses > Dollhouses",
        "{style} Dollhouse with Furniture, {n} pieces",
        (3, 9),
        (65, 160),
        (18, 26, 34),
        -1,
    ),
    Kind("Dolls & Dollhouses > Dollhouses", "{theme} Dollhouse Room Set", (3, 9), (16, 38)),
    Kind("Dolls & Dollhouses > Doll Clothes", "{theme} Doll Wardrobe", (3, 9), (12, 29)),
    Kind("Plush > Cuddly Animals", "{theme} Cuddly Bear", (0, 8), (14, 35)),
    Kind("Plush > Cuddly Animals", "{style} Plush Rabbit, {n} cm", (0, 8), (12, 39), (22, 30, 45)),
    Kind("Plush > Hand Puppets", "{theme} Hand Puppets, set of {n}", (2, 8), (18, 45), (3, 4, 6)),
    Kind("Plush > Night Lights", "{theme} Night-Light Friend", (0, 6), (22, 45), (), -1),
    Kind(
        "Figures & Play Worlds > Animal Figures",
        "{theme} Animal Figures, set of {n}",
        (3, 9),
        (12, 42),
        (6, 8, 12),
    ),
    Kind("Figures & Play Worlds > Play Worlds", "{theme} Play World", (3, 9), (35, 110), (), -1),
    Kind(
        "Figures & Play Worlds > Adventurers",
        "{theme} Adventurers, {n} figures",
        (4, 10),
        (14, 36),
        (2, 3, 5),
    ),
    Kind("Figures & Play Worlds > Robots", "{style} Wind-Up Robot", (4, 10), (15, 38)),
    Kind("Pretend Play > Kitchen", "{style} Play Kitchen", (2, 7), (69, 170), (), -1),
    Kind("Pretend Play > Kitchen", "Bakery Tray, {n} wooden cakes", (2, 7), (15, 32), (9, 12, 16)),
    Kind("Pretend Play > Shop & Market", "{style} Market Stall with Till", (3, 8), (45, 105)),
    Kind("Pretend Play > Dress-Up", "{theme} Dress-Up Cape and Crown", (3, 8), (16, 38)),
    Kind(
        "Pretend Play > Doctor", "{style} Doctor's Case, {n} pieces", (3, 8), (18, 38), (8, 12, 15)
    ),
    Kind("Pretend Play > Workbench", "{style} Workbench with Tools", (3, 8), (35, 89)),
    Kind("Puzzles > Peg Puzzles", "{theme} Peg Puzzle", (1, 3), (9, 18)),
    Kind(
        "Puzzles > Floor Puzzles",
        "{theme} Floor Puzzle, {n} pieces",
        (3, 7),
        (12, 25),
        (24, 36, 48),
    ),
    Kind(
        "Puzzles > Jigsaws",
        "{theme} Jigsaw, {n} pieces",
        (6, None),
        (10, 24),
        (100, 200, 300, 500),
        -1,
    ),
    Kind(
        "Puzzles > Brain Teasers",
        "{style} Brain Teaser Box, {n} puzzles",
        (7, None),
        (14, 34),
        (6, 10),
    ),
    Kind("Games > Board Games", "{theme} Race: the Board Game", (5, None), (19, 42), (), -1),
    Kind("Games > Board Games", "{style} Treasure Trail Board Game", (6, None), (22, 48), (), -1),
    Kind("Games > Card Games", "{theme} Snap, {n} cards", (4, None), (6, 14), (36, 48, 60)),
    Kind("Games > Memory Games", "{theme} Memory, {n} tiles", (3, 8), (10, 22), (24, 36, 48)),
    Kind(
        "Games > Cooperative Games", "Save the {theme}! Cooperative Game", (4, 9), (18, 36), (), -1
    ),
    Kind("Games > Dexterity Games", "{style} Balancing Game", (4, None), (14, 30)),
    Kind("Arts & Crafts > Drawing", "{style} Crayons, box of {n}", (2, 8), (6, 18), (12, 24, 36)),
    Kind("Arts & Crafts > Craft Kits", "{theme} Craft Kit", (5, 11), (12, 29), (), -1),
    Kind(
        "Arts & Crafts > Beads & Jewellery",
        "{theme} Bead Set, {n} beads",
        (5, 11),
        (9, 24),
        (180, 350),
    ),
    Kind(
        "Arts & Crafts > Modelling",
        "{style} Modelling Dough, {n} pots",
        (2, 7),
        (8, 22),
        (4, 8, 12),
    ),
    Kind("Arts & Crafts > Stickers & Stamps", "{theme} Stamps and Stickers", (3, 8), (7, 17)),
    Kind(
        "Science & Discovery > Experiment Kits",
        "{theme} Experiment Lab",
        (7, None),
        (22, 55),
        (),
        -1,
    ),
    Kind("Science & Discovery > Nature", "{style} Bug Explorer Kit", (4, 10), (13, 29), (), 1),
    Kind("Science & Discovery > Astronomy", "{style} Star Projector", (5, None), (28, 65), (), -1),
    Kind("Science & Discovery > Coding", "{theme} Coding Path with Robot", (5, 11), (39, 99)),
    Kind(
        "Science & Discovery > Electronics",
        "{style} Circuit Kit, {n} projects",
        (8, None),
        (29, 79),
        (50, 100, 150),
    ),
    Kind("Learning > Letters & Numbers", "{theme} Alphabet Board", (3, 6), (14, 30)),
    Kind("Learning > Letters & Numbers", "{style} Counting Abacus", (3, 7), (12, 26)),
    Kind("Learning > Clocks & Calendars", "{theme} Learning Clock", (4, 8), (13, 27)),
    Kind("Learning > Globes & Maps", "{style} Picture Globe", (5, None), (28, 65)),
    Kind("Music > Percussion", "{theme} Drum", (1, 6), (14, 35)),
    Kind("Music > Percussion", "{style} Xylophone, {n} notes", (1, 6), (14, 36), (8, 12)),
    Kind("Music > Instruments", "{style} Ukulele", (4, None), (25, 55)),
    Kind(
        "Outdoor > Sand & Water", "{theme} Sand Set, {n} pieces", (1.5, 7), (9, 26), (6, 9, 14), 1
    ),
    Kind("Outdoor > Sand & Water", "{style} Water Table", (2, 7), (39, 95), (), 1),
    Kind("Outdoor > Ride-Ons", "{style} Balance Bike", (2, 5), (49, 129), (), 1),
    Kind("Outdoor > Ride-Ons", "{theme} Scooter", (3, 9), (39, 89), (), 1),
    Kind("Outdoor > Ball Games", "{style} Skittles, {n} pins", (3, 10), (16, 36), (6, 9, 10), 1),
    Kind("Outdoor > Kites & Flyers", "{theme} Kite", (5, None), (12, 32), (), 1),
    Kind("Outdoor > Garden", "{style} Gardening Set for Children", (3, 9), (15, 35), (), 1),
)

BRANDS = (
    "Larchwood & Co",
    "Tumblebrook",
    "Pippin Lane Toys",
    "Oakmoss & Daughters",
    "Hullabelle",
    "Nettlewick",
    "Ferncastle Toys",
    "Wrenhollow",
    "Quillberry",
    "Marrow & Finch",
    "Snugbarrow",
    "Cobblethwaite",
    "Tinkerfell",
    "Saltmeadow",
    "Kitewright & Sons",
    "Dapplecombe",
    "Rumbletree",
    "Popplewick",
    "Bramblecot",
    "Copperhen",
    "Lumenfold",
    "Mossbury Makers",
    "Thistledown Games",
    "Gantry & Gull",
    "Puddlefinch",
    "Hazelmere Yard",
    "Starlingworth",
    "Barley & Bee",
)

SHOP_NAMES = (
    "willow-lane-toys",
    "the-brick-barn",
    "little-acorn",
    "puzzle-post",
    "harbour-toys",
    "tumbledown-attic",
    "paper-kite",
    "the-toy-mill",
    "clover-corner",
    "old-station-toys",
    "maple-and-mouse",
    "hilltop-playroom",
)
