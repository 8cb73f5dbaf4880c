"""The version of this package, which every other module may ask for."""

__version__ = "0.1.0"
