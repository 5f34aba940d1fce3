"""Units that the whole program counts in."""

#: Micro-units of a currency in one unit, microseconds in a second.
MICROS = 1_000_000
#: Microseconds in a millisecond.
MILLI_US = 1_000
