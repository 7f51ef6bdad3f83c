"""The checker behind the import hook; as in Python's own rules, an int is accepted where a float is wanted."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
