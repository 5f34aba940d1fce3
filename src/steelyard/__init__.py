"""steelyard: one self-hosted server that speaks the Model Studio APIs in front of any model."""

__version__ = "0.1.0"
