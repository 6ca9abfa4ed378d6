"""How good are the maps: scores per case, what chance and a layer's cells allow, and their means over patients."""
