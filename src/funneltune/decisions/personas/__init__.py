"""Groups of shoppers who like and buy alike, or the word that there are none."""

from funneltune.decisions.personas.blocks import Block, blocks_of
from funneltune.decisions.personas.describe import Persona, described
from funneltune.decisions.personas.grouping import Grouping, Tried, group, principal
from funneltune.decisions.personas.settings import BLOCKS, MAPS, METHODS, Settings
from funneltune.decisions.personas.study import Found, Truth, personas
from funneltune.decisions.personas.visits import Known, Shop, Visits, known_shoppers

__all__ = [
    "BLOCKS",
    "MAPS",
    "METHODS",
    "Block",
    "Found",
    "Grouping",
    "Known",
    "Persona",
    "Settings",
    "Shop",
    "Tried",
    "Truth",
    "Visits",
    "blocks_of",
    "described",
    "group",
    "known_shoppers",
    "personas",
    "principal",
]
