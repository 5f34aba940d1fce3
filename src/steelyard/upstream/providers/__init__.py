"""One file per kind of provider; its constant is `PROVIDER`. A plain compatible vendor is a row, not a file."""
